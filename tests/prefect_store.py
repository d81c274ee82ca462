"""What Prefect's server keeps of a flow run. It returns at most 200 entries; the tests of a process share it."""

from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import Artifact, TaskRun

from tests.polling import until


def _only(flow_run: UUID | str) -> FlowRunFilter:
    return FlowRunFilter(id=FlowRunFilterId(any_=[UUID(str(flow_run))]))


def tasks_of(flow_run: UUID | str, least: int) -> list[TaskRun]:
    """In the order in which they began, once there are so many, all ended: the server learns of them late."""
    with get_client(sync_client=True) as client:

        def ended() -> list[TaskRun]:
            found = client.read_task_runs(flow_run_filter=_only(flow_run))
            done = [task for task in found if task.start_time and task.state and task.state.is_final()]
            return done if len(done) == max(len(found), least) else []

        found = until(ended, f"{least} tasks to end", 60)
    return sorted(found, key=lambda task: (task.start_time is None, task.start_time))


def artifacts_of(flow_run: UUID | str) -> list[Artifact]:
    with get_client(sync_client=True) as client:
        return client.read_artifacts(flow_run_filter=_only(flow_run))
