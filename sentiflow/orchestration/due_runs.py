"""Due runs of deployments: missed times are caught up, runs are started, those of a killed schedule are closed."""

import asyncio
import gc
import logging
import math
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import FlowRunResponse
from prefect.exceptions import ObjectNotFound
from prefect.runner import Runner
from prefect.runner.storage import LocalStorage
from prefect.states import Cancelled, Completed

from sentiflow import folder
from sentiflow.orchestration import flow_runs
from sentiflow.orchestration.deployments import TAG, Applied

logger = logging.getLogger(__name__)

_PAGE = 200  # runs; Prefect's server gives no more at a time


def close_orphaned(client: SyncPrefectClient, deployment_ids: Sequence[UUID]) -> list[FlowRun]:
    """Mark runs of these deployments as crashed that say they run: their process ended with its schedule.

    A crashed run frees its place at once; otherwise the next one waits for minutes. Returns the closed runs.
    """
    begun = flow_runs.of_deployments(client, deployment_ids)
    for run in begun:
        flow_runs.crash(client, run, "Its process was killed; closed by the next `sentiflow schedule`.", logger)
    return begun


def due_runs(
    client: SyncPrefectClient, deployment_ids: Sequence[UUID], before: datetime | None = None
) -> list[FlowRunResponse]:
    """Drop runs that are due and surplus, and give those that are due and left, earliest first.

    Of the runs that schedules made, the earliest is kept for each deployment and set of parameters; it gets the
    parameters of today. A run whose schedule was paused, changed or removed is dropped. Runs that a person or a
    trigger asked for, and runs that are repeated after a failure, stay as they are. Runs are due ``before`` a
    moment, by default now.
    """
    while True:
        due = _ask(client, list(deployment_ids), before or datetime.now(UTC))
        try:
            surplus = _surplus(client, due)
            for run, why in surplus:
                # Not cancelled: for a day Prefect's server looks for tasks of each cancelled run, every 20 s.
                dropped: Any = Completed(name="Skipped", message=f"Skipped: {why}.")
                client.set_flow_run_state(run.id, dropped, force=True)
        except ObjectNotFound:  # somebody deletes runs or a deployment
            continue
        if not surplus:
            return due


def _ask(client: SyncPrefectClient, ids: list[UUID], before: datetime) -> list[FlowRunResponse]:
    due = client.get_scheduled_flow_runs_for_deployments(ids, before, _PAGE)
    if len(due) < _PAGE or len(ids) == 1:
        return due
    # Many runs of one deployment would keep those of all others from a full page.
    return [run for each in ids for run in _ask(client, [each], before)]


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
# With a server that does not answer; Prefect's client repeats each poll as long by itself.
_PATIENCE_SECONDS = 60.0
_END_SECONDS = 45.0  # Prefect gives a run 30 s to end, then kills it
_LAST_SECONDS = 60.0  # the most that the end may take, with a server that does not answer
_REPEAT_SECONDS = 1.0  # two signals closer than this are one
_OF_TERMINAL = (signal.SIGINT, signal.SIGHUP)  # Ctrl-C, and the terminal's own end


@dataclass(frozen=True)
class _Known:
    """A deployment that is on the server already, for a runner to watch.

    Attributes:
        storage: where its runs start. Prefect imports from there, and obeys files that are there.
    """

    id: UUID
    name: str = TAG
    storage: LocalStorage = field(default_factory=lambda: LocalStorage(folder.ROOT))

    async def aapply(self) -> UUID:
        return self.id


class _Runner(Runner):
    """Runs what is due of one deployment, once. Several live side by side, so none takes SIGTERM for itself."""

    def handle_sigterm(self, *_: object) -> None:
        """Left to the loop's handler, which is called besides."""

    async def run(self, deployment_id: UUID) -> None:
        """Start what is due of a deployment, and wait until it has ended."""
        await self.aadd_deployment(_Known(deployment_id))  # type: ignore[arg-type]
        try:
            await self.start(run_once=True)
        except Exception as err:  # noqa: BLE001 - another attempt follows; the poll fails if the server is away
            logger.warning("Could not run a deployment: %s", err)


_Running = dict["asyncio.Task[None]", tuple[UUID, _Runner]]


