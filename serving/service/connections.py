"""Connections: how many there may be, and how long a client may keep one waiting.

uvicorn bounds neither; docs/decisions/0010-service-connections.md says which servers do what.
"""

import asyncio
import resource
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

KEEP_ALIVE_SECONDS = 30  # between an answer and the next request
# The event loop accepts at most so many connections at a time, so that the cap holds before the next ones come.
ACCEPT_AT_ONCE = 8
_MAX = 1_000
_RESERVED = 64  # descriptors for files and for connections that are being accepted or closed
_HEAD_SECONDS = 10  # for the head of a request
_READ_SECONDS, _READ_BYTES_A_SECOND = 10, 50_000  # for an answer
_MAX_UNREAD = 64_000_000  # bytes of all answers that wait for their readers


class Connections:
    """Those connections whose client has to do something, in the order in which they began to wait for it.

    A client has to send a request's head or its body, or to read its answer. When there are too many connections,
    the one that has waited the longest is closed; one whose request is being answered is never closed.

    Attributes:
        most: connections at a time, all together.
        waiting: when each of them is closed, in the event loop's seconds.
    """

    def __init__(self) -> None:
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        limited = files != resource.RLIM_INFINITY
        self.most = min(_MAX, max(files - _RESERVED, files // 2)) if limited else _MAX
        self.waiting: dict[Connection, float] = {}

    def close_late(self) -> None:
        """Close those whose time is over, and the oldest of those that let too much wait to be read."""
        for connection in list(self.waiting):
            connection.note()  # an answer may have been read since
        now = asyncio.get_running_loop().time()
        unread = {each: each.transport.get_write_buffer_size() for each in self.waiting}
        total = sum(unread.values())
        for connection, until in list(self.waiting.items()):
            if until <= now or (unread[connection] and total > _MAX_UNREAD):
                total -= unread[connection]
                connection.abort()


class Connection(H11Protocol):
    """uvicorn's connection, which tells ``Connections`` when it waits for its client."""

    def __init__(self, others: Connections, **options: Any) -> None:
        super().__init__(**options)
        self._others = others
        self._waits_for = ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take it; of too many, close the one that has waited the longest: this one, if all others work."""
        super().connection_made(transport)
        self.note()
        if len(self.connections) > self._others.most:
            next(iter(self._others.waiting)).abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._others.waiting.pop(self, None)
        super().connection_lost(exc)

    def abort(self) -> None:
        """Close at once, whatever has not been read yet."""
        self._others.waiting.pop(self, None)
        self.connections.discard(self)
        self.transport.abort()

    def handle_events(self) -> None:
        """Take what has arrived."""
        super().handle_events()
        self.note()

    def on_response_complete(self) -> None:
        """An answer is on its way."""
        self._waits_for = ""
        super().on_response_complete()
        self.note()

    def note(self) -> None:
        """Note what the client has to do, and until when, if that has changed."""
        waits_for, seconds = self._state()
        if waits_for == self._waits_for:
            return
        self._waits_for = waits_for
        self._others.waiting.pop(self, None)
        if waits_for and self in self.connections:
            self._others.waiting[self] = self.loop.time() + seconds

    def _state(self) -> tuple[str, float]:
        """What the client has to do, and how many seconds it has; an empty text for nothing."""
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            if cycle.more_body:
                return "body", float("inf")  # Uploads asks for a pace, and tells why it ends one
            if not self.flow.write_paused:
                return "", 0
        if unread := self.transport.get_write_buffer_size():
            return "read", _READ_SECONDS + unread / _READ_BYTES_A_SECOND
        if self.timeout_keep_alive_task is None:
            return "head", _HEAD_SECONDS
        return "next", KEEP_ALIVE_SECONDS

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP; a request that it is part of is given up."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:  # it has been answered already
            self.transport.close()
