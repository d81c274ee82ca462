"""Prefect's flow runs: found, followed, deleted."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas import filters
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
from prefect.client.schemas.objects import TERMINAL_STATES, FlowRun, Log, State, StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.sorting import FlowRunSort, LogSort
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.states import Crashed

from sentiflow.console import Logger
from sentiflow.errors import UsageError, WorldError
from sentiflow.orchestration.deployments import NAME
from sentiflow.orchestration.notify import TOLD, tell

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


_POLL_SECONDS = 0.5
_LOG_PAGE = 200
# A run that has not begun by then waits for something that is worth a line.
_LONG_SECONDS = 15.0
_LATE = timedelta(seconds=30)  # lines arrive after the moment that they bear, and not in order
_BATCH_SECONDS = 3.0  # a process sends its lines in batches every two seconds, the last ones as it ends


@dataclass(frozen=True)
class Line:
    """A log line of a run."""

    moment: datetime
    step: str
    message: str
    level: int


def start(client: SyncPrefectClient, deployment: DeploymentResponse, parameters: dict[str, Any]) -> FlowRun:
    """Start a run of a deployment now, with the deployment's parameters but for these.

    Raises:
        UsageError: the server refuses them.
    """
    try:
        return client.create_flow_run_from_deployment(deployment.id, parameters=parameters)
    except PrefectHTTPStatusError as err:
        if err.response.status_code not in (409, 422):
            raise
        detail = err.response.json().get("detail", err)
        raise UsageError(f"The parameters are refused: {detail}") from err


def names(client: SyncPrefectClient) -> list[str]:
    """The flows that have a deployment of ours."""
    found = client.read_deployments(
        deployment_filter=filters.DeploymentFilter(name=filters.DeploymentFilterName(any_=[NAME]))
    )
    return sorted(client.read_flow(each.flow_id).name for each in found)


def follow(client: SyncPrefectClient, run: FlowRun, waits: Callable[[bool], None]) -> Iterator[Line | State[Any]]:
    """Give each log line as it comes, and at last the state that the run ended in.

    Args:
        client: of the server.
        run: to follow.
        waits: called once if the run has not begun after some seconds, with whether another run of its
            deployment goes on.
    """
    lines = _Lines(client, run)
    long = time.monotonic() + _LONG_SECONDS
    told = False
    while not (state := _state(client, run)).is_final():
        yield from lines.fresh()
        if not told and state.is_scheduled() and time.monotonic() > long:
            told = True
            waits(_is_behind_another(client, run))
        time.sleep(_POLL_SECONDS)
    quiet = time.monotonic() + _BATCH_SECONDS
    while time.monotonic() < quiet:
        for line in lines.fresh():
            quiet = time.monotonic() + _BATCH_SECONDS
            yield line
        time.sleep(_POLL_SECONDS)
    yield state


class _Lines:
    """The lines of a run that were not given yet."""

    def __init__(self, client: SyncPrefectClient, run: FlowRun) -> None:
        self._client, self._run = client, run
        self._given: set[UUID] = set()
        self._steps: dict[UUID, str] = {}
        self._since = datetime.now(UTC) - _LATE

    def fresh(self) -> Iterator[Line]:
        logs = [log for log in self._all() if log.id not in self._given]
        for log in logs:
            self._given.add(log.id)
            self._since = max(self._since, log.timestamp - _LATE)
            yield Line(log.timestamp, self._step(log), log.message, log.level)

    def _all(self) -> list[Log]:
        wanted = filters.LogFilter(
            flow_run_id=filters.LogFilterFlowRunId(any_=[self._run.id]),
            timestamp=filters.LogFilterTimestamp(after_=self._since),
        )
        found: list[Log] = []
        while True:
            page = self._client.read_logs(wanted, limit=_LOG_PAGE, offset=len(found), sort=LogSort.TIMESTAMP_ASC)
            found += page
            if len(page) < _LOG_PAGE:
                return found

    def _step(self, log: Log) -> str:
        """The task that speaks, or the flow."""
        if log.task_run_id is None:
            return "flow"
        if log.task_run_id not in self._steps:
            try:
                self._steps[log.task_run_id] = self._client.read_task_run(log.task_run_id).name
            except ObjectNotFound:  # its events have not arrived yet
                return "task"
        return self._steps[log.task_run_id]


def _is_behind_another(client: SyncPrefectClient, run: FlowRun) -> bool:
    begun = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
    wanted = filters.FlowRunFilter(
        deployment_id=filters.FlowRunFilterDeploymentId(any_=[run.deployment_id] if run.deployment_id else []),
        state=filters.FlowRunFilterState(type=filters.FlowRunFilterStateType(any_=begun)),
    )
    return bool(client.read_flow_runs(flow_run_filter=wanted, limit=1))


def _state(client: SyncPrefectClient, run: FlowRun) -> State[Any]:
    state = client.read_flow_run(run.id).state
    if state is None:
        raise WorldError(
            f"The Prefect server tells no state of the run {run.name}.", "Look at it in the Prefect UI."
        )
    return state
