"""Tests of the benchmark's own sums; what it measures is not tested."""

from pathlib import Path

import pytest

from benchmarks import baselines, dask_scoring, machine, results, scoring, serving, sweep, table
from sentiflow.reports.one_run import STAGES

SECONDS = {
    "keras epoch": [12.0, 14.0, 13.0], "torch epoch": [10.0, 11.0, 12.0], "core epoch": [1.1, 1.0, 0.9],
    "keras fit": [70.0] * 3, "core fit": [10.0] * 3, "core fit cached": [7.0] * 3,
    "keras evaluate": [15.0] * 3, "scorer evaluate": [0.5] * 3, "scorer evaluate_raw": [0.6] * 3,
    "script": [120.0] * 3, "job": [24.0, 30.0, 20.0], "alone imports": [12.0] * 3, "alone server": [8.0] * 3,
    **{f"job {stage}": [2.0] * 3 for stage in STAGES}, "job startup": [17.0, 11.0, 11.0],
}  # fmt: skip


def test_medians_and_ratios_worked_by_hand() -> None:
    text = table.render(SECONDS, (0.25, 0.5), "A machine", "2026-01-01")
    assert "| stock Keras | 13.00 | 1,538 | 13.0 times |" in text  # 20,000 / 13
    assert "| PyTorch `nn.RNN` | 11.00 | 1,818 | 11.0 times |" in text
    assert "| this core | 1.00 | 20,000 |  |" in text
    assert "| 70.00 s | 10.00 s | 7.0 times faster |" in text
    assert "| 15.00 s | 0.50 s | 30.0 times faster |" in text
    assert "| 120.00 s | 24.00 s | 5.0 times faster |" in text
    others = 20 - 11 - 2 * (len(STAGES) - 1)  # the third round's, which is between those of the others
    assert "| startup | 11.00 |" in text and f"| others, and the end of the process | {others:.2f} |" in text
    assert "together they take 0.55 of the sum" in text  # 11 of 20
    assert "Medians of 3 rounds, all in turns, on 2026-01-01. A machine." in text


def test_the_table_replaces_what_stood_between_the_marks_and_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n", encoding="utf-8")
    table.put_into(page, "new")
    assert page.read_text(encoding="utf-8") == f"before\n{table.BEGIN}\nnew\n{table.END}\nafter\n"


def test_a_word_with_a_hyphen_stays_in_one_line(tmp_path: Path) -> None:
    """A break would be shown as a blank."""
    page = tmp_path / "page.md"
    page.write_text(f"{table.BEGIN}{table.END}", encoding="utf-8")
    table.put_into(page, f"{'9' * 95} bit-for-bit")
    assert page.read_text(encoding="utf-8") == f"{table.BEGIN}\n{'9' * 95}\nbit-for-bit\n{table.END}"


def test_prose_is_wrapped_and_rows_of_a_table_are_not(tmp_path: Path) -> None:
    page, row, word = tmp_path / "page.md", f"| {'9' * 150} |", "measured"
    page.write_text(f"{table.BEGIN}{table.END}", encoding="utf-8")
    table.put_into(page, f"{row}\n\n{' '.join([word] * 20)}")  # of a line of 100, eleven words take 98
    eleven, nine = " ".join([word] * 11), " ".join([word] * 9)
    assert page.read_text(encoding="utf-8") == f"{table.BEGIN}\n{row}\n\n{eleven}\n{nine}\n{table.END}"


def test_a_page_without_marks_is_refused_and_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing here", encoding="utf-8")
    with pytest.raises(ValueError, match="lacks"):
        table.put_into(page, "new")
    assert page.read_text(encoding="utf-8") == "nothing here"


def test_operations_of_the_recurrence_worked_by_hand() -> None:
    # 32 x 32 products and sums, three times, for each of 10 steps
    assert machine.recurrence_operations(10, 32) == 3 * 2 * 1_024 * 10


def test_a_line_of_results_worked_by_hand() -> None:
    result = table.Result("tuned", [0.88, 0.9], 0.895, 0.89, 0.0141421, 41.4)
    text = table.render_results([result], "A machine", "2026-01-01")
    assert "| `tuned` | 88.00, 90.00% | 89.00% | 1.41 points | 88.00% | 90.00% | 89.50% | 41 s |" in text
    assert "seeds 0 to 1" in text and "on 2026-01-01. A machine." in text


def test_how_much_faster_a_sweep_is_worked_by_hand() -> None:
    text = sweep.line(sweep.Timed(400.0, 375.0), sweep.Timed(200.0, 150.0), 30, (240.0, 64.0))
    assert "400 s with one worker, 200 s with two, 2.00 times as fast for the whole command, 2.50 times" in text
    assert "take 240 s one after the other and 64 s in four threads, 3.75 times as fast." in text


def test_each_benchmark_finds_its_marks_on_its_page() -> None:
    for page, modules in (
        (table.RECIPES_PAGE, (results, baselines, sweep)),
        (table.SPEED_PAGE, (table, scoring, dask_scoring, serving)),
    ):
        text = page.read_text(encoding="utf-8")
        for module in modules:
            assert text.count(module.BEGIN) == 1, module
            assert module.END in text.partition(module.BEGIN)[2], module
