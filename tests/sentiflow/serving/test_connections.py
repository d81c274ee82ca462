"""Connections that nobody uses, and clients that are too slow, against a service with few descriptors."""

import asyncio
import json
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sentiflow.process import open_socket
from sentiflow.serving import server
from tests.sentiflow.serving import service
from tests.sentiflow.serving.service import Running, exchange, figure, until
from tests.world import ROOT, Trained

HALF_A_HEAD = b"GET /healthz HTTP/1.1\r\nHost: loc"
STALLED_UPLOAD = b'POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"text"'
UNREAD = b"GET /docs/swagger-ui.css HTTP/1.1\r\nHost: localhost\r\n\r\n" * 150


@pytest.fixture(scope="module")
def small(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service with as few descriptors as it starts with."""
    world, client = service.copied(trained, tmp_path_factory.mktemp("small"))
    service.promote(client, 1)
    with service.running(world, descriptors=64) as running:
        yield running


def connect(running: Running, sent: bytes = b"") -> socket.socket:
    """A connection with a small buffer for what it does not read."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    made.settimeout(10)
    made.connect(running.host_and_port)
    made.sendall(sent)
    return made


def flood(running: Running, sent: bytes) -> ExitStack:
    """More connections than the service has descriptors; to be closed by the caller."""
    opened = ExitStack()
    for _ in range(200):
        opened.enter_context(connect(running, sent))
    return opened


@pytest.mark.parametrize(
    "sent", [b"", HALF_A_HEAD, STALLED_UPLOAD, UNREAD], ids=["idle", "head", "body", "unread"]
)
def test_more_connections_than_descriptors_keep_nobody_out_and_leave_the_log_empty(
    small: Running, sent: bytes
) -> None:
    with flood(small, sent):
        for _ in range(5):
            with small.client() as http:
                assert http.post("/predict", json={"text": "a good film"}).status_code == 200
    assert [line for line in small.lines if "answers" not in line] == []


@pytest.mark.story
def test_requests_that_are_being_answered_outlast_a_flood(small: Running) -> None:
    body = json.dumps({"texts": ["a good film " * 8_000] * 16}).encode()

    def ask(_i: int) -> int:
        with small.client() as http:
            return http.post("/predict", content=body).status_code

    def arrived() -> float:
        return figure(http, "sentiflow_texts_scored_total") + figure(http, "sentiflow_queue_texts")

    with ThreadPoolExecutor(12) as pool, small.client() as http:
        for _ in range(4):
            before = arrived()
            answers = pool.map(ask, range(12))
            until(
                lambda before=before: arrived() == before + 12 * 16, 60
            )  # one that is not yet read may be closed
            with flood(small, b""):
                assert set(answers) == {200}


REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


@contextmanager
def serving(app: Any) -> Iterator[tuple[server._HttpServer, Callable[[], socket.socket]]]:
    """An application's server, in a thread, and what connects to it; all connections are closed at the end."""
    ready = threading.Event()
    running = server._HttpServer(app, ready.set)
    with open_socket("127.0.0.1", 0, "") as listener, ExitStack() as opened:
        thread = threading.Thread(target=running.run, args=([listener],))
        thread.start()
        opened.callback(thread.join)
        opened.callback(setattr, running, "should_exit", True)
        assert ready.wait(10)
        yield running, lambda: opened.enter_context(socket.create_connection(listener.getsockname(), 10))


def test_of_one_connection_too_many_the_oldest_that_waits_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three may be open; the first is being answered, so the second gives way to the fourth."""
    monkeypatch.setattr(server, "_MAX", 3)
    begun, go_on = threading.Event(), threading.Event()

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        begun.set()
        await asyncio.to_thread(go_on.wait, 10)
        await service.answer(send, b"done")

    with serving(app) as (_, connect_to_it), ExitStack() as left:
        left.callback(go_on.set)
        first = connect_to_it()
        first.sendall(REQUEST)
        assert begun.wait(10)
        second, third, fourth = connect_to_it(), connect_to_it(), connect_to_it()
        assert second.recv(1) == b""
        go_on.set()
        for each in (third, fourth):
            each.sendall(REQUEST)
        assert [each.recv(1_000)[:12] for each in (first, third, fourth)] == [b"HTTP/1.1 200"] * 3


def test_connections_that_come_while_the_event_loop_works_are_queued_by_the_kernel() -> None:
    begun, go_on = threading.Event(), threading.Event()

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        begun.set()
        go_on.wait(30)  # the event loop waits, too
        await service.answer(send, b"")

    with serving(app) as (_, connect_to_it), ExitStack() as left:
        left.callback(go_on.set)
        first = connect_to_it()
        first.sendall(REQUEST)
        assert begun.wait(10)
        waiting = [connect_to_it() for _ in range(50)]  # within 10 s each
        go_on.set()
        waiting[-1].sendall(REQUEST)
        assert waiting[-1].recv(1_000)[:12] == b"HTTP/1.1 200"


def test_who_reads_no_answer_is_let_go_sooner_than_who_asks_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_READ_SECONDS", 0.1)
    monkeypatch.setattr(server, "_READ_BYTES_A_SECOND", 100_000_000)
    sizes = iter([0, 50_000_000, 0])

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await service.answer(send, bytes(next(sizes)))

    with serving(app) as (running, connect_to_it):
        idle, unread = connect_to_it(), connect_to_it()
        idle.sendall(REQUEST)
        assert idle.recv(1_000)[:12] == b"HTTP/1.1 200"
        unread.sendall(REQUEST)
        until(lambda: len(running.server_state.connections) == 1)
        idle.sendall(REQUEST)
        assert idle.recv(1_000)[:12] == b"HTTP/1.1 200"


def test_a_lack_of_descriptors_is_logged_once_and_passes(trained: Trained, tmp_path: Path) -> None:
    world, client = service.copied(trained, tmp_path)
    service.promote(client, 1)
    with service.running(world) as running:
        set_limit = partial(resource.prlimit, running.process.pid, resource.RLIMIT_NOFILE)
        set_limit((3, 1_024))
        with connect(running), connect(running):
            until(lambda: any("out of system resource" in line for line in running.lines))
            time.sleep(2.5)  # asyncio tries again each second
        set_limit((1_024, 1_024))
        with running.client() as http:
            assert http.get("/healthz").status_code == 200
        assert sum("out of system resource" in line for line in running.lines) == 1


LIMITS = """
import resource, sys
from sentiflow.serving import server
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[2])))
server._need_files()
print(*resource.getrlimit(resource.RLIMIT_NOFILE), server._WaitingConnections().max)
"""


@pytest.mark.parametrize(
    ("soft", "hard", "told"),
    [
        (64, 1_024, "1024 1024 976"),
        (256, 4_096, "1048 4096 1000"),
        (2_000, 4_096, "2000 4096 1000"),
        (64, 64, "64 64 16"),
        (63, 63, "ExternalError: The service may have only 63 files and connections open; it needs 64."),
    ],
)
def test_the_limit_of_open_files_is_raised_and_one_that_stays_too_low_is_refused(
    soft: int, hard: int, told: str
) -> None:
    """Red if a service started with a limit at which idle connections keep requests out."""
    done = subprocess.run(
        [sys.executable, "-c", LIMITS, str(soft), str(hard)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert told in done.stdout + done.stderr


def connections(running: Running) -> int:
    """Connections that the service holds: its sockets without the listening one and the event loop's own pair."""
    held = -3
    for file in Path(f"/proc/{running.process.pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # the registry's file comes and goes
            held += str(file.readlink()).startswith("socket:")
    return held


@pytest.mark.story
def test_who_neither_asks_nor_reads_is_let_go_and_who_does_is_kept(small: Running) -> None:
    """Nothing sent, half a head, a head in drips, a body that nobody wants, answers that are not read."""
    with small.client() as http, ExitStack() as opened:
        assert http.get("/healthz").status_code == 200
        until(lambda: connections(small) == 1)  # what earlier tests left is gone
        began = time.monotonic()
        for sent in (b"", HALF_A_HEAD, UNREAD):
            opened.enter_context(connect(small, sent))
        dripping = opened.enter_context(connect(small, HALF_A_HEAD))
        endless = b"POST /nothing HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        unwanted = opened.enter_context(connect(small, endless))
        until(lambda: connections(small) == 6)

        def all_gone() -> bool:
            for connection, more in ((dripping, b"a"), (unwanted, b"1\r\nx\r\n")):
                try:
                    connection.sendall(more)
                except OSError:
                    continue  # closed
            time.sleep(0.2)
            return http.get("/healthz").status_code == 200 and connections(small) == 1

        until(all_gone)
        assert time.monotonic() - began > 8


@pytest.mark.parametrize("method", ["GET", "HEAD", "CONNECT"])  # an answer to HEAD has no text
@pytest.mark.parametrize("path", ["/nothing", "/predict", "/healthz"])
def test_a_body_that_is_no_http_leaves_no_line_in_the_log(small: Running, path: str, method: str) -> None:
    """In one packet with its head, and after the answer."""
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    assert exchange(small, head + b"zz\r\n").startswith(b"HTTP/1.1 400 ")
    with connect(small, head) as connection:
        if path != "/healthz":  # its answer waits for the body
            assert connection.recv(65_536).startswith(b"HTTP/1.1 4")
        connection.sendall(b"zz\r\n")
        while connection.recv(65_536):
            pass
    with small.client() as http:
        assert http.get("/healthz").status_code == 200
    assert [line for line in small.lines if "answers" not in line] == []


def test_a_request_with_two_lengths_is_refused_and_what_follows_is_not_answered(small: Running) -> None:
    hidden = b"GET /model HTTP/1.1\r\nHost: localhost\r\n\r\n"
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
    with connect(small, head + b"0\r\n\r\n" + hidden) as connection:
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))  # to the end: it is closed
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1
