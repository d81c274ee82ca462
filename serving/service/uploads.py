"""Bodies on their way in: bounded in bytes, in pace, and all together in memory."""

import asyncio
import time
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.service.bodies import SMALL
from serving.service.refusals import CLOSE, SOON, Refusal

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
