"""The service on the registry of the settings: its processes, their start and their end."""

import asyncio
import fcntl
import logging
import multiprocessing
import os
import signal
import socket
import tempfile
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from multiprocessing import resource_tracker
from typing import Any

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp
from uvicorn.supervisors import Multiprocess

from sentiflow.children import collect_less, end_with_parent, stop
from sentiflow.environment import BACKLOG, address_of, open_socket, raise_open_files
from sentiflow.errors import ExternalError
from sentiflow.monitoring.log import configured_log
from sentiflow.names import BASE
from sentiflow.serving.app import build, describe_token, public_paths
from sentiflow.serving.batching import Batcher, Keeper
from sentiflow.serving.champion import Watcher
from sentiflow.serving.metrics import Metrics
from sentiflow.serving.middleware import HEALTH, ServiceEdge, origins
from sentiflow.serving.schemas import BodyParser
from sentiflow.settings import Settings
from sentiflow.store.find import find_champion
from sentiflow.store.ui import ui_url

_ACCEPT_AT_ONCE = 8  # connections that a worker takes at a time, so that the others get their share
_KEEP_ALIVE_SECONDS = 30  # between an answer and the next request
_END_SECONDS = 15  # for requests that are under way; longer ones are cut off
_CLOSE_SECONDS = 5  # after these, for what a worker still has to write
_HUNG_SECONDS = 20  # a worker that does not move for so long is replaced; on a busy machine a start takes some
_STARTUP_FAILURE = 3  # how uvicorn's workers exit then; its name for it has moved between modules
_FIRST_CHECK_SECONDS = 2.0  # a local champion is loaded by then; a slow registry must not delay the start


def serve(
    settings: Settings,
    name: str | None,
    host: str,
    port: int,
    prepare: Callable[[], None],
    ready: Callable[[str], None],
) -> None:
    """Answer over HTTP with the champion until SIGINT or SIGTERM; then answer what is under way, and return.

    Without the name of a registered model it is ``imdb-sentiment``, or the only one that there is. The host is a
    name or an address; port 0 takes a free one. ``prepare``, which can be pickled, is called in each worker.
    ``ready`` is called with the service's address, from when on nothing that is asked there is lost.
    """
    raise_open_files()
    with open_socket(host, port, "Choose others with --host and --port; --port 0 takes a free port.") as listener:
        if name is None or settings.sqlite_file is not None:
            with suppress(ExternalError):  # the watcher checks again, and logs it
                if found := find_champion(settings, name):
                    name = found.version.name  # whatever else is registered meanwhile
        address, port = listener.getsockname()[:2]
        make = partial(_edge, settings, name, address, host, prepare)
        app = make()  # also where each worker makes its own: what is wrong with the settings ends the command
        ready(address_of(host, port))
        if settings.serve_workers == 1:
            _run(_config(app, listener), listener)
        else:
            _run_workers(_config(make, listener, factory=True, workers=settings.serve_workers), listener)


async def _queue(listener: socket.socket) -> None:
    """Let the kernel keep more: asyncio takes one number for its queue and for what is accepted at a time."""
    listener.listen(BACKLOG)


def _config(app: ASGIApp | Callable[[], ASGIApp], listener: socket.socket, **more: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http="h11",
        ws="none",
        lifespan="on",
        backlog=_ACCEPT_AT_ONCE,
        callback_notify=partial(_queue, listener),  # called once it listens, and every now and then
        log_config=None,  # its lines go where all others go
        log_level="error",  # a warning for each request that is no HTTP would let anybody fill the log
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_END_SECONDS,
        timeout_worker_healthcheck=_HUNG_SECONDS,
        **more,
    )


def _run(config: uvicorn.Config, listener: socket.socket) -> None:
    server = uvicorn.Server(config)
    try:
        server.run([listener])
    except (KeyboardInterrupt, SystemExit):  # uvicorn raises the signal again once it has ended in good order
        if not server.should_exit:
            raise


def _run_workers(config: uvicorn.Config, listener: socket.socket) -> None:
    with tempfile.TemporaryDirectory(prefix="sentiflow-metrics-") as folder:
        # systemd-tmpfiles removes what is ten days old, but nothing that is locked; this process keeps it open
        fcntl.flock(os.open(folder, os.O_RDONLY), fcntl.LOCK_SH)
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        hang_up = signal.getsignal(signal.SIGHUP)
        supervisor = Multiprocess(config, [listener])
        signal.signal(signal.SIGHUP, hang_up)  # to uvicorn it means new workers, whose terminal has gone
        logging.getLogger("uvicorn.error").setLevel(logging.INFO)  # of this process: which worker has died
        threading.Thread(target=_end_hung, args=(supervisor,), daemon=True).start()
        # A terminal sends Ctrl-C to the workers, too. They are born deaf to it; here the other thread hears it.
        resource_tracker.ensure_running()  # it would end the deafness at its start
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            supervisor.run()
        except BaseException:  # another signal, such as of a terminal that is closed
            supervisor.should_exit.set()
            supervisor.terminate_all()
            supervisor.join_all()
            raise
    if any(worker.exitcode == _STARTUP_FAILURE for worker in supervisor.processes):
        raise ExternalError("A worker failed at its start.", "One alone says more: sentiflow serve --workers 1")


def _end_hung(supervisor: Multiprocess) -> None:
    """Kill the workers that are left some time after they were told to end."""
    supervisor.should_exit.wait()
    stop([worker.process for worker in supervisor.processes], _END_SECONDS + _CLOSE_SECONDS)


def _edge(settings: Settings, name: str | None, address: str, host: str, prepare: Callable[[], None]) -> ASGIApp:
    if (parent := multiprocessing.parent_process()) is not None:
        collect_less()
        prepare()
        end_with_parent(parent.pid or 0, _END_SECONDS + _CLOSE_SECONDS)
    logging.getLogger(__package__).setLevel(logging.INFO)  # which version answers from when on
    metrics = Metrics()
    token = None if settings.serve_token is None else settings.serve_token.get_secret_value()
    watcher = Watcher(settings, name, metrics)
    # more texts than fit into the queue would get 429 again and again
    parser = BodyParser(settings.serve_max_text, min(settings.serve_max_texts, settings.serve_queue))
    log = configured_log(settings) if name != BASE else None  # nothing is checked for drift from it
    batcher, keeper = Batcher(settings.serve_queue, metrics), Keeper(log, metrics)
    threads = partial(_threads, watcher, batcher, keeper, metrics)
    ui = ui_url(settings) if "ui_url" in settings.model_fields_set else ""
    app = build(watcher, batcher, keeper, metrics, parser, settings.serve_max_body, threads, ui)
    open_paths = [*HEALTH, *public_paths(app), *(["/metrics"] if settings.serve_metrics_open else [])]
    if token is not None:
        describe_token(app, open_paths)
    return ServiceEdge(app, origins(address, [host, *settings.serve_hosts]), token, open_paths, metrics)


@asynccontextmanager
async def _threads(
    watcher: Watcher, batcher: Batcher, keeper: Keeper, metrics: Metrics, _app: FastAPI
) -> AsyncIterator[None]:
    """Run them while the service answers."""
    watcher.start()
    batcher.start()
    keeper.start()
    try:
        await asyncio.to_thread(watcher.checked.wait, _FIRST_CHECK_SECONDS)
        metrics.show_ready(lambda: watcher.state.loaded is not None)
        yield
    finally:
        for end in (watcher.stop, batcher.close, keeper.close):
            await asyncio.to_thread(end)  # meanwhile those that were cut off are told
