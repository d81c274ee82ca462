"""Comparisons as they are printed, of runs that nobody trained, and ``sentiflow compare``, as a user runs it."""

import io
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from flows.cli.compare import side_by_side
from sentiflow.console import Console
from sentiflow.runs.comparison import metric_names
from sentiflow.runs.record import RunRecord
from sentiflow.tracking.client import connect
from sentiflow.tracking.types import NOTE
from tests.flows.cli.test_commands import run_telling_modules
from tests.pages import Page, tables
from tests.world import Trained, World, refusal

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


def printed(*runs: RunRecord, width: int = 120, versions: Mapping[str, str] | None = None) -> list[str]:
    console = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)
    side_by_side(runs, versions or {}, [None] * len(runs), metric_names(runs)).print(console)
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


def test_the_yardstick_stands_below_the_test_metrics_and_differences_are_points() -> None:
    ends = {"baseline/difference_ci_low": -0.031, "baseline/difference_ci_high": -0.0115}
    measured = {"test/loss": 0.5, "test/majority_share": 0.79, "val/loss": 0.4}
    measured |= {"baseline/accuracy": 0.83, "baseline/difference": -0.0212, **ends}
    lines = printed(run("a", "training", metrics=measured), run("b", "training", metrics={"test/loss": 0.6}))
    names = ["test/loss", "test/majority_share", "baseline/accuracy", "baseline/difference", "val/loss"]
    at = [next(place for place, line in enumerate(lines) if line.startswith(f"{name} ")) for name in names]
    assert at == sorted(at)
    assert row(lines, "test/majority_share") == ["79.00%", "-"]
    assert row(lines, "baseline/difference") == ["-2.12", "points", "-"]
    assert lines[at[3] + 1].split() == ["95%", "interval", "-3.10", "to", "-1.15"]


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


def test_a_run_that_made_a_version_names_it_beside_its_number() -> None:
    made = {"a" * 32: "sample-sentiment/5", "c" * 32: "sample-sentiment/1"}
    kinds = {"a": "training", "b": "repeat", "c": "training"}
    runs = [run(letter, kind, metrics={"test/accuracy": 0.8}) for letter, kind in kinds.items()]
    lines = printed(*runs, versions=made)
    assert lines[0].split() == ["id", "name", "accuracy", "version", "kind", "started"]
    assert [line.split()[4] for line in lines[1:4]] == ["v5", "repeat", "v1"]
    assert printed(runs[0], runs[2], versions=made)[0].split() == ["id", "name", "accuracy", "version", "started"]


def test_metrics_that_do_not_fit_beside_each_other_go_on_in_a_table_that_says_so() -> None:
    measured = {"test/accuracy": 0.8, "test/accuracy_ci_low": 0.7812, "test/accuracy_ci_high": 0.8187}
    lines = printed(*(run(letter, "training", metrics=measured) for letter in "abcde"), width=80)
    at = [lines.index(title) for title in ("Metrics", "Metrics, continued")]
    assert [lines[place + 1].split() for place in at] == [["1", "2", "3"], ["1", "4", "5"]]


def test_trials_are_called_by_their_numbers_and_no_test_accuracy_is_looked_for() -> None:
    lines = printed(trial("a", 7, units="4"), trial("b", 12, units="8"))
    assert "trial 7" in lines[1] and "trial 12" in lines[2]
    assert [line.split() for line in lines if "1: trial 7" in line] == [
        ["1:", "trial", "7", "2:", "trial", "12"]
    ] * 2
    assert "Trials see no test review" in lines[-1]
    assert not [line for line in lines if "Difference in test" in line or "paired" in line]


def test_a_sweep_that_cannot_be_paired_says_why_in_its_row_and_what_can() -> None:
    scored = {"test/accuracy": 0.8}
    sweep = run("b", "sweep", {"sweep.repeats": "3"}, {"test/accuracy_mean": 0.82, "test/accuracy_sd": 0.01})
    unfinished = run("c", "sweep", {"sweep.repeats": "3"})
    lines = printed(run("a", "training", metrics=scored), sweep, unfinished)
    start = next(at for at, line in enumerate(lines) if line == "Difference in test accuracy to run 1")
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


