"""Connections, by real sockets in one event loop: how long each may wait for its client, how many there may be.

And how the service and its workers start and end.
"""

import asyncio
import fcntl
import json
import logging
import math
import os
import resource
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from uvicorn.server import ServerState

from sentiflow.serving import server
from sentiflow.serving.server import _HttpConnection, _HttpServer, _WaitingConnections
from sentiflow.settings import Settings
from tests.sentiflow.serving import service
from tests.world import Trained, World

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\n"


class Served:
    """An application that reads a body, and answers with some bytes once it may; and its connections."""

    def __init__(self, size: int = 4) -> None:
        self.may_answer = asyncio.Event()

        async def app(_scope: Any, receive: Any, send: Any) -> None:
            while (await receive()).get("more_body"):
                pass
            await self.may_answer.wait()
            await service.answer(send, bytes(size))

        self.server = _HttpServer(app, lambda: None)
        self.server.config.load()
        self.waiting, self.state = self.server._waiting, ServerState()
        self.clients: list[socket.socket] = []  # one that nobody holds is closed

    async def connect(self) -> tuple[_HttpConnection, socket.socket]:
        """A connection, and its client's end."""
        ours, theirs = socket.socketpair()
        theirs.settimeout(10)
        self.clients.append(theirs)
        make = self.server.config.http_protocol_class
        _, made = await asyncio.get_running_loop().connect_accepted_socket(
            lambda: make(config=self.server.config, server_state=self.state, app_state={}),
            ours,
        )
        assert isinstance(made, _HttpConnection)
        return made, theirs

    def left(self, connection: _HttpConnection) -> float | None:
        """Seconds until it is closed; None for one that is not."""
        until = self.waiting.until.get(connection)
        return None if until is None else until - asyncio.get_running_loop().time()


async def comes(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.001)


def about(seconds: float) -> Any:
    return pytest.approx(seconds, abs=1)


def test_each_thing_that_a_client_has_to_do_has_a_time_of_its_own() -> None:
    async def steps() -> None:
        served = Served()
        connection, client = await served.connect()
        assert served.left(connection) == about(10)
        client.sendall(POST)
        await comes(lambda: served.left(connection) == math.inf)  # whoever reads the body asks for a pace
        client.sendall(b"body")
        await comes(lambda: served.left(connection) is None)  # it is being answered
        served.may_answer.set()
        await comes(lambda: served.left(connection) is not None)
        assert served.left(connection) == about(30)
        client.sendall(GET[:10])
        await comes(lambda: served.left(connection) == about(10))
        client.sendall(GET[10:])
        await comes(lambda: served.left(connection) == about(30))
        client.close()
        await comes(lambda: not served.waiting.until)
        assert not served.state.connections

    asyncio.run(steps())


def test_an_answer_may_be_read_at_50_kb_a_second() -> None:
    async def steps() -> None:
        served = Served(size=5_000_000)
        served.may_answer.set()
        connection, client = await served.connect()
        client.sendall(GET)
        await comes(lambda: served.left(connection) not in (None, about(10)))
        unread = connection.transport.get_write_buffer_size()
        assert unread > 4_000_000
        assert served.left(connection) == about(10 + unread / 50_000)

        assert len(await asyncio.to_thread(client.makefile("rb").read, 5_000_000)) == 5_000_000
        served.waiting.close_late()
        assert served.left(connection) == about(30)

    asyncio.run(steps())


def test_of_one_connection_too_many_the_oldest_that_waits_is_closed_or_itself_if_all_are_answered() -> None:
    async def steps() -> None:
        served = Served()
        served.waiting.max = 2
        answered, client = await served.connect()
        client.sendall(GET)
        await comes(lambda: served.left(answered) is None)
        oldest, closed = await served.connect()
        newer, _ = await served.connect()
        assert await asyncio.to_thread(closed.recv, 1) == b""
        assert served.state.connections == {answered, newer} and set(served.waiting.until) == {newer}
        newer.abort()
        assert served.state.connections == {answered}  # before the event loop has closed it
        served.waiting.max = 1
        _, refused = await served.connect()
        assert await asyncio.to_thread(refused.recv, 1) == b""
        assert served.state.connections == {answered} and oldest not in served.waiting.until
        served.may_answer.set()
        assert (await asyncio.to_thread(client.recv, 1_000)).startswith(b"HTTP/1.1 200")

    asyncio.run(steps())


def test_who_is_late_is_closed_and_of_too_much_unread_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    async def steps() -> None:
        served = Served(size=1_000_000)
        served.may_answer.set()
        idle, _ = await served.connect()
        late, _ = await served.connect()
        unread = []
        for _ in range(2):
            connection, client = await served.connect()
            client.sendall(GET)
            await comes(lambda each=connection: each._waits_for == "read")
            unread.append((connection, client))
        sizes = [connection.transport.get_write_buffer_size() for connection, _ in unread]
        monkeypatch.setattr(server, "_MAX_UNREAD", sum(sizes))
        served.waiting.until[late] = asyncio.get_running_loop().time()
        served.waiting.close_late()
        older, newer = (connection for connection, _ in unread)
        assert set(served.waiting.until) == {idle, older, newer}
        monkeypatch.setattr(server, "_MAX_UNREAD", sum(sizes) - 1)
        served.waiting.close_late()
        assert set(served.waiting.until) == {idle, newer}

    asyncio.run(steps())


