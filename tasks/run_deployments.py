"""Running what deployments ask for, in processes of this machine, until told to end."""

import asyncio
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.runner import Runner

from sentiment.schedules import NAME
from tasks.catch_up import due_runs
from tasks.deployments import Applied

logger = logging.getLogger(__name__)

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
