"""``sentiflow report``, as a user runs it."""

from pathlib import Path

import pytest

from sentiflow.tracking.client import connect
from sentiflow.tracking.reports import NOTE
from tests.flows.cli.test_commands import modules_of
from tests.pages import Page, tables
from tests.world import Trained, World


def test_a_run_gets_its_page_and_a_summary_without_anything_slow(trained: Trained, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    loaded = modules_of("report", trained.result.run_id[:8], "-o", str(page), world=trained.world)
    assert page.is_file()
    assert not loaded & {"mlflow", "prefect", "tensorflow", "keras"}


def test_the_page_is_named_after_the_run_unless_told_otherwise(trained: Trained, tmp_path: Path) -> None:
    run_id, page = trained.result.run_id, tmp_path / "page.html"
    named = trained.world.run("report", run_id[:8])
    told = trained.world.run("report", trained.result.run_name, "-o", str(page))
    assert (named.returncode, told.returncode) == (0, 0), named.stderr + told.stderr
    assert f"Written: report-{run_id[:8]}.html" in named.stdout
    here = Page((trained.world.root / f"report-{run_id[:8]}.html").read_text("utf-8"))
    assert here.words == Page(page.read_text("utf-8")).words
    assert f"**Test accuracy {trained.result.measured.accuracy:.2%} (95% interval" in told.stdout
    assert Page(page.read_text("utf-8")).ids[0] == "test-split"
    assert page.stat().st_size < 3_000_000


def test_several_runs_are_compared_and_stored_beside_the_first_ones_own_report(
    registry: World, tmp_path: Path
) -> None:
    page, summary = tmp_path / "page.html", tmp_path / "summary.md"
    done = registry.run(
        "report", "sample-sentiment/1", "sample-sentiment/2", "sample-sentiment/3",
        "-o", str(page), "--markdown", str(summary), "--log",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "| run |" not in done.stdout and "Stored: comparison.html on " in done.stdout
    found = tables(summary.read_text("utf-8"))
    assert found[0] == [6] * 5  # heading, line, three runs
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
        (("sample-sentiment/1", "-o", "."), "--output . names no file"),
        (("sample-sentiment/1", "--markdown", "."), "--markdown . names no file"),
        (("sample-sentiment/1", "-o", "none/page.html"), "There is no folder none."),
        (("sample-sentiment/1", "--markdown", "none/page.md"), "There is no folder none."),
        (("sample-sentiment/1", "-o", "a.html", "--markdown", "./a.html"), "is where the page goes, too"),
    ],
)
def test_wrong_use_ends_with_what_is_wrong(trained: Trained, arguments: tuple[str, ...], told: str) -> None:
    done = trained.world.run("report", *arguments)
    assert done.returncode == 2
    assert told in done.stderr and "Traceback" not in done.stderr


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a folder that even root cannot write to")
@pytest.mark.parametrize("option", ["--output", "--markdown"])
def test_a_folder_that_cannot_be_written_to_is_told_before_a_run_is_looked_for(
    tmp_path: Path, option: str
) -> None:
    done = World(tmp_path).run("report", "no-such-run", option, "/proc/page")
    assert done.returncode == 2
    assert "The folder /proc cannot be written to" in done.stderr and option in done.stderr


def test_the_summary_is_not_written_over_a_page_that_nobody_named(trained: Trained) -> None:
    name = f"report-{trained.result.run_id[:8]}.html"
    done = trained.world.run("report", trained.result.run_id, "--markdown", name)
    assert done.returncode == 2
    assert f"--markdown {name} is where the page goes, too" in done.stderr


def test_before_there_is_a_store_none_is_made(tmp_path: Path) -> None:
    world = World(tmp_path)
    done = world.run("report", "abcd")
    assert done.returncode == 2
    assert "There are no runs yet. Make one: sentiflow train" in done.stderr
    assert not (tmp_path / "mlruns").exists()
