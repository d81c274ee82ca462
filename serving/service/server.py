"""The process around the service: its socket, its threads, its end."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from types import FrameType
from typing import Any

import uvicorn

from sentiment.errors import WorldError
from sentiment.text_log import TextLog
from serving.service.app import Parts, build
from serving.service.batching import Batcher
from serving.service.bodies import Limits
from serving.service.champion import Source
from serving.service.connections import ACCEPT_AT_ONCE, KEEP_ALIVE_SECONDS, Connection, Connections
from serving.service.metrics import Metrics
from serving.service.origins import Origins
from serving.service.texts import Keeper
from serving.service.watcher import Watcher

_BACKLOG = 1_024  # connections that wait in the kernel
_FIRST_LOOK_SECONDS = 2.0  # a local champion is loaded by then; a slow registry must not hold the start up
_SAME_ERROR_SECONDS = 60.0  # between two log entries of one error of the event loop
_END_SECONDS = 15  # for requests that are under way; longer ones are cut off


class _Server(uvicorn.Server):
    """Tells when it is ready, and closes connections in time."""

    def __init__(
        self,
        config: uvicorn.Config,
        connections: Connections,
        ready: Callable[[], None],
        ending: threading.Event,
    ) -> None:
        super().__init__(config)
        self._connections, self._ready, self._ending = connections, ready, ending
        self._last_logged: dict[str, float] = {}

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Note that the end has begun."""
        self._ending.set()
        super().handle_exit(sig, frame)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then tell."""
        asyncio.get_running_loop().set_exception_handler(self._log_error)
        await super().startup(sockets)
        for listener in sockets or []:  # asyncio takes one number for the kernel's queue and for accepting
            listener.listen(_BACKLOG)
        self._ready()

    async def on_tick(self, counter: int) -> bool:
        """Close what is late, once a second; uvicorn ticks ten times."""
        if counter % 10 == 0:
            self._connections.close_late()
        return await super().on_tick(counter)

    def _log_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Log an error of the event loop, but not the same one again and again: clients may cause some."""
        now, message = time.monotonic(), context["message"]
        if now >= self._last_logged.get(message, -_SAME_ERROR_SECONDS) + _SAME_ERROR_SECONDS:
            self._last_logged[message] = now
            loop.default_exception_handler(context)


def open_socket(host: str, port: int) -> socket.socket:
    """Listen at once, so that nobody else can; connections wait until the service runs.

    Raises:
        WorldError: the port is taken, or the address is not one of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(_BACKLOG)
        except OSError:
            listener.close()
            raise
    except (socket.gaierror, UnicodeError) as err:  # a name with a part that is empty or too long is no Unicode
        raise WorldError(f"There is no host {host!r} here.", "For example: --host 127.0.0.1") from err
    except OSError as err:
        raise WorldError(
            f"Cannot listen on port {port} of {host}: {err.strerror}.",
            "Choose another: sentiflow serve --port 0 takes a free one.",
        ) from err
    return listener


def address_of(host: str, listener: socket.socket) -> str:
    """Where it listens, as an address to open.

    Example:
        >>> address_of("::1", socket.create_server(("::1", 8000), family=socket.AF_INET6))
        'http://[::1]:8000'
    """
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{listener.getsockname()[1]}"


def run(
    source: Source,
    poll: float,
    limits: Limits,
    origins: Origins,
    listener: socket.socket,
    ready: Callable[[], None],
    log: TextLog | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM; then answer what is under way, and return.

    Args:
        source: the way to the registry.
        poll: seconds between two looks at it.
        limits: of requests.
        origins: who may ask.
        listener: open already.
        ready: called once requests are answered.
        log: takes the texts that are answered; None to keep none.
    """
    metrics = Metrics()
    ending = threading.Event()
    watcher, batcher, keeper = Watcher(source, poll, metrics), Batcher(limits.queue, metrics), Keeper(log, metrics)
    watcher.start()
    batcher.start()
    keeper.start()
    try:
        app = build(Parts(watcher, batcher, metrics, keeper, limits, origins, ending.is_set), version("sentiflow"))
        connections = Connections()
        server = _Server(_config(app, connections), connections, ready, ending)
        watcher.looked.wait(_FIRST_LOOK_SECONDS)
        _serve(server, listener)
    finally:
        watcher.stop()
        batcher.close()
        keeper.close()


def _serve(server: uvicorn.Server, listener: socket.socket) -> None:
    try:
        server.run([listener])
    except (KeyboardInterrupt, SystemExit):
        if not server.should_exit:
            raise
        # It was told to end and has ended in good order; only then does uvicorn hand the signal on.


def _config(app: object, connections: Connections) -> uvicorn.Config:
    return uvicorn.Config(
        app,  # type: ignore[arg-type]
        http=partial(Connection, connections),  # type: ignore[arg-type]
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
