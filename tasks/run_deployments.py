"""Running what deployments ask for, in processes of this machine, until told to end."""

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from prefect.runner import Runner

from sentiment.schedules import NAME

_POLL_SECONDS = 2.0  # a run that somebody asks for begins soon


@dataclass(frozen=True)
class _Known:
    """A deployment that stands on the server already, for the runner to watch."""

    id: UUID
    name: str = NAME
    storage: None = None

    async def aapply(self) -> UUID:
        return self.id


def run_until_told(deployment_ids: Sequence[UUID], ending: Callable[[], None]) -> None:
    """Run deployments until SIGINT or SIGTERM; runs under way are then cancelled, and closed by themselves.

    Args:
        deployment_ids: which.
        ending: called once, when told to end.
    """
    asyncio.run(_run(deployment_ids, ending))


async def _run(deployment_ids: Sequence[UUID], ending: Callable[[], None]) -> None:
    runner = Runner(name=NAME, pause_on_shutdown=False, query_seconds=_POLL_SECONDS)
    for deployment_id in deployment_ids:
        await runner.aadd_deployment(_Known(deployment_id))  # type: ignore[arg-type]
    told = False

    def end() -> None:
        nonlocal told
        if not told and runner.started:
            told = True
            ending()
            os.kill(os.getpid(), signal.SIGTERM)  # the runner's own way to end in good order

    # Ctrl-C goes to every process of the terminal's group, and a training that dies of it cannot be cancelled.
    # So this thread, which starts them, blocks the signal, which they inherit; another one takes it.
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, end)
    await runner.start()
