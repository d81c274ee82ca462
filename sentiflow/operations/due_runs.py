"""Due runs of deployments: Prefect's runner starts them until a signal comes; those of a killed one are closed."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.runner import Runner

from sentiflow.children import mark_children
from sentiflow.environment import FOLDER, here
from sentiflow.errors import ExternalError, first_line
from sentiflow.operations import flow_runs
from sentiflow.operations.deployments import TAG, Applied

_POLL = 2.0  # seconds: a run that somebody asks for begins soon
_LAST_SECONDS = 60.0  # the most that the end may take, with a server that does not answer
_REPEAT_SECONDS = 1.0  # two signals closer than this are one
_OF_TERMINAL = (signal.SIGINT, signal.SIGHUP)  # Ctrl-C, and the terminal's own end


@dataclass(frozen=True)
class _Known:
    """A deployment that is on the server already, for a runner to watch."""

    id: UUID
    name: str = TAG
    storage: None = None

    async def aapply(self) -> UUID:
        return self.id


class _Runner(Runner):
    """Runs what is due of our deployments."""

    def __init__(self) -> None:
        super().__init__(TAG, query_seconds=_POLL, prefetch_seconds=0, limit=None, pause_on_shutdown=False)

    def handle_sigterm(self, *_: object) -> None:
        """Left to the loop's handler, which is called besides."""

    async def run(self, deployment_ids: Sequence[UUID]) -> None:
        for each in deployment_ids:
            await self.aadd_deployment(_Known(each))  # type: ignore[arg-type]
        await self.start()

    async def end(self) -> None:
        """Cancel what runs, and start no more; called again, cancel what was about to start."""
        if self.started:
            await self.astop()
        elif self.stopping:
            await self.cancel_all()


def close_orphaned(client: SyncPrefectClient, deployment_ids: Sequence[UUID]) -> list[FlowRun]:
    """Mark the runs of a killed schedule as crashed, which frees their places at once; gives them."""
    begun = flow_runs.of_deployments(client, deployment_ids)
    for run in begun:
        flow_runs.crash(client, run, "Its process was killed; closed by the next `sentiflow schedule`.")
    return begun


def run_until_signal(applied: Sequence[Applied], ending: Callable[[], None]) -> None:
    """Run deployments until SIGINT, SIGTERM or SIGHUP; what runs is then cancelled, and closed by itself.

    What is late waits in turn, by the deployment's concurrency limit on the server. The first signal calls
    ``ending``.
    """
    os.environ[FOLDER] = str(here())
    mark_children()
    try:
        asyncio.run(_run([each.id for each in applied], ending))
    except (RuntimeError, httpx.HTTPError, ExceptionGroup) as err:
        cause: Exception = err
        while isinstance(cause, ExceptionGroup):
            cause = cause.exceptions[0]
        raise ExternalError(f"The Prefect server does not answer: {first_line(cause)}", "Start it again.") from err


async def _run(deployment_ids: Sequence[UUID], ending: Callable[[], None]) -> None:
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
    runner = _Runner()
    running = asyncio.ensure_future(runner.run(deployment_ids))
    waiting: list[asyncio.Future[Any]] = [running, asyncio.ensure_future(stop.wait())]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    while not running.done():
        await runner.end()
        await asyncio.wait([running], timeout=1)
    await running
