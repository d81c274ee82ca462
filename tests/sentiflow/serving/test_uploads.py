"""Bodies that never end, behind a real server with a short patience."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from sentiflow.serving import middleware
from sentiflow.serving.middleware import Uploads
from tests.sentiflow.serving.service import until

SECONDS, MOST = 6.0, 1_000_000


@pytest.fixture(scope="module")
def uploads() -> Uploads:
    return Uploads(MOST, SECONDS)


@pytest.fixture(scope="module")
def port(uploads: Uploads) -> Iterator[int]:
    """A server that takes bodies of 1,000,000 bytes, 8,000,000 at a time, and waits 6 s for each 64,000."""

    async def size(request: Request) -> Response:
        async with uploads.body(request) as body:
            return PlainTextResponse(str(len(body)))

    app = Starlette(routes=[Route("/", size, methods=["POST"])])
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", ws="none", log_config=None))
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join()


def answer_of(each: socket.socket) -> bytes:
    """Status line and all the rest, head and body may come apart."""
    answer = b""
    while b"\r\n\r\n" not in answer or answer.endswith(b"\r\n\r\n"):
        part = each.recv(1_000)
        assert part, answer
        answer += part
    return answer


def connection(port: int, sent: bytes) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", port), timeout=10)
    made.sendall(sent)
    return made


@pytest.mark.parametrize(
    ("head", "part"),
    [(b"Content-Length: 900", b"x"), (b"Transfer-Encoding: chunked", b"1\r\nx\r\n")],
    ids=["with a length", "chunked"],
)
def test_a_body_that_never_ends_gets_408_however_it_trickles(port: int, head: bytes, part: bytes) -> None:
    began = time.monotonic()
    with connection(port, b"POST / HTTP/1.1\r\nHost: localhost\r\n" + head + b"\r\n\r\n") as slow:
        slow.settimeout(0.05)
        answer = b""
        while not answer:
            assert time.monotonic() - began < 5 * SECONDS, "it waits for ever"
            slow.sendall(part)
            try:
                answer = slow.recv(1_000)
            except TimeoutError:
                continue
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert time.monotonic() - began >= SECONDS


def large(size: int) -> bytes:
    return b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % size


def test_a_body_that_keeps_its_pace_may_take_longer_in_all(port: int) -> None:
    began = time.monotonic()
    with connection(port, large(960_000)) as steady:
        for _ in range(15):
            time.sleep(SECONDS / 14)
            steady.sendall(b"x" * 64_000)
        assert answer_of(steady).endswith(b"960000")
    assert time.monotonic() - began > SECONDS


@pytest.mark.parametrize(("size", "dropped"), [(60_000, 0), (MOST, 1)], ids=["a small one", "a large one"])
def test_stalled_bodies_that_fill_the_room_keep_nobody_out(
    port: int, uploads: Uploads, size: int, dropped: int
) -> None:
    """A small one needs no room; for a large one that is faster, one of the stalled gives way."""
    held = [connection(port, large(MOST) + b"x" * (MOST - 1)) for _ in range(8)]
    until(lambda: sum(len(each.body) for each in list(uploads._large)) == 8 * (MOST - 1))  # 8 bytes are left
    time.sleep(0.5)  # the other one is faster
    with connection(port, large(size) + b"x" * size) as another:
        assert answer_of(another).endswith(str(size).encode())
    for each in held:
        each.sendall(b"x")
    answers = [answer_of(each)[:12] for each in held]
    assert sorted(answers) == [b"HTTP/1.1 200"] * (8 - dropped) + [b"HTTP/1.1 429"] * dropped
    for each in held:
        each.close()


def test_the_memory_of_a_body_that_is_too_large_is_free_while_the_rest_is_awaited(
    uploads: Uploads, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(middleware, "_SILENT_SECONDS", 10.0)
    part = b"186a0\r\n" + b"x" * 100_000 + b"\r\n"
    with connection(port, b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + part * 11):
        until(lambda: [len(upload.body) for upload in uploads._large] == [0], seconds=8)


def test_who_goes_away_in_the_middle_leaves_no_bytes_behind(port: int) -> None:
    for _ in range(20):
        connection(port, large(MOST) + b"x" * 900_000).close()
    time.sleep(0.2)
    with connection(port, large(MOST) + b"x" * MOST) as later:
        assert answer_of(later).startswith(b"HTTP/1.1 200 ")