def test_one_run_shows_its_metrics_once_and_writes_its_page_without_anything_slow(
    trained: Trained, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    done, loaded = run_telling_modules(
        "compare", trained.result.run_name, "--html", str(page), world=trained.world
    )
    assert done.returncode == 0, done.stderr
    assert not loaded & {"mlflow", "prefect", "tensorflow", "keras"}
    lines = done.stdout.splitlines()[:-1]
    assert row(lines, "test/accuracy") == [f"{trained.result.measured.accuracy:.2%}"]
    assert "Difference" not in done.stdout and "differ" not in done.stdout
    assert lines[-1] == f"Written: {page}"
    assert Page(page.read_text("utf-8")).ids[0] == "learning-curves"
    assert page.stat().st_size < 3_000_000


@pytest.mark.story
def test_several_runs_are_compared_and_stored_beside_the_first_ones_own_report(
    registry: World, tmp_path: Path
) -> None:
    page, summary = tmp_path / "page.html", tmp_path / "summary.md"
    done = registry.run(
        "compare", "sample-sentiment/1", "sample-sentiment/2", "sample-sentiment/3",
        "--html", str(page), "--markdown", str(summary), "--log-artifact",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "| run |" not in done.stdout and "Difference in test accuracy to run 1" in done.stdout
    assert "Stored: comparison.html on " in done.stdout
    found = tables(summary.read_text("utf-8"))
    assert found[0] == [5] * 5  # heading, line, three runs
    assert all(len(set(table)) == 1 for table in found)
    client = connect(registry.settings)
    first = client.get_model_version("sample-sentiment", "1").run_id
    assert {"comparison.html", "report.html"} <= {entry.path for entry in client.list_artifacts(first)}
    assert client.get_run(first).data.tags[NOTE].startswith("**Test accuracy ")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("sample-sentiment/9",), "sample-sentiment has no version 9"),
        (("nothing-of-that-name",), "There is no run 'nothing-of-that-name'"),
        (("sample-sentiment/1", "sample-sentiment/1"), "is named twice"),
        (("sample-sentiment/1", "--html", "."), "--html . names no file"),
        (("sample-sentiment/1", "--html", "x.txt"), "x.txt does not end in .html"),
        (("sample-sentiment/1", "--markdown", "x.html"), "x.html does not end in .md"),
        (("sample-sentiment/1", "--markdown", "."), "--markdown . names no file"),
        (("sample-sentiment/1", "--html", "none/page.html"), "There is no folder none."),
        (("sample-sentiment/1", "--markdown", "none/page.md"), "There is no folder none."),
    ],
)
def test_wrong_use_ends_with_what_is_wrong(
    trained: Trained, arguments: tuple[str, ...], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained.world.enter(monkeypatch)
    monkeypatch.chdir(trained.world.root)
    error = refusal("compare", *arguments)
    assert (error.exit_code, told in str(error)) == (2, True), error


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a folder that even root cannot write to")
@pytest.mark.parametrize(("option", "page"), [("--html", "page.html"), ("--markdown", "page.md")])
def test_a_folder_that_cannot_be_written_to_is_told_before_a_run_is_looked_for(
    tmp_path: Path, option: str, page: str
) -> None:
    done = World(tmp_path).run("compare", "no-such-run", option, f"/proc/{page}")
    assert done.returncode == 2
    assert "The folder /proc cannot be written to" in done.stderr and option in done.stderr


def test_before_there_is_a_store_none_is_made(tmp_path: Path) -> None:
    world = World(tmp_path)
    done = world.run("compare", "abcd")
    assert done.returncode == 2
    assert "There are no runs yet. Make one: sentiflow train" in done.stderr
    assert not (tmp_path / "mlruns").exists()
