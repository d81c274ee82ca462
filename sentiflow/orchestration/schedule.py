"""A schedule at work: missed times, runs of deployments, flow runs that were left behind."""

import asyncio
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas import filters
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.responses import FlowRunResponse
from prefect.exceptions import ObjectNotFound
from prefect.runner import Runner
from prefect.states import Cancelled

from sentiflow.orchestration import flow_runs
from sentiflow.orchestration.deployments import NAME, Applied

logger = logging.getLogger(__name__)

_BEGUN = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]


def close_left_behind(client: SyncPrefectClient, deployment_ids: Sequence[UUID]) -> list[FlowRun]:
    """Mark runs of these deployments as crashed that say they run: their process ended with its schedule.

    A crashed run frees its place at once; otherwise the next one waits for minutes.

    Returns:
        The runs that were closed.
    """
    begun = client.read_flow_runs(
        flow_run_filter=filters.FlowRunFilter(
            deployment_id=filters.FlowRunFilterDeploymentId(any_=list(deployment_ids)),
            state=filters.FlowRunFilterState(type=filters.FlowRunFilterStateType(any_=_BEGUN)),
        )
    )
    for run in begun:
        flow_runs.crash(client, run, "Its process was killed; closed by the next `sentiflow schedule`.", logger)
    return begun


SKIPPED = "Skipped"
"""Name of the state of a run that was dropped; the state's type is CANCELLED."""


def due_runs(
    client: SyncPrefectClient, deployment_ids: Sequence[UUID], before: datetime | None = None
) -> list[FlowRunResponse]:
    """Drop runs that are due and surplus, and give those that are due and left, earliest first.

    Of the runs that schedules made, the earliest is kept for each deployment and set of parameters; it gets the
    parameters of today. A run whose schedule was paused, changed or removed is dropped. Runs that a person or a
    trigger asked for, and runs that are repeated after a failure, stay as they are.

    Args:
        client: of the server.
        deployment_ids: whose runs.
        before: what is due later is left out; by default now.
    """
    while True:
        due = client.get_scheduled_flow_runs_for_deployments(
            list(deployment_ids), scheduled_before=before or datetime.now(UTC)
        )
        try:
            surplus = _surplus(client, due)
            for run, why in surplus:
                dropped: Any = Cancelled(name=SKIPPED, message=f"Skipped: {why}.")
                client.set_flow_run_state(run.id, dropped, force=True)
        except ObjectNotFound:  # somebody deletes runs or a deployment
            continue
        if not surplus:
            return due


def _surplus(client: SyncPrefectClient, due: Sequence[FlowRunResponse]) -> list[tuple[FlowRunResponse, str]]:
    """Those to drop, and why; the others are given the parameters of today."""
    surplus = []
    kept: list[tuple[UUID, dict[str, Any]]] = []
    schedules: dict[UUID, dict[UUID, dict[str, Any]]] = {}
    for run in due:
        if not (run.auto_scheduled and run.deployment_id and run.created_by) or run.run_count:
            continue
        if run.deployment_id not in schedules:
            schedules[run.deployment_id] = _parameters(client, run.deployment_id)
        parameters = schedules[run.deployment_id].get(run.created_by.id)  # type: ignore[arg-type]
        if parameters is None:
            surplus.append((run, "its schedule was paused, changed or removed"))
        elif (run.deployment_id, parameters) in kept:
            surplus.append((run, "another run of this schedule waits already"))
        else:
            kept.append((run.deployment_id, parameters))
            if run.parameters != parameters:
                client.update_flow_run(run.id, parameters=parameters)
    return surplus


def _parameters(client: SyncPrefectClient, deployment_id: UUID) -> dict[UUID, dict[str, Any]]:
    """The parameters of runs that the active schedules of a deployment make, by the id of the schedule."""
    deployment = client.read_deployment(deployment_id)
    active = [] if deployment.paused else [each for each in deployment.schedules if each.active]
    return {each.id: deployment.parameters | each.parameters for each in active}


_POLL_SECONDS = 2.0  # a run that somebody asks for begins soon
_PATIENCE_SECONDS = (
    60.0  # with a server that does not answer; Prefect's client repeats each poll as long by itself
)
_END_SECONDS = 60.0  # Prefect gives a run 30 s to end, then kills it
_LAST_SECONDS = 90.0  # a server that does not answer may not hold the end up for longer
_REPEAT_SECONDS = 1.0  # two signals closer than this are one
_OF_TERMINAL = (signal.SIGINT, signal.SIGHUP)  # Ctrl-C, and the terminal's own end


@dataclass(frozen=True)
class _Known:
    """A deployment that stands on the server already, for a runner to watch."""

    id: UUID
    name: str = NAME
    storage: None = None

    async def aapply(self) -> UUID:
        return self.id