def run_until_signal(applied: Sequence[Applied], ending: Callable[[], None]) -> None:
    """Run deployments until SIGINT, SIGTERM or SIGHUP; what runs is then cancelled, and closed by itself.

    Before each poll surplus runs are dropped, and a deployment at its concurrency limit is not polled. So one run
    catches up on everything that was due while this process or the machine stood still. On the first signal,
    ``ending`` is called.

    Raises:
        httpx.HTTPError: the server is away.
    """
    limits = {each.id: each.spec.concurrency_limit for each in applied}
    os.environ[folder.VARIABLE] = str(folder.here())
    gc.freeze()  # what is there by now stays: collecting need not look through it
    with get_client(sync_client=True) as client:
        asyncio.run(_run(client, limits, ending))


async def _run(client: SyncPrefectClient, limits: Mapping[UUID, int | None], ending: Callable[[], None]) -> None:
    stop = asyncio.Event()
    began = 0.0

    def end(number: int) -> None:
        """End in good order on the first signal; at once on another one, or when that takes too long."""
        nonlocal began
        if stop.is_set():
            if time.monotonic() - began > _REPEAT_SECONDS:
                os._exit(128 + number)
            return
        began = time.monotonic()
        stop.set()
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
    running: _Running = {}
    try:
        polling = asyncio.create_task(_poll(client, limits, running, stop))
        await asyncio.wait([polling, asyncio.create_task(stop.wait())], return_when=asyncio.FIRST_COMPLETED)
        if polling.done():
            await polling  # it fails if the server is away
        await _cancel(running)
        if all(task.done() for task in running):
            await asyncio.to_thread(_close_cancelled, client, list(limits))
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _poll(
    client: SyncPrefectClient, limits: Mapping[UUID, int | None], running: _Running, stop: asyncio.Event
) -> None:
    failing_since = None
    while not stop.is_set():
        try:
            due = await asyncio.to_thread(due_runs, client, list(limits))
            failing_since = None
        except (httpx.HTTPError, ValueError) as err:  # or a proxy answers with a page of its own
            due = []
            failing_since = failing_since or time.monotonic()
            if time.monotonic() - failing_since > _PATIENCE_SECONDS:
                raise
            logger.warning("The Prefect server does not answer: %s", err)
        if stop.is_set():
            return
        if done := [task for task in running if task.done()]:
            for task in done:
                del running[task]
            gc.collect()  # Prefect's clients of each run stay in reference cycles, with 1 MB of certificates each
        count = Counter(deployment_id for deployment_id, _ in running.values())
        for deployment_id in to_start(due, limits, count):
            runner = _Runner(name=TAG, pause_on_shutdown=False, prefetch_seconds=0, limit=limits[deployment_id])
            running[asyncio.create_task(runner.run(deployment_id))] = deployment_id, runner
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), _POLL_SECONDS)


def to_start(
    due: Sequence[FlowRunResponse], limits: Mapping[UUID, int | None], running: Mapping[UUID, int]
) -> list[UUID]:
    """The deployments whose due runs are started now, of those with so many runs that go on.

    Where there is no limit, runs that people and triggers ask for go on side by side, and a schedule's waits for
    the one before: a scoring that outlasts its interval keeps its output to itself.
    """
    asked = {run.deployment_id for run in due if not run.auto_scheduled}
    return [
        each
        for each in dict.fromkeys(run.deployment_id for run in due if run.deployment_id)
        if running.get(each, 0) < (limits[each] or (math.inf if each in asked else 1))
    ]


async def _cancel(running: _Running) -> None:
    until = asyncio.get_running_loop().time() + _END_SECONDS
    left = set(running)
    while left and asyncio.get_running_loop().time() < until:
        # Once more after a second: one whose process was about to start could not be cancelled.
        await asyncio.gather(*(running[task][1].cancel_all() for task in left if running[task][1].started))
        _, left = await asyncio.wait(left, timeout=1)


def _close_cancelled(client: SyncPrefectClient, deployment_ids: Sequence[UUID]) -> None:
    """Mark the runs that were just cancelled: a runner ends with its run, before it could say so."""
    cancelled: Any = Cancelled(message="It was cancelled, as its schedule ended.")
    try:
        for run in flow_runs.of_deployments(client, deployment_ids):
            flow_runs.close(client, run, cancelled, logger)
    except httpx.HTTPError as err:
        logger.warning("The next start marks the cancelled runs; the Prefect server does not answer: %s", err)
