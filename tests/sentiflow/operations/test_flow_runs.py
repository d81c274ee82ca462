"""What becomes of runs that a killed schedule left."""

import pytest
from prefect import task
from prefect.client.orchestration import SyncPrefectClient
from prefect.states import Paused, Pending, Running, Suspended

from sentiflow.operations.deployments import Deployment, apply
from sentiflow.operations.flow_runs import close_orphaned


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
