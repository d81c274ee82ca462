"""Bodies that never end, behind a real server with a short patience."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from serving.service.uploads import Uploads

SECONDS = 0.6


async def tell_size(scope: Scope, receive: Receive, send: Send) -> None:
    """The size of the body, as an application sees it."""
    body = await receive()
    await PlainTextResponse(str(len(body["body"])))(scope, receive, send)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """A server that takes bodies of 1,000 bytes, within less than a second, 8,000 bytes at a time."""
    app = Uploads(tell_size, 1_000, SECONDS)
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
        answer += each.recv(1_000)
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
    with connection(port, b"POST / HTTP/1.1\r\nHost: here\r\n" + head + b"\r\n\r\n") as slow:
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


def test_bodies_that_together_take_too_much_memory_get_429_and_room_comes_back(port: int) -> None:
    head = b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 1000\r\n\r\n"
    held = [connection(port, head + b"x" * 999) for _ in range(8)]
    time.sleep(0.2)  # 7,992 bytes are held
    with connection(port, head + b"x" * 1_000) as one_more:
        assert answer_of(one_more).startswith(b"HTTP/1.1 429 ")
    for each in held:
        each.sendall(b"x")
        assert answer_of(each).endswith(b"1000")
        each.close()
    with connection(port, head + b"x" * 1_000) as later:
        assert answer_of(later).startswith(b"HTTP/1.1 200 ")


def test_who_goes_away_in_the_middle_leaves_no_bytes_behind(port: int) -> None:
    head = b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 1000\r\n\r\n"
    for _ in range(20):
        connection(port, head + b"x" * 900).close()
    time.sleep(0.2)
    with connection(port, head + b"x" * 1_000) as later:
        assert answer_of(later).startswith(b"HTTP/1.1 200 ")
