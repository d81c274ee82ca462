"""Bodies on their way in: bounded in bytes, in time, and all together in memory."""

import asyncio
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.service.refusals import CLOSE, SOON, Refusal

_TOGETHER = 8  # bodies of full size that may be in memory at a time
# Who sends too much is listened to for a while: most clients read an answer only once they have sent everything.
_DRAIN_SECONDS, _SILENT_SECONDS = 10.0, 0.3


class _Gone(Exception):  # noqa: N818 - no error: the client went away
    """Nobody waits for an answer any more."""


@dataclass
class _Held:
    """Bytes that a request keeps in memory."""

    chunks: list[bytes] = field(default_factory=list)
    size: int = 0


class Uploads:
    """ASGI middleware that reads a body whole before anybody else sees the request.

    Too large 413, too slow 408, too many at once 429. A slow client holds up nobody: its bytes are awaited.
    """

    def __init__(self, app: ASGIApp, most: int, seconds: float) -> None:
        self._app, self._most, self._seconds = app, most, seconds
        self._room = _TOGETHER * most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read, then hand on."""
        held = _Held()
        try:
            await self._read(scope, receive, held)
            await self._app(scope, _replay(b"".join(held.chunks), receive), send)
        except Refusal as refusal:
            await refusal.send(scope, receive, send)
        except _Gone:
            return
        finally:
            self._room += held.size

    async def _read(self, scope: Scope, receive: Receive, held: _Held) -> None:
        headers = dict(scope["headers"])
        declared = headers.get(b"content-length", b"0")
        if declared.isdigit() and int(declared[:20]) > self._most:
            if b"expect" not in headers:
                await _drain(receive)
            raise self._too_large()
        try:
            async with asyncio.timeout(self._seconds):
                while await self._read_on(receive, held):
                    pass
        except TimeoutError as err:
            raise Refusal(408, f"The body did not arrive within {self._seconds:g} s.", CLOSE) from err
        if held.size > self._most:
            await _drain(receive)
            raise self._too_large()

    async def _read_on(self, receive: Receive, held: _Held) -> bool:
        """Whether there is more to read."""
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        chunk = message.get("body", b"")
        if len(chunk) > self._room:
            raise Refusal(429, "Too many large requests at once; come back in a second.", {**SOON, **CLOSE})
        self._room -= len(chunk)
        held.size += len(chunk)
        held.chunks.append(chunk)
        return bool(message.get("more_body")) and held.size <= self._most

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
