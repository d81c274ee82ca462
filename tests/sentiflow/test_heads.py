"""Tests of connections whose heads do not come."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from sentiflow import edge
from sentiflow.store.ui_server import UVICORN

SECONDS = 0.5


async def app(_scope: Scope, receive: Receive, send: Send) -> None:
    """Answer once the body is there, and some time has gone by."""
    while (await receive()).get("more_body"):
        pass
    await asyncio.sleep(2 * SECONDS)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(edge, "HEAD_SECONDS", SECONDS)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, **UVICORN))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(20)


def connect(port: int) -> "closing[socket.socket]":
    return closing(socket.create_connection(("127.0.0.1", port), timeout=20))


@pytest.mark.parametrize("begin", [b"", b"GET / HTTP/1.1\r\nHost: x\r\nX: "], ids=["nothing", "half"])
def test_a_head_that_does_not_come_ends_the_connection_however_it_trickles(port: int, begin: bytes) -> None:
    with connect(port) as client:
        client.sendall(begin)
        began = time.monotonic()
        client.settimeout(SECONDS / 5)
        while time.monotonic() < began + 20:
            try:
                assert client.recv(100) == b""
                break
            except TimeoutError:
                if begin:
                    client.sendall(b"x")
        assert SECONDS / 2 < time.monotonic() - began < 15


def test_a_slow_body_and_a_slow_answer_are_waited_for_and_a_further_head_is_not(port: int) -> None:
    with connect(port) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\na")
        time.sleep(2 * SECONDS)
        client.sendall(b"bc")
        answer = b""
        while not answer.endswith(b"ok"):
            assert (part := client.recv(1_000))
            answer += part
        client.sendall(b"GET / HT")
        began = time.monotonic()
        assert client.recv(100) == b"" and time.monotonic() - began < 15
