"""Which runs housekeeping deletes, with their files, and which it keeps."""

import sqlite3
import time
from pathlib import Path

import pytest

from sentiflow.operations.housekeeping import CleanupReport, delete_old_runs
from sentiflow.settings import Settings
from sentiflow.store.client import connect, experiment_id
from tests.servers import mlflow
from tests.world import World

DAY = 86_400_000
CONTENT = "0123456789"


class Store:
    """Runs that ended so many days ago, each with a file of ten bytes."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings.model_copy(update={"keep_runs_days": 30.0})
        self.client = connect(settings)
        self.experiment = experiment_id(self.client, settings)

    def run(self, days: float, ended: bool = True, parent: str | None = None) -> str:
        moment = int(time.time() * 1000 - days * DAY)
        more = {} if parent is None else {"mlflow.parentRunId": parent}
        made = self.client.create_run(self.experiment, start_time=moment - DAY, tags=more).info.run_id
        self.client.log_text(made, CONTENT, "report.txt")
        if ended:
            self.client.set_terminated(made, end_time=moment)
        return str(made)

    def version(self, run: str) -> None:
        """Register something of a run."""
        if not self.client.search_registered_models("name = 'mine'"):
            self.client.create_registered_model("mine")
        self.client.create_model_version("mine", self.client.get_run(run).info.artifact_uri, run)

    def model(self, run: str) -> str:
        """A model of a run, with a file of ten bytes."""
        made = self.client.create_logged_model(self.experiment, name="mine", source_run_id=run).model_id
        folder = self.settings.data_dir / made
        folder.mkdir(parents=True)
        (folder / "weights").write_text(CONTENT)
        self.client.log_model_artifacts(made, str(folder))
        return str(made)

    def rewrite(self, sql: str, *values: str) -> None:
        """Change a row as somebody with access to the database could."""
        with sqlite3.connect(str(self.settings.sqlite_file)) as database:
            assert database.execute(sql, values).rowcount == 1

    def left(self) -> set[str]:
        return {run.info.run_id for run in self.client.search_runs([self.experiment])}


def deleted(settings: Settings) -> CleanupReport:
    report = CleanupReport()
    delete_old_runs(settings, report)
    return report


@pytest.fixture
def store(world: World) -> Store:
    return Store(world.settings)


def test_only_what_ended_long_ago_is_deleted(store: Store) -> None:
    old, young, open_one = store.run(30.01), store.run(29.99), store.run(90, ended=False)
    report = deleted(store.settings)
    assert store.left() == {young, open_one}
    assert (len(report.removed), report.failures) == (1, [])
    assert store.client.get_run(old).info.lifecycle_stage == "deleted"
    assert report.left == ["records of deleted runs: MLflow keeps them, marked as deleted"]


def test_files_and_models_of_a_deleted_run_are_gone_and_those_of_a_version_stay(
    store: Store, world: World
) -> None:
    old, kept = store.run(90), store.run(90)
    models = {run: store.model(run) for run in (old, kept)}
    store.version(kept)
    report = deleted(store.settings)
    assert len(report.removed) == 1
    (model,) = store.client.search_logged_models([store.experiment])
    assert model.model_id == models[kept]
    artifacts = world.root / "mlruns" / "artifacts"
    assert {path.name for path in artifacts.iterdir()} == {kept, "models"}
    assert {path.name for path in (artifacts / "models").iterdir()} == {models[kept]}
    assert store.client.list_artifacts(kept)[0].path == "report.txt"


@pytest.mark.parametrize("which", ["parent", "child"])
def test_a_version_of_one_run_keeps_its_whole_set(store: Store, which: str) -> None:
    parent = store.run(90)
    children = [store.run(91, parent=parent) for _ in range(2)]
    store.version(parent if which == "parent" else children[1])
    deleted(store.settings)
    assert store.left() == {parent, *children}


def test_a_set_without_a_version_goes_as_a_whole_once_all_of_it_is_old(store: Store) -> None:
    gone, kept = store.run(31), store.run(29)
    for parent in (gone, kept):
        for _ in range(2):
            store.run(32, parent=parent)
    deleted(store.settings)
    left = store.client.search_runs([store.experiment])
    assert kept in {run.info.run_id for run in left} and len(left) == 3


RUN = "UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?"
MODEL = "UPDATE logged_models SET artifact_location = ? WHERE model_id = ?"


@pytest.mark.parametrize("written", ["{victim}", "file://{victim}", "file://{own}/../../../../victim", "{others}"])
@pytest.mark.parametrize("of_model", [False, True])
def test_a_folder_that_is_not_the_runs_own_is_left(
    store: Store, tmp_path: Path, written: str, of_model: bool
) -> None:
    """Red if any folder that a row names is deleted: a store that was imported may name a folder of photos."""
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "photo.jpg").write_text("precious")
    hostile, other = store.run(90), store.run(1)
    client = store.client
    own, others = (client.get_run(run).info.artifact_uri.removeprefix("file://") for run in (hostile, other))
    uri = written.format(victim=victim, own=own, others=others)
    if of_model:
        store.rewrite(MODEL, uri, store.model(hostile))
    else:
        store.rewrite(RUN, uri, hostile)
    report = deleted(store.settings)
    assert (victim / "photo.jpg").read_text() == "precious"
    assert (Path(others) / "report.txt").read_text() == (Path(own) / "report.txt").read_text() == CONTENT
    assert store.left() == {hostile, other}
    (left,) = report.left
    assert uri in left and report.removed == []


@pytest.mark.story
def test_over_http_files_go_and_the_server_keeps_hidden_records(world: World, tmp_path: Path) -> None:
    arguments = ["server", "--backend-store-uri", world.variables["SENTIFLOW_TRACKING_URI"],
                 "--artifacts-destination", str(tmp_path / "files"), "--workers", "1"]  # fmt: skip
    with mlflow(arguments, tmp_path, "/health") as address:
        store = Store(Settings(tracking_uri=address, data_dir=world.root / "data"))
        old, young = store.run(90), store.run(1)
        report = deleted(store.settings)
        assert store.left() == {young}
        assert len(report.removed) == 1 and report.failures == []
        assert store.client.get_run(old).info.lifecycle_stage == "deleted"
        assert [path.name for path in (tmp_path / "files").rglob("*.txt")] == ["report.txt"]
