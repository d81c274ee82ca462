"""How the loop that runs deployments ends without its server, and what becomes of runs that a killed one left."""

import subprocess
import sys

import pytest
from prefect import task
from prefect.client.orchestration import SyncPrefectClient
from prefect.states import Paused, Pending, Running, Suspended

from sentiflow.operations.deployments import Deployment, apply
from sentiflow.operations.due_runs import close_orphaned
from tests.servers import free_port
from tests.world import World

PROGRAM = """\
from flows.cli.output import exit_code, report
from sentiflow.operations.due_runs import run_until_signal
try:
    run_until_signal([], lambda: print("asked to end"))
except Exception as err:
    report(err, debug=False)
    raise SystemExit(exit_code(err))
"""


@pytest.mark.story
def test_a_server_that_is_gone_ends_it_as_a_failed_world(world: World) -> None:
    address = f"http://127.0.0.1:{free_port()}/api"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=world.environment(PREFECT_API_URL=address, PREFECT_CLIENT_MAX_RETRIES="0"),
        cwd=world.root, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (done.returncode, "The Prefect server does not answer" in done.stderr) == (3, True), done.stderr
    assert "Traceback" not in done.stderr and "asked to end" not in done.stdout


def test_runs_that_were_begun_are_crashed_and_those_that_wait_go_on_waiting(client: SyncPrefectClient) -> None:
    applied = apply(client, Deployment("flows.promote.promote", "Promotes.", {"dataset": "sample"}))
    made = [client.create_flow_run_from_deployment(applied.id) for _ in range(5)]
    begun = [Running(), Pending(), Paused(timeout_seconds=60), Suspended(timeout_seconds=60)]
    for run, state in zip(made, begun, strict=False):
        client.set_flow_run_state(run.id, state, force=True)  # type: ignore[arg-type]
    assert {run.id for run in close_orphaned(client, [applied.id])} == {run.id for run in made[:3]}
    states = [client.read_flow_run(run.id).state for run in made]
    ends = ["CRASHED", "CRASHED", "CRASHED", "PAUSED", "SCHEDULED"]  # a suspended run has no process to be killed
    assert [state and state.type.value for state in states] == ends


@pytest.mark.usefixtures("three_at_a_time")
def test_many_runs_and_many_tasks_of_one_are_all_crashed(client: SyncPrefectClient) -> None:
    @task
    def trial() -> None: ...

    applied = apply(client, Deployment("flows.promote.promote", "Promotes.", {"dataset": "sample"}))
    made = [client.create_flow_run_from_deployment(applied.id, state=Running()) for _ in range(5)]
    tasks = [client.create_task_run(trial, made[0].id, str(key), state=Running()) for key in range(5)]
    assert {run.id for run in close_orphaned(client, [applied.id])} == {run.id for run in made}
    states = [client.read_task_run(each.id).state for each in tasks]
    assert [state and state.type.value for state in states] == ["CRASHED"] * 5
