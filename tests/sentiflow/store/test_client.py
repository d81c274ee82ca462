import json
import multiprocessing
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from sentiflow.errors import DeletedError, ExternalError
from sentiflow.evaluation.scores import Epoch
from sentiflow.settings import Settings, load_settings
from sentiflow.store.client import EpochLog, OpenRun, connect, experiment_id
from sentiflow.store.client import _clients as clients
from tests.polling import until
from tests.world import ROOT, World


def settings_at(folder: Path) -> Settings:
    return Settings(tracking_uri=f"sqlite:///{folder / 'mlruns' / 'mlflow.db'}")


def _connect(folder: Path) -> None:
    settings = settings_at(folder)
    experiment_id(connect(settings), settings)


@pytest.mark.story
def test_three_processes_can_open_a_fresh_store_together(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_connect, args=(tmp_path,)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert len(connect(settings_at(tmp_path)).search_experiments()) == 2


@pytest.mark.story
def test_a_store_whose_making_was_killed_is_made_by_the_next(tmp_path: Path) -> None:
    code = f"import tests.sentiflow.store.test_client as t; t._connect(t.Path({str(tmp_path)!r}))"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    until(lambda: list((tmp_path / "mlruns").glob(".*.partial")), seconds=60)
    time.sleep(0.3)
    assert process.poll() is None, "it ended before it was killed"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "mlruns" / "mlflow.db").exists(), "killed too late to mean anything"
    assert connect(settings_at(tmp_path)).search_experiments()
    assert {path.name for path in (tmp_path / "mlruns").iterdir()} <= {"mlflow.db", ".mlflow.db.lock"}


def test_a_server_that_is_down_is_told_with_its_address() -> None:
    with pytest.raises(ExternalError, match=r"http://127\.0\.0\.1:9 failed: it does not answer") as caught:
        connect(Settings(tracking_uri="http://127.0.0.1:9"))
    assert "SENTIFLOW_TRACKING_URI" in caught.value.hint


def test_a_deleted_experiment_says_how_to_restore_it(world: World) -> None:
    client = connect(world.settings)
    number = experiment_id(client, world.settings)
    client.delete_experiment(number)
    with pytest.raises(ExternalError, match="was deleted") as caught:
        experiment_id(client, world.settings)
    assert f"restore -x {number}" in caught.value.hint


def opened(world: World) -> tuple[MlflowClient, OpenRun]:
    client = connect(world.settings)
    run = client.create_run(experiment_id(client, world.settings), run_name="mine")
    return client, OpenRun(run.info.run_id, "mine", run.info.experiment_id, world.settings)


class FailingOnce:
    """A client whose server is away for the first call."""

    def __init__(self, client: object) -> None:
        self.client, self.calls = client, 0

    def log_batch(self, run_id: str, **what: object) -> None:
        self.calls += 1
        if self.calls == 1:
            raise MlflowException("the server is away")
        self.client.log_batch(run_id, **what)  # type: ignore[attr-defined]


def test_epochs_that_a_server_did_not_take_are_logged_with_the_next(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, run = opened(world)
    monkeypatch.setitem(clients, world.settings.tracking_uri, FailingOnce(client))
    log = EpochLog(run, 2)
    for number in (1, 2):
        log.add(Epoch(number, 0.5 / number, 0.7, 0.6, 0.65, 0.001, 2.0, 100.0))
    logged = client.get_metric_history(run.run_id, "train/loss")
    assert [(entry.step, entry.value) for entry in logged] == [(1, 0.5), (2, 0.25)]


def test_a_training_whose_run_a_person_deletes_ends_with_its_epoch(world: World) -> None:
    client, run = opened(world)
    client.delete_run(run.run_id)
    with pytest.raises(DeletedError, match="is deleted") as caught:
        EpochLog(run, 2).add(Epoch(1, 0.5, 0.7, 0.6, 0.65, 0.001, 2.0, 100.0))
    assert "Restore it in MLflow" in caught.value.hint


@pytest.mark.parametrize(("kept", "steps"), [(1, [1, 2, 3, 4]), (3, [1, 2, 3])])
def test_a_run_shows_the_loss_of_the_epoch_kept(world: World, kept: int, steps: list[int]) -> None:
    client, run = opened(world)
    log = EpochLog(run, 3)
    epochs = [
        Epoch(number, 0.5, 0.7, loss, 0.65, 0.001, 2.0, 100.0) for number, loss in enumerate((0.2, 0.3, 0.4), 1)
    ]
    for epoch in epochs:
        log.add(epoch)
    log.end(epochs[kept - 1])
    assert client.get_run(run.run_id).data.metrics["val/loss"] == epochs[kept - 1].val_loss
    assert [entry.step for entry in client.get_metric_history(run.run_id, "val/loss")] == steps


def test_an_experiment_that_was_made_without_a_view_gets_it(world: World) -> None:
    client = connect(world.settings)
    made = client.create_experiment(world.settings.experiment)
    assert experiment_id(client, world.settings) == made
    view = json.loads(client.get_experiment(made).tags["mlflow.sharedViewState.sentiflow"])
    assert view["selectedColumns"][:2] == ["metrics.`test/accuracy`", "metrics.`val/loss`"]
    client.set_experiment_tag(made, "mlflow.experimentKind", "genai_development")
    experiment_id(client, world.settings)
    assert client.get_experiment(made).tags["mlflow.experimentKind"] == "genai_development"  # a person's choice


def test_an_open_run_is_written_to_and_read_by_one_handle(world: World, tmp_path: Path) -> None:
    client, run = opened(world)
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a.txt").write_text("a")
    run.log({"test/loss": 0.5})
    run.params({"seed": 3})
    run.tag({"kind": "training"})
    with run.timed("train"):
        pass
    run.upload(tmp_path / "files")
    run.text("b", "b.txt")
    record = run.record()
    run.close()
    assert (record.name, record.status, record.params, record.tags["kind"]) == (
        "mine", "RUNNING", {"seed": "3"}, "training",
    )  # fmt: skip
    assert set(record.metrics) == {"test/loss"}
    assert {entry.path for entry in client.list_artifacts(run.run_id)} == {"a.txt", "b.txt"}
    assert client.get_run(run.run_id).info.status == "FINISHED"
    assert (
        run.url
        == f"http://127.0.0.1:5000/#/experiments/{run.experiment}/runs/{run.run_id}?workflowType=machine_learning"
    )


def test_what_a_run_cannot_write_says_which_store_failed(world: World) -> None:
    run = OpenRun("0" * 32, "mine", "0", world.settings)
    for write in (lambda: run.log({"a": 1.0}), lambda: run.text("a", "a.txt"), run.record, run.close):
        with pytest.raises(ExternalError, match="The tracking store sqlite:"):
            write()


def test_a_run_that_goes_to_another_process_takes_no_password_along(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SENTIFLOW_NOTIFY_URL", "json://me:S3CRET@chat.example")
    run = OpenRun("1", "mine", "0", load_settings())
    sent = pickle.dumps(run)
    assert b"S3CRET" not in sent
    monkeypatch.setenv("SENTIFLOW_NOTIFY_URL", "json://other@chat.example")
    arrived = pickle.loads(sent)
    assert arrived == run and arrived.settings == load_settings() != run.settings
