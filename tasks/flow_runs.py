"""Prefect's side of runs whose process was killed, and of old ones."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    TaskRunFilter,
    TaskRunFilterState,
    TaskRunFilterStateType,
)
from prefect.client.schemas.objects import TERMINAL_STATES, FlowRun, State, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed

from tasks.loggers import Logger
from tasks.notify import TOLD, tell

FLOWS = ("train", "repeat", "sweep", "baselines", "promote", "score", "housekeeping", "monitor")
_PAGE = 100
_BEGUN = [StateType.RUNNING, StateType.CANCELLING]
_OPEN = [state for state in StateType if state not in TERMINAL_STATES]


def find(prefect: SyncPrefectClient, flow_run_id: str | None) -> FlowRun | None:
    """A flow run, or None when this server has no such."""
    if flow_run_id is None:
        return None
    try:
        return prefect.read_flow_run(UUID(flow_run_id))
    except (ObjectNotFound, ValueError):  # another server's, or a tag that somebody wrote by hand
        return None


def flow_name(prefect: SyncPrefectClient, flow_run: FlowRun) -> str:
    """The name of its flow."""
    return prefect.read_flow(flow_run.flow_id).name


def crash(prefect: SyncPrefectClient, flow_run: FlowRun, message: str, logger: Logger) -> None:
    """Mark a flow run whose process is gone, and its tasks, as crashed, and tell the webhook.

    One that is marked already keeps its state; its tasks, which Prefect leaves running, are marked all the same.
    """
    state = flow_run.state
    if state is None or not state.is_final():
        crashed: State[Any] = Crashed(message=message)
        prefect.set_flow_run_state(flow_run.id, crashed, force=True)
        state = crashed
    for task_run in prefect.read_task_runs(
        flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[flow_run.id])),
        task_run_filter=TaskRunFilter(state=TaskRunFilterState(type=TaskRunFilterStateType(any_=_OPEN))),
    ):
        prefect.set_task_run_state(task_run.id, Crashed(message=message), force=True)
    if state.is_crashed():
        tell(flow_name(prefect, flow_run), flow_run, state, logger)


def tell_unheard(prefect: SyncPrefectClient, since: datetime, logger: Logger) -> None:
    """Tell the webhook of flow runs that crashed since a moment, and that no hook spoke of.

    A worker that starts containers marks a run whose container was killed, and runs no hooks.
    """
    crashed = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.CRASHED])),
        end_time=FlowRunFilterEndTime(after_=since),
    )
    for flow_run in list(_pages(prefect, crashed)):
        if flow_run.state is not None and TOLD not in flow_run.labels:
            tell(flow_name(prefect, flow_run), flow_run, flow_run.state, logger)


def begun(prefect: SyncPrefectClient) -> Iterator[FlowRun]:
    """Our flow runs that Prefect takes for running, oldest first."""
    state = FlowRunFilterState(type=FlowRunFilterStateType(any_=_BEGUN))
    yield from _pages(prefect, FlowRunFilter(state=state))


def delete_ended(prefect: SyncPrefectClient, before: datetime, flows: Sequence[str] = FLOWS) -> int:
    """Delete flow runs that ended before a moment, with their tasks, logs and artifacts; gives how many."""
    old = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(TERMINAL_STATES))),
        end_time=FlowRunFilterEndTime(before_=before),
    )
    found = list(_pages(prefect, old, flows))
    for flow_run in found:
        mine = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run.id]))
        while artifacts := prefect.read_artifacts(artifact_filter=mine, limit=_PAGE):
            for artifact in artifacts:
                prefect.delete_artifact(artifact.id)
        prefect.delete_flow_run(flow_run.id)  # the server deletes its tasks with it, and its logs soon after
    return len(found)


def _pages(prefect: SyncPrefectClient, wanted: FlowRunFilter, flows: Sequence[str] = FLOWS) -> Iterator[FlowRun]:
    """All of them by parts; of our flows alone, as others may use the same server."""
    ours = FlowFilter(name=FlowFilterName(any_=list(flows)))
    offset = 0
    while page := prefect.read_flow_runs(
        flow_filter=ours,
        flow_run_filter=wanted,
        sort=FlowRunSort.EXPECTED_START_TIME_ASC,
        limit=_PAGE,
        offset=offset,
    ):
        yield from page
        offset += len(page)
