import logging
import multiprocessing
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException

from sentiflow.errors import WorldError
from sentiflow.network.history import Epoch
from sentiflow.settings import Settings
from sentiflow.tracking.client import EpochLog, connect, experiment_id
from tests.world import ROOT, World


def settings_at(folder: Path) -> Settings:
    return Settings(tracking_uri=f"sqlite:///{folder / 'mlruns' / 'mlflow.db'}")


def _connect(folder: Path) -> None:
    settings = settings_at(folder)
    experiment_id(connect(settings), settings)


def test_three_processes_can_open_a_fresh_store_together(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_connect, args=(tmp_path,)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert len(connect(settings_at(tmp_path)).search_experiments()) == 2


def test_a_store_whose_making_was_killed_is_made_by_the_next(tmp_path: Path) -> None:
    code = f"import tests.sentiflow.tracking.test_client as t; t._connect(t.Path({str(tmp_path)!r}))"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    until = time.monotonic() + 60
    while not list((tmp_path / "mlruns").glob(".*.partial")) and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(0.3)
    assert process.poll() is None, "it ended before it was killed"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "mlruns" / "mlflow.db").exists(), "killed too late to mean anything"
    assert connect(settings_at(tmp_path)).search_experiments()
    assert {path.name for path in (tmp_path / "mlruns").iterdir()} <= {"mlflow.db", ".mlflow.db.lock"}


def test_leftovers_beside_a_whole_store_go_and_nothing_else(world: World) -> None:
    """Red if only who makes the store cleans: one that was restored by hand keeps them for ever."""
    folder = world.root / "mlruns"
    gone = [".mlflow.db.0a1b2c3d.partial", ".mlflow.db.0a1b2c3d.partial-journal"]
    kept = ["mlflow.db", "other.db", ".other.db.0a1b2c3d.partial", "mlflow.db.partial"]
    for name in [*gone, *kept[1:]]:
        (folder / name).touch()
    connect(world.settings)
    assert {path.name for path in folder.iterdir()} - {".mlflow.db.lock"} == set(kept)


def test_a_server_that_is_down_is_told_with_its_address() -> None:
    with pytest.raises(WorldError, match=r"http://127\.0\.0\.1:9 failed: it does not answer") as caught:
        connect(Settings(tracking_uri="http://127.0.0.1:9"))
    assert "SENTIFLOW_TRACKING_URI" in caught.value.hint


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    file = tmp_path / "mlruns" / "mlflow.db"
    file.parent.mkdir()
    file.write_text("no database")
    with pytest.raises(WorldError, match="not an SQLite database"):
        connect(settings_at(tmp_path))
    assert file.read_text() == "no database"


def test_artifacts_stand_where_the_settings_say(world: World) -> None:
    settings = world.settings.model_copy(update={"artifact_root": world.root / "elsewhere"})
    client = connect(settings)
    run = client.create_run(experiment_id(client, settings))
    client.log_text(run.info.run_id, "hello", "greeting.txt")
    assert [path.name for path in (world.root / "elsewhere").rglob("*.txt")] == ["greeting.txt"]


def test_a_deleted_experiment_says_how_to_restore_it(world: World) -> None:
    client = connect(world.settings)
    number = experiment_id(client, world.settings)
    client.delete_experiment(number)
    with pytest.raises(WorldError, match="was deleted") as caught:
        experiment_id(client, world.settings)
    assert f"restore -x {number}" in caught.value.hint


class FailingOnce:
    """A client whose server is away for the first call."""

    def __init__(self, client: object) -> None:
        self.client, self.calls = client, 0

    def log_batch(self, run_id: str, **what: object) -> None:
        self.calls += 1
        if self.calls == 1:
            raise MlflowException("the server is away")
        self.client.log_batch(run_id, **what)  # type: ignore[attr-defined]


def test_epochs_that_a_server_did_not_take_are_logged_with_the_next(world: World) -> None:
    client = connect(world.settings)
    run_id = client.create_run(experiment_id(client, world.settings)).info.run_id
    log = EpochLog(FailingOnce(client), run_id, logging.getLogger("test"))  # type: ignore[arg-type]
    for number in (1, 2):
        log.add(Epoch(number, 0.5 / number, 0.7, 0.6, 0.65, 0.001, 2.0, 100.0))
    logged = client.get_metric_history(run_id, "train/loss")
    assert [(entry.step, entry.value) for entry in logged] == [(1, 0.5), (2, 0.25)]
