"""A run of a deployment: started, and followed by its log lines until it ends."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas import filters
from prefect.client.schemas.objects import FlowRun, Log, State, StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.sorting import LogSort
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

from sentiment.errors import UsageError, WorldError
from sentiment.schedules import NAME

_POLL_SECONDS = 0.5
_PAGE = 200
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
            page = self._client.read_logs(wanted, limit=_PAGE, offset=len(found), sort=LogSort.TIMESTAMP_ASC)
            found += page
            if len(page) < _PAGE:
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
