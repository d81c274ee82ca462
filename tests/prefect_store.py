"""What Prefect's server keeps of a flow run. It returns at most 200 entries; the tests of a process share it."""

from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import Artifact, TaskRun


def _only(flow_run: UUID | str) -> FlowRunFilter:
    return FlowRunFilter(id=FlowRunFilterId(any_=[UUID(str(flow_run))]))


def tasks_of(flow_run: UUID | str) -> list[TaskRun]:
    """In the order in which they began."""
    with get_client(sync_client=True) as client:
        return sorted(client.read_task_runs(flow_run_filter=_only(flow_run)), key=lambda task: task.start_time)


def artifacts_of(flow_run: UUID | str) -> list[Artifact]:
    with get_client(sync_client=True) as client:
        return client.read_artifacts(flow_run_filter=_only(flow_run))
