"""Which flow runs have a process, and what becomes of those that have none."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.states import Pending, Running

from sentiment.schedules import Deployment
from tasks.deployments import apply
from tasks.left_behind import close_left_behind, end_processes, processes


@pytest.fixture
def client(prefect_server: None) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        yield client
        for each in client.read_deployments():
            client.delete_deployment(each.id)


def sleeper(flow_run_id: UUID) -> "subprocess.Popen[bytes]":
    """A process as Prefect's runner starts it for a flow run."""
    return subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)"],
        env={**os.environ, "PREFECT__FLOW_RUN_ID": str(flow_run_id)},
    )


def test_a_process_is_found_by_the_run_in_its_environment() -> None:
    run = uuid4()
    process = sleeper(run)
    try:
        assert processes()[run] == {process.pid}
    finally:
        process.kill()
        process.wait()
    assert run not in processes()


def test_runs_without_a_process_are_crashed_and_those_with_one_go_on_until_the_end(
    client: SyncPrefectClient,
) -> None:
    applied = apply(client, Deployment("promote", "Promotes.", {"dataset": "sample"}))
    running, pending, alive, waiting = (client.create_flow_run_from_deployment(applied.id) for _ in range(4))
    for run, state in ((running, Running()), (pending, Pending()), (alive, Running())):
        client.set_flow_run_state(run.id, state, force=True)  # type: ignore[arg-type]
    process = sleeper(alive.id)
    try:
        dead, living = close_left_behind(client, [applied.id])
        assert ({run.id for run in dead}, [run.id for run in living]) == ({running.id, pending.id}, [alive.id])
        states = [client.read_flow_run(run.id).state for run in (running, pending, alive, waiting)]
        assert [state and state.type.value for state in states] == ["CRASHED", "CRASHED", "RUNNING", "SCHEDULED"]
        end_processes(client, [applied.id])
        assert process.wait(10) == -signal.SIGTERM
    finally:
        process.kill()
        process.wait()
