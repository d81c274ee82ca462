"""``sentiflow compare``, as a user runs it."""

from pathlib import Path

import pytest

from tests.flows.cli.test_commands import run_telling_modules
from tests.pages import Page, tables
from tests.world import Trained, World, refusal


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
    (told,) = [line for line in lines if line.startswith("accuracy  ") and "fraction" in line]
    assert told.split()[-1] == f"{trained.result.measured.accuracy:.4f}"
    assert "Paired differences" not in done.stdout
    beside = tmp_path / "page-errors.html"
    assert lines[-2:] == [f"Written: {page}", f"Written: {beside}"]
    assert beside.name in Page(page.read_text("utf-8")).references
    wrong = round(1_000 * (1 - trained.result.measured.accuracy))
    assert f"{wrong} of 1,000 test reviews are misclassified." in beside.read_text("utf-8")
    assert "learning-curves" in Page(page.read_text("utf-8")).ids
    assert page.stat().st_size < 3_000_000


@pytest.mark.story
def test_several_runs_are_compared_in_a_page_and_in_markdown(registry: World, tmp_path: Path) -> None:
    page, summary = tmp_path / "page.html", tmp_path / "summary.md"
    done = registry.run(
        "compare", "sample-sentiment/1", "sample-sentiment/2", "sample-sentiment/3",
        "--html", str(page), "--markdown", str(summary),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "| run |" not in done.stdout and "Paired differences" in done.stdout
    found = tables(summary.read_text("utf-8"))
    assert found[0] == [5] * 5  # heading, line, three runs
    assert all(len(set(table)) == 1 for table in found)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("sample-sentiment/9",), "sample-sentiment has no version 9"),
        (("nothing-of-that-name",), "There is no run 'nothing-of-that-name'"),
        (("sample-sentiment/1", "sample-sentiment/1"), "is named twice"),
        (("sample-sentiment/1", "--html", "."), "--html . is no file that ends in .html"),
        (("sample-sentiment/1", "--markdown", "x.html"), "x.html is no file that ends in .md"),
        (("sample-sentiment/1", "--html", "none/page.html"), "in a folder that is there"),
    ],
)
def test_wrong_use_ends_with_what_is_wrong(
    trained: Trained, arguments: tuple[str, ...], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained.world.enter(monkeypatch)
    monkeypatch.chdir(trained.world.root)
    error = refusal("compare", *arguments)
    assert (error.exit_code, told in str(error)) == (2, True), error


def test_before_there_is_a_store_none_is_made(tmp_path: Path) -> None:
    world = World(tmp_path)
    done = world.run("compare", "abcd")
    assert done.returncode == 2
    assert "Make one: sentiflow train" in done.stderr
    assert not (tmp_path / "mlruns").exists()
