"""How the service starts and ends."""

import asyncio
import threading

from sentiflow.serving import processes as server
from tests.world import World


def test_no_thread_is_left_that_would_work_on_while_the_process_ends(world: World) -> None:
    settings = world.settings.model_copy(update={"prediction_log_dir": world.root / "texts"})
    before = set(threading.enumerate())
    app = server._edge(settings, "a-model", "127.0.0.1", "127.0.0.1", print)._app

    async def live() -> set[str]:
        async with app.router.lifespan_context(app):
            return {thread.name for thread in set(threading.enumerate()) - before}

    assert {"watcher", "scorer", "keeper"} <= asyncio.run(live())
    assert set(threading.enumerate()) <= before
