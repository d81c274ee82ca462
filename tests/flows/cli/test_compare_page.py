"""Comparisons as they are printed, of runs that nobody trained."""

import io
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import pytest
from rich.console import Console

from flows.cli.compare_page import Page
from sentiflow.runs.comparison import against, metric_names
from sentiflow.runs.record import RunRecord

NAME = "seed+4changes-sample-seed0-261125-184954"


def run(
    letter: str, kind: str, params: Mapping[str, str] | None = None, metrics: Mapping[str, float] | None = None,
    **tags: str,
) -> RunRecord:  # fmt: skip
    named = {"kind": kind, "dataset": "sample", "dataset.digest": "d" * 64, **tags}
    began = datetime(2026, 3, 5, tzinfo=UTC)
    return RunRecord(letter * 32, f"{kind}-{NAME}", "FINISHED", began, params or {}, metrics or {}, named, "")


def trial(letter: str, number: int, **params: str) -> RunRecord:
    return run(letter, "trial", params, {"val/loss": 0.5}, **{"trial.number": str(number)})


def printed(*runs: RunRecord, width: int = 120) -> list[str]:
    console = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None, highlight=False)
    held = [against(one, None, runs[0], None) for one in runs[1:]]
    Page(runs, console).show(metric_names(runs), held)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined, no-any-return]


def row(lines: Sequence[str], name: str) -> list[str]:
    (found,) = [line.split()[1:] for line in lines if line.startswith(f"{name} ")]
    return found


@pytest.mark.parametrize("width", [50, 60, 80])
def test_ids_and_accuracies_stay_beside_names_that_are_cut(width: int) -> None:
    lines = printed(
        run("a", "training", metrics={"test/accuracy": 0.8123}), run("b", "training", {"units": "4"}), width=width
    )
    assert "aaaaaaaa" in lines[1] and "81.23%" in lines[1] and "bbbbbbbb" in lines[2]
    assert all(len(line) <= width for line in lines[:3])


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("0.00048271934872934", "0.0013657342187"), ["0.0004827", "0.001366"]),
        (("0.31628712345678", "0.3162"), ["0.3163", "0.3162"]),  # what is short already stays as it is
        (("0.31628712345678", "0.31628798765432"), ["0.316287", "0.316288"]),  # four digits would hide it
        (("0.0016628712345", "0.001663"), ["0.0016629", "0.001663"]),
        (("12345678901", "12345678902"), ["12345678901", "12345678902"]),
        (("my-recipe.long.name", "b"), ["my-recipe.long.name", "b"]),
    ],
)
def test_long_fractions_are_shortened_but_never_until_they_look_the_same(
    given: tuple[str, str], told: list[str]
) -> None:
    lines = printed(run("a", "training", {"rate": given[0]}), run("b", "training", {"rate": given[1]}))
    assert row(lines, "rate") == told


def test_trials_are_called_by_their_numbers_and_no_test_accuracy_is_looked_for() -> None:
    lines = printed(trial("a", 7, units="4"), trial("b", 12, units="8"))
    assert "trial 7" in lines[1] and "trial 12" in lines[2]
    assert [line.split() for line in lines if "1: trial 7" in line] == [
        ["1:", "trial", "7", "2:", "trial", "12"]
    ] * 2
    assert "Trials see no test review" in lines[-1]
    assert not [line for line in lines if "Test accuracy less" in line or "paired" in line]


def test_a_sweep_that_cannot_be_paired_says_why_in_its_row_and_what_can() -> None:
    scored = {"test/accuracy": 0.8}
    sweep = run("b", "sweep", {"sweep.repeats": "3"}, {"test/accuracy_mean": 0.82, "test/accuracy_sd": 0.01})
    unfinished = run("c", "sweep", {"sweep.repeats": "3"})
    lines = printed(run("a", "training", metrics=scored), sweep, unfinished)
    start = next(at for at, line in enumerate(lines) if line.startswith("Test accuracy less that of 1"))
    assert lines[start + 2].split() == ["2", "+2.00", "not", "paired"]
    assert lines[start + 3].split() == ["3", "no", "test", "accuracy"]
    assert (
        f"2 is not paired with 1: training-{NAME} keeps no test scores and sweep-{NAME} stands for 3 seeds."
        in (" ".join(" ".join(lines).split()))
    )
    assert "sentiflow runs --children" in lines[-1]


def test_what_the_first_lacks_is_said_in_the_rows_of_the_others() -> None:
    lines = printed(run("a", "training", {"units": "4"}), run("b", "training", metrics={"test/accuracy": 0.8}))
    assert [line.split() for line in lines if "1 has no test accuracy" in line] == [
        ["2", "1", "has", "no", "test", "accuracy"]
    ]
    assert not [line for line in lines if "--children" in line]
