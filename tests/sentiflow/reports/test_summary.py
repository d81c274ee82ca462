"""Reports on runs of a real store: three trainings of the sample, each with a registered version."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from sentiflow.errors import UsageError
from sentiflow.reports.several_runs import report_on
from sentiflow.reports.summary import RunSummary, load_summaries
from sentiflow.run.record import KIND, MONITOR, REPEATS, RunRecord, value_text
from sentiflow.store.client import connect
from sentiflow.store.find import child_runs, find_run, open_store
from sentiflow.store.records import NOTE
from tests.pages import Page, tables
from tests.world import Trained, World

GOOD, POOR = "sample-sentiment/1", "sample-sentiment/2"


@pytest.fixture
def client(registry: World) -> MlflowClient:
    return connect(registry.settings)


@pytest.fixture
def good(registry: World) -> RunRecord:
    return find_run(open_store(registry.settings), GOOD)


@pytest.fixture
def poor(registry: World) -> RunRecord:
    return find_run(open_store(registry.settings), POOR)


def move_files(world: World, record: RunRecord, folder: Path) -> None:
    """Let a run's files lie in another folder, as far as the store knows."""
    with closing(sqlite3.connect(world.root / "mlruns" / "mlflow.db")) as connection:
        connection.execute("UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?", (folder.as_uri(), record.run_id))
        connection.commit()


def summary_of(world: World, record: RunRecord) -> RunSummary:
    store = open_store(world.settings)
    (summary,) = load_summaries(store, [store.record(record.run_id)], world.settings)
    return summary


def test_a_run_keeps_its_report_as_page_and_description(trained: Trained, tmp_path: Path) -> None:
    client, result = connect(trained.world.settings), trained.result
    run = client.get_run(result.run_id)
    content = Path(client.download_artifacts(result.run_id, "report.html", str(tmp_path))).read_text("utf-8")
    page, note = Page(content), run.data.tags[NOTE]
    assert {"test-split", "learning-curves", "slices", "calibration", "cost", "worst-errors", "run"} <= set(
        page.ids
    )
    assert all(each.startswith(("#", "data:")) or each == "errors.html" for each in page.references)
    assert f"registered: sample-sentiment version {result.model.version}" in note
    assert f"| time.total | {value_text(float(run.data.tags['time.total']))} |" in note
    assert all(len(set(table)) == 1 for table in tables(note)) and len(note) < 8_000


def test_a_report_from_the_store_says_what_the_run_itself_said(
    registry: World, good: RunRecord, tmp_path: Path
) -> None:
    summary = summary_of(registry, good)
    assert summary.missing == ()
    assert summary.measured is not None and summary.misclassified
    assert summary.measured.accuracy == good.metrics["test/accuracy"]
    told = {f"test_slices/{each.name}": each.accuracy for each in summary.slices}
    assert told == pytest.approx({name: value for name, value in good.metrics.items() if "test_slices" in name})
    assert all(
        error.reading and error.reading.score == pytest.approx(error.score) for error in summary.misclassified
    )


def test_a_run_whose_files_are_gone_is_told_by_its_metrics(
    registry: World, good: RunRecord, tmp_path: Path
) -> None:
    move_files(registry, good, tmp_path / "nowhere")
    summary = summary_of(registry, good)
    assert summary.table is None and summary.misclassified is None
    assert summary.measured is not None and summary.measured.accuracy == good.metrics["test/accuracy"]
    assert "short" in {each.name for each in summary.slices}
    assert "test_scores.parquet) are gone" in summary.missing[0]
    assert "not-available" in Page(report_on(registry.settings, [good.run_id]).page()).ids


def test_without_the_dataset_there_are_slices_and_no_texts(
    registry: World, good: RunRecord, tmp_path: Path
) -> None:
    whole = summary_of(registry, good)
    shutil.rmtree(registry.root / "data" / "datasets")
    summary = summary_of(registry, good)
    assert summary.slices == whole.slices
    assert summary.misclassified is None and summary.scorer is None
    assert summary.missing[0].endswith("Prepare them with: sentiflow data --dataset sample")
    made = report_on(registry.settings, [good.run_id])
    assert "Worst errors" not in made.page() and "Not available" in made.page()


def parent_of(client: MlflowClient, runs: list[RunRecord], kind: str = REPEATS) -> str:
    """A parent of runs that are there already, with a failed one beside them."""
    experiment = client.get_experiment_by_name("sentiflow")
    assert experiment is not None
    parent = client.create_run(experiment.experiment_id, tags={KIND: kind}, run_name="a set").info.run_id
    failed = client.create_run(experiment.experiment_id, tags={"mlflow.parentRunId": parent}, run_name="failed")
    client.set_terminated(failed.info.run_id, "FAILED")
    for run in runs:
        client.set_tag(run.run_id, "mlflow.parentRunId", parent)
    return str(parent)


def test_a_parent_stands_for_the_finished_runs_below_it(
    registry: World, client: MlflowClient, good: RunRecord, poor: RunRecord
) -> None:
    report = report_on(registry.settings, [parent_of(client, [good, poor])])
    page = Page(report.page())
    assert report.title == "a set: 2 runs compared"
    names = next(table for table in page.cells if table[0] == ["run", "id", "version", "name"])
    assert [row[3] for row in names[1:]] == [good.name, poor.name]


@pytest.mark.parametrize(("kind", "why"), [(REPEATS, "no finished runs below it"), (MONITOR, "a drift check")])
def test_a_run_that_has_nothing_to_report_on_is_refused(
    registry: World, client: MlflowClient, kind: str, why: str
) -> None:
    store = open_store(registry.settings)
    with pytest.raises(UsageError, match=why):
        child_runs(store, store.record(parent_of(client, [], kind)))