@pytest.mark.parametrize(
    ("sent", "answers"),
    [
        (b"\x00\r\n\r\n", [b"HTTP/1.1 400"]),
        (POST.replace(b"Content-Length: 4", b"Transfer-Encoding: chunked") + b"zz\r\n", [b"HTTP/1.1 400"]),
    ],
    ids=["no request", "a request with a body that is none"],
)
def test_what_is_no_http_is_refused_and_its_request_is_not_answered_besides(
    sent: bytes, answers: list[bytes]
) -> None:
    async def steps() -> bytes:
        served = Served()
        _, client = await served.connect()
        client.sendall(sent)
        await comes(lambda: not served.state.connections)
        served.may_answer.set()
        await comes(lambda: not served.state.tasks)
        return await asyncio.to_thread(client.makefile("rb").read)

    received = asyncio.run(steps())
    assert [part[:12] for part in received.split(b"\r\n") if part.startswith(b"HTTP/")] == answers


@pytest.mark.parametrize(
    ("files", "connections"),
    [(resource.RLIM_INFINITY, 1_000), (1_048, 1_000), (1_047, 999), (200, 152), (64, 16)],
)
def test_48_descriptors_are_kept_for_files_and_connections_that_come_and_go(
    files: int, connections: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files, resource.RLIM_INFINITY))
    assert _WaitingConnections().max == connections


def test_connections_are_looked_at_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    async def ticks() -> list[int]:
        served, closed = Served(), list[int]()
        for counter in range(21):  # uvicorn's, ten a second
            monkeypatch.setattr(served.waiting, "close_late", lambda at=counter: closed.append(at))
            assert not await served.server.on_tick(counter)
        return closed

    assert asyncio.run(ticks()) == [0, 10, 20]


def test_an_error_of_the_event_loop_is_logged_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now, logged = 0.0, list[tuple[float, str]]()

    async def nothing(*_: Any) -> None:
        return

    loop = SimpleNamespace(default_exception_handler=lambda context: logged.append((now, context["message"])))
    monkeypatch.setattr(server, "time", SimpleNamespace(monotonic=lambda: now))
    made = _HttpServer(nothing, lambda: None)
    for now, message in [(1e3, "a"), (1e3, "b"), (1_059, "a"), (1_060, "a"), (1_061, "a"), (1_120, "b")]:  # noqa: B007
        made._log_error(loop, {"message": message})
    assert logged == [(1_000, "a"), (1_000, "b"), (1_060, "a"), (1_120, "b")]


@pytest.mark.parametrize(("place", "level"), [(0, logging.INFO), (1, logging.WARNING), (2, logging.WARNING)])
def test_of_the_workers_the_first_alone_logs_which_version_answers(
    place: int, level: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = logging.getLogger("sentiflow.serving")
    monkeypatch.setattr(package, "level", logging.INFO)
    descriptor = socket.socket().detach()
    monkeypatch.setenv(server.WORKER, json.dumps([place, descriptor, 1, "a-model", 2.0]))
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    answers: list[Any] = []
    monkeypatch.setattr(server, "_answer", lambda *given: answers.append(given))
    server.serve(Settings(), None, "127.0.0.1", 0, [], print)
    [(_, name, host, listener, _, seconds)] = answers
    with closing(listener):
        assert (name, host, listener.fileno(), seconds) == ("a-model", "127.0.0.1", descriptor, 2.0)
    assert package.level == level


def test_workers_are_told_which_model_it_is_whatever_is_registered_before_another_takes_ones_place(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, client = service.copied(trained, tmp_path / "world")
    service.promote(client, 1)
    names: list[str | None] = []
    monkeypatch.setattr(server, "_run_workers", lambda _number, _listener, _command, name, _: names.append(name))
    settings = world.settings.model_copy(update={"serve_workers": 2})
    server.serve(settings, None, "127.0.0.1", 0, [], print)
    assert names == [service.MODEL]


def test_no_thread_is_left_that_would_work_on_while_the_process_ends(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_HttpServer, "run", lambda *_: None)
    settings = world.settings.model_copy(update={"prediction_log_dir": world.root / "texts"})
    before = set(threading.enumerate())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server._answer(settings, "a-model", "127.0.0.1", listener, lambda: None)
    assert set(threading.enumerate()) <= before


def test_the_folder_of_the_workers_figures_is_locked_while_they_answer(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    with server._kept(str(tmp_path)), pytest.raises(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(descriptor)


def test_workers_that_end_are_looked_at_50_times_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    done: list[str] = []
    states = iter([None, None, 0])
    worker = SimpleNamespace(
        ask_to_end=lambda: done.append("asked"),
        poll=lambda: next(states),
        stop=lambda **how: done.append(f"stopped {how}"),
    )
    monkeypatch.setattr(server, "time", SimpleNamespace(monotonic=lambda: 0.0, sleep=slept.append))
    server._stop([worker])
    assert (slept, done) == ([0.02, 0.02], ["asked", "stopped {'at_once': True}"])
