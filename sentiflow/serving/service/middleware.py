"""Middleware: allowed hosts and origins, limits of request bodies, metrics and refusals of every request."""

import asyncio
import ipaddress
import logging
import socket
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sentiflow.serving.service.metrics import Metrics
from sentiflow.serving.service.schemas import CLOSE, SMALL, SOON, Refusal

_ELSEWHERE = (b"cross-site", b"same-site")


class Origins:
    """Refuses requests that a page of another site, or a browser under an unknown name, has sent."""

    def __init__(self, listener: socket.socket, names: Iterable[str]) -> None:
        """Allow this machine's own names, and some besides.

        A socket that listens on every address (``--host 0.0.0.0``) may be asked by any address (only a name can be
        made to lead here) and by the machine's name.

        Args:
            listener: that the service answers on.
            names: and addresses besides, without ports.
        """
        address = listener.getsockname()[0]
        self._every_address = ipaddress.ip_address(address).is_unspecified
        own = socket.gethostname() if self._every_address else address
        self._names = {"localhost", "127.0.0.1", "::1", own.lower(), *(name.strip("[]").lower() for name in names)}

    def check(self, method: str, headers: Mapping[bytes, bytes]) -> None:
        """Let a request pass, or not.

        Raises:
            Refusal: 421, the service does not have this name; 403, another site's page asks.
        """
        host = headers.get(b"host")  # HTTP/1.0 may leave it out; browsers do not
        if host is not None and not self._is_here(_name(host.decode("latin-1"))):
            raise Refusal(421, "The service is not known by this host name; see SENTIFLOW_SERVE_HOSTS.")
        origin = headers.get(b"origin", b"").lower()
        if origin and (host is None or origin not in (b"http://" + host.lower(), b"https://" + host.lower())):
            raise _foreign()
        if headers.get(b"sec-fetch-site") in _ELSEWHERE and not _is_link(method, headers):
            raise _foreign()

    def _is_here(self, name: str) -> bool:
        return name in self._names or (self._every_address and _is_address(name))


def _foreign() -> Refusal:
    return Refusal(403, "Pages of other sites may not use this service.")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _name(host: str) -> str:
    """The host of a Host header, without port and brackets; empty for anything malformed."""
    name, colon, port = host.lower().rpartition(":")
    if not colon or "]" in port:
        name, port = host.lower(), "0"
    if not port.isdecimal():
        return ""
    if name.startswith("[") and name.endswith("]"):
        return name[1:-1]
    return "" if ":" in name else name


def _is_link(method: str, headers: Mapping[bytes, bytes]) -> bool:
    """Whether a person follows a link to a page here: it replaces the other site's page, which learns nothing."""
    shown = headers.get(b"sec-fetch-mode"), headers.get(b"sec-fetch-dest")
    return method == "GET" and shown == (b"navigate", b"document")


_TOGETHER = 8  # bodies of full size that may be in memory at a time
# Who sends too much is listened to for a while: most clients read an answer only once they have sent everything.
_DRAIN_SECONDS, _SILENT_SECONDS = 10.0, 0.3


class _Gone(Exception):  # noqa: N818 - no error: the client went away
    """Nobody waits for an answer any more."""


@dataclass(eq=False)
class _Upload:
    """A body as far as it has arrived.

    Attributes:
        room: bytes of the shared memory that it takes.
        timer: ends the wait for more.
        dropped: its memory was needed for a faster one.
    """

    body: bytearray = field(default_factory=bytearray)
    room: int = 0
    timer: asyncio.Timeout | None = None
    began: float = field(default_factory=time.monotonic)
    dropped: bool = False

    @property
    def pace(self) -> float:
        """Bytes a second."""
        return len(self.body) / max(time.monotonic() - self.began, 1e-6)


