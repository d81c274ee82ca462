"""The webhook hears of every flow run that failed or crashed, once."""

import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.states import AwaitingRetry, Failed, Running

from flows.housekeeping import housekeeping
from flows.train import train
from sentiflow import notifications
from sentiflow.errors import UsageError
from sentiflow.operations.flow_runs import notify
from sentiflow.store.client import connect
from sentiflow.training.recipes import load_recipe
from tests.polling import until
from tests.receiver import PATH, receiver
from tests.sentiflow.test_locks import line_with, process
from tests.world import ROOT, World

LONG = load_recipe("tutorial", ["epochs=900", "sequence_length=40"])
SERVE = """
from flows.train import train
train.serve(name="notified", print_starting_message=False, webserver=False)
"""


def broken_table(world: World) -> str:
    table = world.root / "mine.csv"
    table.write_text("text,label\ngood film,1\nbad film,maybe\n")
    return str(table)


def test_a_failed_flow_run_is_told_with_a_link(
    world: World, prefect_server: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiver() as got:
        monkeypatch.setenv("SENTIFLOW_NOTIFY_URL", got.address)
        with pytest.raises(UsageError, match="unknown label"):
            train(LONG, broken_table(world))
    (run,) = connect(world.settings).search_runs(["1"])
    (message,) = got.messages
    assert (message["flow"], message["flow_run"], message["state"]) == ("train", run.info.run_name, "FAILED")
    assert "unknown label" in message["reason"]
    assert message["flow_run_url"] == run.data.tags["prefect.flow_run_url"]
    assert message["text"].startswith(f"Sentiflow: train {run.info.run_name} failed.")
    assert message["text"].endswith(message["flow_run_url"]) and "\n" not in message["text"]


def test_each_attempt_of_a_flow_run_that_fails_is_told_once(
    world: World, prefect_server: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiver() as got, get_client(sync_client=True) as prefect:
        monkeypatch.setenv("SENTIFLOW_NOTIFY_URL", got.address)
        flow_run = prefect.create_flow_run(train)
        for message in ("the first", "the second"):
            for state in (AwaitingRetry(), Running(), failed := Failed(message=message)):
                prefect.set_flow_run_state(flow_run.id, state, force=True)
            for _ in range(2):
                notify("train", flow_run, failed, logging.getLogger())
    assert [each["reason"] for each in got.messages] == ["the first", "the second"]


def test_success_is_told_where_it_is_asked_for(
    world: World, prefect_server: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiver() as got:
        monkeypatch.setenv("SENTIFLOW_NOTIFY_URL", got.address)
        housekeeping()
        monkeypatch.setenv("SENTIFLOW_NOTIFY_ON", "failed,success")
        housekeeping()
    (message,) = (each for each in got.messages if each["event"] == "success")  # others' crashes are told, too
    assert (message["flow"], message["state"]) == ("housekeeping", "COMPLETED")


def test_a_webhook_that_fails_changes_nothing_and_its_address_stands_in_no_log(
    world: World, prefect_server: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    monkeypatch.setattr(notifications, "_PAUSE", 0.0)
    with receiver([404] * 3) as got:
        monkeypatch.setenv("SENTIFLOW_NOTIFY_URL", got.address)
        with pytest.raises(UsageError, match="unknown label"):
            train(LONG, broken_table(world))
    assert len(got.messages) == 3
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert any("The notification of train" in line and "did not take it" in line for line in warnings)
    assert PATH not in caplog.text


@pytest.mark.story
def test_a_run_of_a_schedule_waits_for_the_lock_and_is_told_once_when_its_process_is_killed(
    world: World, prefect_server: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The runner tells at once; closing what the run left in MLflow later tells nobody again."""
    client = connect(world.settings)
    with receiver() as got, get_client(sync_client=True) as prefect:
        monkeypatch.setenv("SENTIFLOW_NOTIFY_URL", got.address)
        with process(world, model="sample-sentiment") as holder, runner(world):
            line_with("held", holder)
            deployment = until(lambda: found(prefect.read_deployments()))
            parameters = {"config": LONG.model_dump(mode="json"), "dataset": "sample"}
            flow_run = prefect.create_flow_run_from_deployment(deployment, parameters=parameters)
            until(lambda: any(f"process {holder.pid} on " in line for line in logs(prefect, flow_run.id)))
            assert client.search_runs(["1"]) == []
            holder.kill()
            until(lambda: any("train/loss" in run.data.metrics for run in client.search_runs(["1"])))
            holder_note = (world.root / "data" / "locks" / "sample-sentiment.lock").read_text()
            os.kill(int(re.search(r"process (\d+) on", holder_note)[1]), signal.SIGKILL)
            until(lambda: prefect.read_flow_run(flow_run.id).labels.get("sentiflow.notified"))
        report = housekeeping()
        assert prefect.read_flow_run(flow_run.id).state_name == "Crashed"
    (run,) = client.search_runs(["1"])
    assert run.info.status == "KILLED"
    assert report.closed == [f"run {run.info.run_name}, whose process is gone"]
    (message,) = (message for message in got.messages if str(flow_run.id) in message["flow_run_url"])
    assert (message["state"], message["flow_run"]) == ("CRASHED", run.info.run_name)


@contextmanager
def runner(world: World) -> Iterator[None]:
    """A process that serves the training."""
    environment = world.environment(PREFECT_RUNNER_POLL_FREQUENCY="1")
    made = subprocess.Popen([sys.executable, "-c", SERVE], env=environment, cwd=ROOT, start_new_session=True)
    try:
        yield
    finally:
        os.killpg(made.pid, signal.SIGKILL)
        made.wait()


def logs(prefect: SyncPrefectClient, flow_run_id: UUID) -> list[str]:
    mine = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[flow_run_id]))
    return [line.message for line in prefect.read_logs(mine)]


def found(deployments: list) -> UUID | None:
    return next((each.id for each in deployments if each.name == "notified"), None)
