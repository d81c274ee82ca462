"""The service on the registry of the settings: sockets, limits of connections, start and end."""

import asyncio
import fcntl
import json
import logging
import os
import resource
import select
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from math import inf
from typing import Any

import h11
import uvicorn
from prometheus_client.multiprocess import mark_process_dead
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from sentiflow.children import ASKED_TO_END, Child
from sentiflow.errors import ExternalError
from sentiflow.monitoring.text_log import configured_log
from sentiflow.names import BASE
from sentiflow.process import BACKLOG, address_of, open_socket
from sentiflow.serving import WORKER, is_worker
from sentiflow.serving.app import build, describe_token, public_paths
from sentiflow.serving.batching import Batcher, Keeper
from sentiflow.serving.champion import Watcher
from sentiflow.serving.middleware import HEALTH, Edge, Metrics, Origins
from sentiflow.serving.schemas import BodyParser
from sentiflow.settings import Settings
from sentiflow.tracking.versions import find_champion

logger = logging.getLogger(__name__)

KEEP_ALIVE_SECONDS = 30  # between an answer and the next request
# The event loop accepts at most this many connections at a time, so that the cap holds before the next ones come.
ACCEPT_AT_ONCE = 8
_MAX = 1_000
_RESERVED = 48  # descriptors: a dozen files, and connections in the three or four steps of accepting and closing
_MIN_FILES = 64  # below, so few connections are left that a handful of idle ones would keep all others out
_HEAD_SECONDS = 10  # for the head of a request
_READ_SECONDS, _READ_BYTES_A_SECOND = 10, 50_000  # for an answer
_MAX_UNREAD = 64_000_000  # bytes of all answers that wait for their readers


def _files() -> float:
    """How many files and connections this process may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return inf if soft == resource.RLIM_INFINITY else soft


def _need_files() -> None:
    """Let this process, and its workers, have as many open files as the most connections need, as far as it may.

    Raises:
        ExternalError: these are too few.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if _files() < _MAX + _RESERVED:
        most = _MAX + _RESERVED if hard == resource.RLIM_INFINITY else min(hard, _MAX + _RESERVED)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    if _files() < _MIN_FILES:
        raise ExternalError(
            f"The service may have only {_files()} files and connections open; it needs {_MIN_FILES}.",
            f"Raise the limit, such as: ulimit -n {_MAX + _RESERVED}",
        )


class _WaitingConnections:
    """The connections whose client has to do something, in the order in which they began to wait for it.

    A client has to send a request's head or its body, or to read its answer. When there are too many connections,
    the one that has waited the longest is closed; one whose request is being answered is never closed.

    Attributes:
        max: connections at a time, all together.
        until: when each of them is closed, in the event loop's seconds.
    """

    def __init__(self) -> None:
        self.max = int(min(_MAX, _files() - _RESERVED))
        self.until: dict[_HttpConnection, float] = {}

    def close_late(self) -> None:
        """Close those whose time is over, and the oldest of those that leave too much unread."""
        for connection in list(self.until):
            connection.update()  # an answer may have been read since
        now = asyncio.get_running_loop().time()
        unread = {each: each.transport.get_write_buffer_size() for each in self.until}
        total = sum(unread.values())
        for connection, until in list(self.until.items()):
            if until <= now or (unread[connection] and total > _MAX_UNREAD):
                total -= unread[connection]
                connection.abort()