class _Runner(Runner):
    """Runs what is due of one deployment, once. Several live side by side, so none takes SIGTERM for itself."""

    def handle_sigterm(self, *_: object) -> None:
        """Left to the loop's handler, which is called besides."""


def run_until_told(applied: Sequence[Applied], ending: Callable[[], None]) -> None:
    """Run deployments until SIGINT, SIGTERM or SIGHUP; what runs is then cancelled, and closed by itself.

    Before each poll surplus runs are dropped, and a deployment at its concurrency limit is not polled. So one run
    catches up on everything that was due while this process or the machine stood still.

    Args:
        applied: the deployments.
        ending: called once, when told to end.

    Raises:
        httpx.HTTPError: the server is away.
    """
    limits = {each.id: each.spec.concurrency_limit for each in applied}
    with get_client(sync_client=True) as client:
        asyncio.run(_run(client, limits, ending))


async def _run(client: SyncPrefectClient, limits: Mapping[UUID, int | None], ending: Callable[[], None]) -> None:
    told = asyncio.Event()
    began = 0.0

    def end(number: int) -> None:
        """End in good order on the first signal; at once on another one, or when that takes too long."""
        nonlocal began
        if told.is_set():
            if time.monotonic() - began > _REPEAT_SECONDS:
                os._exit(128 + number)
            return
        began = time.monotonic()
        told.set()
        ending()
        last = threading.Timer(_LAST_SECONDS, os._exit, [128 + number])
        last.daemon = True
        last.start()

    # A terminal signals every process of its group, and a training that dies of that cannot be cancelled.
    # So this thread, which starts them, blocks these signals, which they inherit; another one takes them.
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    signal.pthread_sigmask(signal.SIG_BLOCK, _OF_TERMINAL)
    for number in (*_OF_TERMINAL, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup does
            asyncio.get_running_loop().add_signal_handler(number, end, number)
    under_way: dict[asyncio.Task[None], tuple[UUID, _Runner]] = {}
    try:
        polling = asyncio.create_task(_poll(client, limits, under_way, told))
        await asyncio.wait([polling, asyncio.create_task(told.wait())], return_when=asyncio.FIRST_COMPLETED)
        if polling.done():
            await polling  # it fails if the server is away
        await _cancel(under_way)
    finally:
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)


async def _poll(
    client: SyncPrefectClient,
    limits: Mapping[UUID, int | None],
    under_way: dict["asyncio.Task[None]", tuple[UUID, _Runner]],
    told: asyncio.Event,
) -> None:
    failing_since = None
    while not told.is_set():
        try:
            due = {run.deployment_id for run in await asyncio.to_thread(due_runs, client, list(limits))}
            failing_since = None
        except httpx.HTTPError as err:
            due = set()
            failing_since = failing_since or time.monotonic()
            if time.monotonic() - failing_since > _PATIENCE_SECONDS:
                raise
            logger.warning("The Prefect server does not answer: %s", err)
        if told.is_set():
            return
        for task in [task for task in under_way if task.done()]:
            del under_way[task]
        running = [deployment_id for deployment_id, _ in under_way.values()]
        for deployment_id, limit in limits.items():
            if deployment_id in due and (limit is None or running.count(deployment_id) < limit):
                runner = _Runner(name=NAME, pause_on_shutdown=False, prefetch_seconds=0, limit=limit)
                under_way[asyncio.create_task(_run_due(runner, deployment_id))] = deployment_id, runner
        await _wait(told)


async def _wait(told: asyncio.Event) -> None:
    try:
        await asyncio.wait_for(told.wait(), _POLL_SECONDS)
    except TimeoutError:
        return


async def _run_due(runner: Runner, deployment_id: UUID) -> None:
    """Start what is due of a deployment, and wait until it has ended."""
    await runner.aadd_deployment(_Known(deployment_id))  # type: ignore[arg-type]
    try:
        await runner.start(run_once=True)
    except Exception as err:  # noqa: BLE001 - another attempt follows; the poll fails if the server is away
        logger.warning("Could not run a deployment: %s", err)


async def _cancel(under_way: Mapping["asyncio.Task[None]", tuple[UUID, _Runner]]) -> None:
    """Cancel what runs and wait for its end."""
    until = asyncio.get_running_loop().time() + _END_SECONDS
    left = set(under_way)
    while left and asyncio.get_running_loop().time() < until:
        # Once more after a second: one whose process was about to start could not be cancelled.
        await asyncio.gather(*(under_way[task][1].cancel_all() for task in left if under_way[task][1].started))
        _, left = await asyncio.wait(left, timeout=1)