class Uploads:
    """ASGI middleware that reads a body whole before the application sees the request.

    More than ``most`` bytes: 413. Less than 64,000 bytes, and not the end, within ``seconds``: 408. Larger bodies
    share a bounded room; when it is full, the slowest of those that still arrive gets 429. Smaller ones need none:
    what bounds these is the number of connections.
    """

    def __init__(self, app: ASGIApp, most: int, seconds: float) -> None:
        self._app, self._most, self._seconds = app, most, seconds
        self._room = _TOGETHER * most
        self._arriving: set[_Upload] = set()  # that have some of the room

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read, then hand on."""
        upload = _Upload()
        try:
            await self._read(scope, receive, upload)
            body = bytes(upload.body)
            upload.body.clear()
            await self._app(scope, _replay(body, receive), send)
        except Refusal as refusal:
            await refusal.send(scope, receive, send)
        except _Gone:
            return
        finally:
            self._free(upload)

    async def _read(self, scope: Scope, receive: Receive, upload: _Upload) -> None:
        headers = dict(scope["headers"])
        declared = headers.get(b"content-length", b"0")
        if declared.isdigit() and int(declared[:20]) > self._most:
            if b"expect" not in headers:
                await _drain(receive)
            raise self._too_large()
        try:
            async with asyncio.timeout(self._seconds) as timer:
                upload.timer = timer
                while await self._read_on(receive, upload):
                    pass
        except TimeoutError as err:
            if not upload.dropped:
                told = f"The body is too slow: {SMALL} bytes of it took longer than {self._seconds:g} s."
                raise Refusal(408, told, CLOSE) from err
        finally:
            self._arriving.discard(upload)
        if upload.dropped:
            await _drain(receive)
            raise Refusal(429, "Too many large requests at once; come back in a second.", {**SOON, **CLOSE})
        if len(upload.body) > self._most:
            self._free(upload)
            await _drain(receive)
            raise self._too_large()

    async def _read_on(self, receive: Receive, upload: _Upload) -> bool:
        """Whether there is more to read."""
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        steps = len(upload.body) // SMALL
        upload.body += message.get("body", b"")
        if len(upload.body) > self._most:
            return False
        if len(upload.body) > SMALL:
            self._take_room(upload)
        if upload.timer is not None and len(upload.body) // SMALL > steps:
            upload.timer.reschedule(asyncio.get_running_loop().time() + self._seconds)
        return bool(message.get("more_body")) and not upload.dropped

    def _take_room(self, upload: _Upload) -> None:
        """Make room for what has arrived, if need be by dropping the slowest, which may be this one."""
        self._arriving.add(upload)
        while not upload.dropped and self._room < len(upload.body) - upload.room:
            slowest = min(self._arriving, key=lambda each: each.pace)
            slowest.dropped = True
            self._free(slowest)
            if slowest is not upload and slowest.timer is not None and not slowest.timer.expired():
                slowest.timer.reschedule(0)
        if not upload.dropped:
            self._room -= len(upload.body) - upload.room
            upload.room = len(upload.body)

    def _free(self, upload: _Upload) -> None:
        self._arriving.discard(upload)
        self._room += upload.room
        upload.room = 0
        upload.body.clear()

    def _too_large(self) -> Refusal:
        return Refusal(413, f"Expected at most {self._most} bytes; send fewer texts at a time.", CLOSE)


async def _drain(receive: Receive) -> None:
    """Throw away what still comes, until it pauses, ends, or has taken too long."""
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            while True:
                message = await asyncio.wait_for(receive(), _SILENT_SECONDS)
                if message["type"] == "http.disconnect":
                    raise _Gone
                if not message.get("more_body"):
                    return
    except TimeoutError:
        return


def _replay(body: bytes, receive: Receive) -> Receive:
    """The body in one message; then whatever the server has to say."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again


logger = logging.getLogger(__name__)

OTHER = "other"  # the one label of all paths that do not exist
GONE = 499  # counted for those who went away before they got an answer

_POLICY = b"content-security-policy"
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
]
_NOTHING = (_POLICY, b"default-src 'none'; frame-ancestors 'none'")


class Edge:
    """ASGI middleware around everything.

    A HEAD is answered as its GET, whose body the server leaves out. OPTIONS names the methods, and allows no other
    site anything.
    """

    def __init__(
        self,
        app: ASGIApp,
        methods: Mapping[str, Collection[str]],
        origins: Origins,
        metrics: Metrics,
        ending: Callable[[], bool],
    ) -> None:
        self._app, self._origins, self._metrics, self._ending = app, origins, metrics, ending
        self._methods = {path: _allowed(given) for path, given in methods.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, and count."""
        began, status = time.perf_counter(), GONE
        path = scope["path"] if scope["path"] in self._methods else OTHER

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = _completed(message.get("headers", []))
                if self._ending():  # nobody should ask again on a connection that is about to go
                    message["headers"].append((b"connection", b"close"))
            await send(message)

        try:
            await self._answer(path, scope, receive, note)
        except Refusal as refusal:
            await refusal.send(scope, receive, note)
        except asyncio.CancelledError:
            if status == GONE:  # the service ends, and has waited long enough
                await Refusal(503, "The service is ending; ask again.", SOON).send(scope, receive, note)
        except Exception:
            if status != GONE:
                raise  # the server closes the connection: what was sent may be half an answer
            logger.exception("A request to %s failed", path)
            await Refusal(500, "The service failed; its log says how.").send(scope, receive, note)
        finally:
            self._metrics.answered(path, status, time.perf_counter() - began)

    async def _answer(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        headers, method = dict(scope["headers"]), scope["method"]
        if b"transfer-encoding" in headers and b"content-length" in headers:  # RFC 9112, 6.1: perhaps two requests
            raise Refusal(400, "Expected Content-Length or Transfer-Encoding, got both.", CLOSE)
        self._origins.check(method, headers)
        allowed = self._methods.get(path)
        if allowed is None:
            raise Refusal(404, "There is no such path; /docs lists those that there are.")
        if method == "OPTIONS":
            await Response(status_code=204, headers={"Allow": ", ".join(allowed)})(scope, receive, send)
        elif method not in allowed:
            names = ", ".join(allowed)
            raise Refusal(405, f"This path takes {names}.", {"Allow": names})
        else:
            await self._app({**scope, "method": "GET"} if method == "HEAD" else scope, receive, send)


def _allowed(methods: Collection[str]) -> list[str]:
    head = ["HEAD"] if "GET" in methods else []
    return sorted({*methods, *head, "OPTIONS"})


def _completed(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """With what is missing; a page brings a policy of its own."""
    policy = [] if any(name == _POLICY for name, _ in headers) else [_NOTHING]
    return [*headers, *_HEADERS, *policy]
