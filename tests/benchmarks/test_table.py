"""Where the benchmarks write their tables; what they measure is not tested."""

from pathlib import Path

import pytest

from benchmarks import baselines, dask_scoring, results, scoring, serving, sweep, table


def test_the_table_replaces_what_stood_between_the_marks_and_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n", encoding="utf-8")
    table.put_into(page, "new")
    assert page.read_text(encoding="utf-8") == f"before\n{table.BEGIN}\nnew\n{table.END}\nafter\n"


def test_a_page_without_marks_is_refused_and_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing here", encoding="utf-8")
    with pytest.raises(ValueError, match="lacks"):
        table.put_into(page, "new")
    assert page.read_text(encoding="utf-8") == "nothing here"


def test_each_benchmark_finds_its_marks_on_its_page() -> None:
    for page, modules in (
        (table.RECIPES_PAGE, (results, baselines, sweep)),
        (table.SPEED_PAGE, (table, scoring, dask_scoring, serving)),
    ):
        text = page.read_text(encoding="utf-8")
        for module in modules:
            assert text.count(module.BEGIN) == 1, module
            assert module.END in text.partition(module.BEGIN)[2], module