class _HttpConnection(H11Protocol):
    """uvicorn's connection, which is among ``_WaitingConnections`` while it waits for its client."""

    def __init__(self, waiting: _WaitingConnections, **options: Any) -> None:
        super().__init__(**options)
        self._waiting = waiting
        self._waits_for = ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take it; of too many, close the one that has waited the longest: this one, if all others work."""
        super().connection_made(transport)
        self.update()
        if len(self.connections) > self._waiting.max:
            next(iter(self._waiting.until)).abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._waiting.until.pop(self, None)
        super().connection_lost(exc)

    def abort(self) -> None:
        """Close at once, whatever has not been read yet."""
        self._waiting.until.pop(self, None)
        self.connections.discard(self)
        self.transport.abort()

    def handle_events(self) -> None:
        super().handle_events()
        self.update()

    def on_response_complete(self) -> None:
        self._waits_for = ""  # the next look counts from then on, even if there is still something to read
        super().on_response_complete()

    def update(self) -> None:
        """Set the time at which it is closed, if what the client has to do has changed."""
        waits_for, seconds = self._state()
        if waits_for == self._waits_for:
            return
        self._waits_for = waits_for
        self._waiting.until.pop(self, None)
        if waits_for and self in self.connections:
            self._waiting.until[self] = self.loop.time() + seconds

    def _state(self) -> tuple[str, float]:
        """What the client has to do, and how many seconds it has; an empty text for nothing."""
        answering = self.cycle is not None and not self.cycle.response_complete
        if answering and not self.flow.write_paused:
            # app sets the time of a body, and says why it ends one
            return ("body", float("inf")) if self.cycle.more_body else ("", 0)
        if unread := self.transport.get_write_buffer_size():
            return "read", _READ_SECONDS + unread / _READ_BYTES_A_SECOND
        return ("head", _HEAD_SECONDS) if self.timeout_keep_alive_task is None else ("next", KEEP_ALIVE_SECONDS)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP; a request that it is part of is given up."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
        try:
            super().send_400_response(msg)
        except h11.LocalProtocolError:  # it has been answered already, or its method allows no text in an answer
            self.transport.close()


_SAME_ERROR_SECONDS = 60.0  # between two log entries of one error of the event loop
_END_SECONDS = 15  # for requests that are under way; longer ones are cut off


class _HttpServer(uvicorn.Server):
    """uvicorn's server: reports when it is ready, and closes connections in time."""

    def __init__(self, app: ASGIApp, ready: Callable[[], object]) -> None:
        self._waiting, self._ready = _WaitingConnections(), ready
        self._last_logged: dict[str, float] = {}
        super().__init__(
            uvicorn.Config(
                app,
                http=partial(_HttpConnection, self._waiting),  # type: ignore[arg-type]
                backlog=ACCEPT_AT_ONCE,
                lifespan="off",
                ws="none",
                log_config=None,  # its lines go where all others go
                log_level="error",  # a warning for each request that is no HTTP would let anybody fill the log
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=_END_SECONDS,
            )
        )

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            super().run(sockets)
        except (KeyboardInterrupt, SystemExit):  # uvicorn raises the signal again once it has ended in good order
            if not self.should_exit:
                raise

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().set_exception_handler(self._log_error)
        await super().startup(sockets)
        for listener in sockets or []:  # asyncio takes one number for the kernel's queue and for accepting
            listener.listen(BACKLOG)
        self._ready()

    async def on_tick(self, counter: int) -> bool:
        """Close what is late, once a second; uvicorn ticks ten times."""
        if counter % 10 == 0:
            self._waiting.close_late()
        return await super().on_tick(counter)

    def _log_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Log an error of the event loop, but not the same one again and again: clients may cause some."""
        now, message = time.monotonic(), context["message"]
        if now >= self._last_logged.get(message, -_SAME_ERROR_SECONDS) + _SAME_ERROR_SECONDS:
            self._last_logged[message] = now
            loop.default_exception_handler(context)


_FIRST_CHECK_SECONDS = 2.0  # a local champion is loaded by then; a slow registry must not delay the start
_REPLACED_SECONDS = 600.0  # the same for a worker that takes another's place: the others answer meanwhile
_CHECK_SECONDS = 0.5  # between two looks whether a worker has ended
_LIFE_SECONDS = 5.0  # at least, between two starts of a worker: one that cannot live must not keep a core busy


def serve(
    settings: Settings,
    name: str | None,
    host: str,
    port: int,
    command: Sequence[str],
    ready: Callable[[str], None],
) -> None:
    """Answer over HTTP with the champion until SIGINT or SIGTERM; then answer what is under way, and return.

    Without the name of a registered model it is ``imdb-sentiment``, or the only one that there is. The host is a
    name or an address; port 0 takes a free one. ``ready`` is called with the service's address once it answers.
    If the settings ask for several workers, ``command`` calls this in each: a module or function, and arguments.

    Raises:
        UsageError: no model was named, and there are several; or the token's file holds none.
        ExternalError: the port is taken, too few files may be open, or a worker ended before it answered.
    """
    if is_worker():
        signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(0))  # until uvicorn listens to it
        if ASKED_TO_END in os.environ:
            return
        place, descriptor, answers, name, wait = json.loads(os.environ.pop(WORKER))
        if place:  # only the first logs which version answers
            logging.getLogger(__package__).setLevel(logging.WARNING)
        _answer(settings, name, host, socket.socket(fileno=descriptor), lambda: os.write(answers, b"."), wait)
        return
    settings.read_serve_token()
    _need_files()
    with open_socket(host, port, "Choose others with --host and --port; --port 0 takes a free port.") as listener:
        if name is None and settings.sqlite_file is not None:
            with suppress(ExternalError):  # the watcher checks again, and logs it
                if found := find_champion(settings, None):
                    name = found.version.name  # whatever else is registered meanwhile
        answering = partial(ready, address_of(host, listener.getsockname()[1]))
        if settings.serve_workers == 1:
            _answer(settings, name, host, listener, answering)
        else:
            _run_workers(settings.serve_workers, listener, command, name, answering)


def _answer(
    settings: Settings,
    name: str | None,
    host: str,
    listener: socket.socket,
    ready: Callable[[], object],
    first_check_seconds: float = _FIRST_CHECK_SECONDS,
) -> None:
    token, metrics = settings.read_serve_token(), Metrics()
    watcher = Watcher(settings, name, metrics)
    origins = Origins(listener, [host, *settings.serve_hosts])
    # more texts than fit into the queue would get 429 again and again
    parser = BodyParser(settings.serve_max_text, min(settings.serve_max_texts, settings.serve_queue))
    log = configured_log(settings) if name != BASE else None  # nothing is checked for drift from it
    batcher, keeper = Batcher(settings.serve_queue, metrics), Keeper(log, metrics)
    app = build(watcher, batcher, keeper, metrics, parser, settings.serve_max_body)
    open_paths = [*HEALTH, *public_paths(app), *(["/metrics"] if settings.serve_metrics_open else [])]
    if token is not None:
        describe_token(app, open_paths)
    edge = Edge(app, origins, token, open_paths, metrics, lambda: server.should_exit)
    server = _HttpServer(edge, ready)
    watcher.start()
    batcher.start()
    keeper.start()
    try:
        watcher.checked.wait(first_check_seconds)
        if watcher.refusal is not None:
            raise watcher.refusal
        metrics.show_ready(lambda: watcher.state.loaded is not None)
        server.run([listener])
    finally:
        watcher.stop()
        batcher.close()
        keeper.close()


def _run_workers(
    number: int, listener: socket.socket, command: Sequence[str], name: str | None, ready: Callable[[], object]
) -> None:
    """Keep ``number`` processes that answer on one socket, until SIGINT or SIGTERM; one that ends is replaced."""
    end = threading.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda _number, _frame: end.set())
    answering, answers = os.pipe()
    descriptors = listener.fileno(), answers
    begun = [-_LIFE_SECONDS] * number
    with tempfile.TemporaryDirectory(prefix="sentiflow-metrics-") as folder, _kept(folder):

        def start(place: int, first_check_seconds: float = _FIRST_CHECK_SECONDS) -> Child:
            own = json.dumps([place, *descriptors, name, first_check_seconds])
            variables = {WORKER: own, "PROMETHEUS_MULTIPROC_DIR": folder}
            begun[place] = time.monotonic()
            return Child(command, {**os.environ, **variables}, descriptors=descriptors)

        workers = [start(place) for place in range(number)]
        try:
            starting = number
            while starting and not end.is_set():
                if ended := [worker for worker in workers if worker.poll() is not None]:
                    raise ExternalError(
                        f"A worker ended with exit code {ended[0].returncode} before it answered.",
                        "Try one alone, which says more: sentiflow serve --workers 1",
                    )
                if select.select([answering], [], [], _CHECK_SECONDS)[0]:
                    starting -= len(os.read(answering, starting))
            if not starting:
                ready()
            while not end.wait(_CHECK_SECONDS):
                if select.select([answering], [], [], 0)[0]:  # of those that took another's place
                    os.read(answering, 1_024)
                for place, worker in enumerate(workers):
                    if worker.poll() is not None and time.monotonic() - begun[place] >= _LIFE_SECONDS:
                        logger.warning(
                            "A worker ended (exit code %d); another takes its place.", worker.returncode
                        )
                        mark_process_dead(worker.pid, folder)  # type: ignore[no-untyped-call]
                        alone = all(other.poll() is not None for other in workers)
                        try:
                            workers[place] = start(place, _FIRST_CHECK_SECONDS if alone else _REPLACED_SECONDS)
                        except OSError as err:  # no memory or process left for it now
                            logger.warning("None can be started yet: %s", err)
        finally:
            _stop(workers)


@contextmanager
def _kept(folder: str) -> Iterator[None]:
    """Lock a folder below /tmp: systemd-tmpfiles removes what is ten days old, but nothing that is locked."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


def _stop(workers: Sequence[Child]) -> None:
    """Let them answer what is under way; then end those that are left."""
    until = time.monotonic() + _END_SECONDS + 1
    for worker in workers:
        worker.ask_to_end()
    while time.monotonic() < until and any(worker.poll() is None for worker in workers):
        time.sleep(0.02)
    for worker in workers:
        worker.stop(at_once=True)
