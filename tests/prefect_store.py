"""What Prefect's server keeps of a flow run. It returns at most 200 entries; the tests of a process share it."""

import time
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import Artifact, TaskRun


def _only(flow_run: UUID | str) -> FlowRunFilter:
    return FlowRunFilter(id=FlowRunFilterId(any_=[UUID(str(flow_run))]))


def tasks_of(flow_run: UUID | str, least: int) -> list[TaskRun]:
    """In the order in which they began, once there are so many, all ended: the server learns of them late."""
    until = time.monotonic() + 60
    with get_client(sync_client=True) as client:
        while True:
            found = client.read_task_runs(flow_run_filter=_only(flow_run))
            ended = all(task.start_time and task.state and task.state.is_final() for task in found)
            if len(found) >= least and ended:
                return sorted(found, key=lambda task: (task.start_time is None, task.start_time))
            assert time.monotonic() < until, f"{[task.name for task in found]} instead of {least} tasks that ended"
            time.sleep(0.2)


def artifacts_of(flow_run: UUID | str) -> list[Artifact]:
    with get_client(sync_client=True) as client:
        return client.read_artifacts(flow_run_filter=_only(flow_run))
