"""What a killed training leaves, and how housekeeping closes it; a living one is left alone."""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from mlflow.entities import LoggedModelStatus
from mlflow.tracking import MlflowClient
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Crashed, Failed, Running

from flows.housekeeping import housekeeping
from flows.train import train
from sentiflow.errors import ExternalError
from sentiflow.locks import lock_tag, work_folder
from sentiflow.operations.deployments import TAG
from sentiflow.operations.housekeeping import close_killed
from sentiflow.settings import load_settings
from sentiflow.store.client import connect, experiment_id
from sentiflow.store.records import LOCK
from sentiflow.training.recipes import load_recipe
from tests.polling import until
from tests.prefect_store import tasks_of
from tests.receiver import Receiver, receiver
from tests.world import ROOT, World, command


@pytest.fixture
def prefect(prefect_server: None) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        yield client


@contextmanager
def training(world: World, client: MlflowClient, **variables: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A training of the sample in a process of its own, past its first epoch."""
    process = subprocess.Popen(
        [command(), "train", "--dataset", "sample", "--set", "epochs=900", "--set", "sequence_length=40"],
        env=world.environment(**variables),
        cwd=ROOT,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: any("train/loss" in run.data.metrics for run in client.search_runs(["1"])), process=process)
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.story
def test_a_killed_training_is_closed_on_both_sides_and_a_living_one_is_left_alone(
    world: World, prefect: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = connect(world.settings)
    work = world.root / "data" / "work" / "sample-sentiment"
    with receiver() as got, training(world, client) as process:
        with pytest.raises(ExternalError, match=f"process {process.pid} on "):
            train(load_recipe("tutorial"), "sample", 0)
        monkeypatch.setenv("SENTIFLOW_NOTIFY_URL", got.address)
        (run,) = client.search_runs(["1"])
        pending = client.create_logged_model(
            run.info.experiment_id, name="sample-sentiment", source_run_id=run.info.run_id
        )
        report = housekeeping()
        assert report.closed == []
        assert f"process {process.pid} on " in report.left[0]
        assert client.get_run(run.info.run_id).info.status == "RUNNING"
        assert client.get_logged_model(pending.model_id).status == LoggedModelStatus.PENDING
        assert [folder.name for folder in work.iterdir()] == [run.info.run_id]

        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        report = housekeeping()
        assert report.closed == [f"run {run.info.run_name}, whose process is gone"]
        assert not work.exists()
        closed = client.get_run(run.info.run_id)
        assert (closed.info.status, closed.data.tags["end"]) == (
            "KILLED", "its process is gone; closed by housekeeping",
        )  # fmt: skip
        assert client.search_logged_models(["1"]) == []
        flow_run = prefect.read_flow_run(UUID(run.data.tags["prefect.flow_run_id"]))
        assert flow_run.state is not None and flow_run.state.is_crashed()
        assert flow_run.state.message == "Its process is gone; closed by housekeeping."
        assert states_of_tasks(flow_run, 5) == {
            "fetch": "Completed",
            "prepare": "Completed",
            "baseline": "Completed",
            "fit": "Completed",
            "train": "Crashed",
        }
        (message,) = about(flow_run.id, got)
        assert (message["flow"], message["flow_run"], message["state"]) == ("train", flow_run.name, "CRASHED")

        (line,) = housekeeping().lines()
        assert line.startswith("Nothing to do:")
        assert len(about(flow_run.id, got)) == 1


def about(flow_run_id: UUID, got: Receiver) -> list[dict[str, Any]]:
    """What the webhook heard of a flow run; other tests left crashed ones on this server, too."""
    return [message for message in got.messages if str(flow_run_id) in message["flow_run_url"]]


def states_of_tasks(flow_run: FlowRun, least: int) -> dict[str, str | None]:
    return {task.name: task.state_name for task in tasks_of(flow_run.id, least)}


@flow(name="train", version=TAG)
def empty_train() -> None:
    """Stands for a training in the list of flows."""


@flow(name="train")
def foreign() -> None:
    """A flow of others on the same server, with a name that ours has, too."""


def flow_run_in(prefect: SyncPrefectClient, state: State[Any], of: Any = empty_train) -> FlowRun:
    return prefect.create_flow_run(of, state=state)


def run_elsewhere(client: MlflowClient, flow_run: UUID | None = None) -> str:
    """An open run of a machine of which nothing is known here."""
    tags = {"registered_model": "sample-sentiment", LOCK: "elsewhere:/data/locks/sample-sentiment.lock"}
    if flow_run is not None:
        tags["prefect.flow_run_id"] = str(flow_run)
    return str(client.create_run(experiment_id(client, load_settings()), tags=tags).info.run_id)


def test_a_run_of_another_machine_is_judged_by_its_flow_run(world: World, prefect: SyncPrefectClient) -> None:
    client = connect(world.settings)
    flow_runs = {
        "crashed": flow_run_in(prefect, Crashed()).id,
        "failed": flow_run_in(prefect, Failed()).id,
        "running": flow_run_in(prefect, Running()).id,
        "unknown": uuid4(),
    }
    runs = {name: run_elsewhere(client, each) for name, each in flow_runs.items()}
    runs["by hand"] = run_elsewhere(client)
    check = {"kind": "monitor", "prefect.flow_run_id": str(flow_run_in(prefect, Running()).id)}
    runs["check"] = client.create_run(experiment_id(client, world.settings), tags=check).info.run_id
    state = housekeeping(return_state=True)
    report = state.result()
    assert state.message == "\n".join(report.lines()) and state.message.startswith("Closed: ")
    assert {name: client.get_run(run).info.status for name, run in runs.items()} == {
        "crashed": "KILLED", "failed": "FAILED", "running": "RUNNING", "unknown": "RUNNING", "by hand": "RUNNING",
        "check": "RUNNING",
    }  # fmt: skip
    assert sorted(line.rpartition(", ")[2] for line in report.closed) == [
        "whose flow run ended as Crashed", "whose flow run ended as Failed",
    ]  # fmt: skip
    left = "it began elsewhere; if it was killed, what runs next there closes it"
    assert [line.partition(": ")[2] for line in report.left] == [left] * 3
    prefect.delete_flow_run(flow_runs["running"])


def run_under_own_lock(world: World, name: str, flow_run: UUID) -> str:
    """An open run of a model, as a training in this data folder begins it."""
    client = connect(world.settings)
    tags = {
        "registered_model": name,
        LOCK: lock_tag(name, world.settings),
        "prefect.flow_run_id": str(flow_run),
    }
    return client.create_run(experiment_id(client, world.settings), tags=tags, run_name="night").info.run_id


def test_a_run_of_another_data_folder_at_the_same_path_is_one_of_elsewhere(
    world: World, prefect: SyncPrefectClient
) -> None:
    """Red if two machines of one name, each with a disk of its own, close each other's living runs."""
    client, name, data = connect(world.settings), "mine-sentiment", world.settings.data_dir
    flow_run = flow_run_in(prefect, Running())
    run = run_under_own_lock(world, name, flow_run.id)
    own = data.rename(world.root / "of the first machine")
    report = close_killed(world.settings, datetime.now(UTC))
    place = f"on {socket.gethostname()} with the data folder {data}"
    left = f"run night: it began {place}; if it was killed, what runs next there closes it"
    assert (report.closed, report.left) == ([], [left])
    assert client.get_run(run).info.status == "RUNNING"
    shutil.rmtree(data)
    own.rename(data)
    report = close_killed(world.settings, datetime.now(UTC))
    assert report.closed == ["run night, whose process is gone"]


def test_a_killed_run_is_closed_under_another_name_of_the_machine(
    world: World, prefect: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Red if a container that is made again, or a laptop in another network, leaves it running for ever."""
    client, name = connect(world.settings), "mine-sentiment"
    flow_run = flow_run_in(prefect, Running())
    run = run_under_own_lock(world, name, flow_run.id)
    (work_folder(name, world.settings) / run).mkdir(parents=True)
    monkeypatch.setattr(socket, "gethostname", lambda: "renamed")
    lines = housekeeping().lines()
    assert lines == ["Closed: run night, whose process is gone"]
    assert client.get_run(run).info.status == "KILLED"
    state = prefect.read_flow_run(flow_run.id).state
    assert state is not None and state.is_crashed()


@pytest.mark.parametrize("name", ["../../photos", "", "."])
def test_a_run_whose_model_is_a_path_costs_no_folder(
    world: World, prefect: SyncPrefectClient, tmp_path: Path, name: str
) -> None:
    """Red if the tag is taken for a folder's name: the work folder of such a model is anywhere."""
    photo = tmp_path / "photos" / "photo.jpg"
    work = world.settings.data_dir / "work" / "imdb-sentiment" / "weights.h5"
    for file in (photo, work):
        file.parent.mkdir(parents=True)
        file.write_text("precious")
    client = connect(world.settings)
    tags = {"registered_model": name, LOCK: lock_tag(name, world.settings)}
    client.create_run(experiment_id(client, world.settings), tags=tags)
    close_killed(world.settings, datetime.now(UTC))
    assert photo.read_text() == work.read_text() == "precious"


@pytest.mark.parametrize(
    ("flow", "opened", "hours"),
    [("train", False, 3), ("train", True, 1), ("reproduce", False, 3)],
    ids=["never opened an MLflow run", "its MLflow run has ended", "a reproduction"],
)
def test_a_training_that_prefect_takes_for_running_is_crashed_when_it_cannot_be(
    world: World,
    prefect: SyncPrefectClient,
    flow: str,
    opened: bool,
    hours: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It waits for the lock as long as the settings say, and promotes for a while after its MLflow run ended."""
    monkeypatch.setenv("SENTIFLOW_LOCK_TIMEOUT", "7200")
    client, by_hand = connect(world.settings), flow_run_in(prefect, Running())
    deployment = prefect.create_deployment(
        prefect.create_flow(empty_train.with_options(name=flow)), "of-a-test", tags=[TAG]
    )
    others = flow_run_in(prefect, Running(), foreign)
    flow_run = prefect.create_flow_run_from_deployment(deployment, state=Running())
    experiment = client.create_experiment("another than the settings name")
    if opened:
        for ended in (datetime.now(UTC) - timedelta(days=1), datetime.now(UTC)):  # of a set, its last one counts
            ended_run(client, experiment, flow_run.id, ended)
    for later, state in ((hours - 0.1, "Running"), (hours + 0.1, "Crashed")):
        now = datetime.now(UTC) + timedelta(hours=later)
        report = close_killed(load_settings(), now)
        assert prefect.read_flow_run(flow_run.id).state_name == state
    why = "its MLflow run ended long ago" if opened else "it never opened an MLflow run"
    assert report.closed == [f"flow run {flow_run.name}: {why}"]
    assert prefect.read_flow_run(by_hand.id).state_name == "Running", "it may log to a store of its own"
    assert prefect.read_flow_run(others.id).state_name == "Running"
    prefect.delete_flow_run(by_hand.id)
    prefect.delete_flow_run(others.id)
    prefect.delete_deployment(deployment)


def ended_run(client: MlflowClient, experiment: str, flow_run: UUID, ended: datetime) -> None:
    run = client.create_run(experiment, tags={"prefect.flow_run_id": str(flow_run)}).info.run_id
    client.set_terminated(run, end_time=round(ended.timestamp() * 1000))


def test_what_cannot_be_done_keeps_nothing_else_from_it_and_fails_the_flow(
    world: World, prefect: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = connect(world.settings)
    (world.root / "data" / "downloads" / "abc" / ".imdb.npz.lock").mkdir(parents=True)  # where a file is expected
    left = world.root / "data" / "work" / "mine-sentiment" / "1"
    left.mkdir(parents=True)
    monkeypatch.setenv("SENTIFLOW_KEEP_RUNS_DAYS", "1")
    old = client.create_run(experiment_id(client, world.settings), start_time=1).info.run_id
    client.set_terminated(old, end_time=2)
    with pytest.raises(ExternalError, match="could not clean .*abc: .*Is a directory"):
        housekeeping()
    assert not left.exists()
    assert client.search_runs(["1"]) == []
