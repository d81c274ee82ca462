"""How the service starts and ends."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from sentiflow.serving import processes as server
from tests.sentiflow.serving import service
from tests.world import Trained, World


def test_workers_are_told_which_model_it_is_whatever_is_registered_before_another_takes_ones_place(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, client = service.copied(trained, tmp_path / "world")
    service.promote(client, 1)
    made: list[Any] = []
    monkeypatch.setattr(server, "_run_workers", lambda config, _listener: made.append(config.app))
    settings = world.settings.model_copy(update={"serve_workers": 2})
    server.serve(settings, None, "127.0.0.1", 0, print, print)
    assert [application.args[1] for application in made] == [service.MODEL]


def test_no_thread_is_left_that_would_work_on_while_the_process_ends(world: World) -> None:
    settings = world.settings.model_copy(update={"prediction_log_dir": world.root / "texts"})
    before = set(threading.enumerate())
    app = server._edge(settings, "a-model", "127.0.0.1", "127.0.0.1", print)._app

    async def live() -> set[str]:
        async with app.router.lifespan_context(app):
            return {thread.name for thread in set(threading.enumerate()) - before}

    assert {"watcher", "scorer", "keeper"} <= asyncio.run(live())
    assert set(threading.enumerate()) <= before
