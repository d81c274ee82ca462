"""What becomes of flow runs that a killed schedule left."""

from prefect.client.orchestration import SyncPrefectClient
from prefect.states import Pending, Running

from sentiflow.orchestration.deployments import Deployment, apply
from sentiflow.orchestration.due_runs import close_orphaned


def test_runs_that_were_begun_are_crashed_and_those_that_wait_go_on_waiting(client: SyncPrefectClient) -> None:
    applied = apply(client, Deployment("flows.promote.promote", "Promotes.", {"dataset": "sample"}))
    running, pending, waiting = (client.create_flow_run_from_deployment(applied.id) for _ in range(3))
    for run, state in ((running, Running()), (pending, Pending())):
        client.set_flow_run_state(run.id, state, force=True)  # type: ignore[arg-type]
    assert {run.id for run in close_orphaned(client, [applied.id])} == {running.id, pending.id}
    states = [client.read_flow_run(run.id).state for run in (running, pending, waiting)]
    assert [state and state.type.value for state in states] == ["CRASHED", "CRASHED", "SCHEDULED"]
