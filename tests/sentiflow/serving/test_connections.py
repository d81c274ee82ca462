"""Connections that nobody uses, and lengths that do not agree."""

import socket
from contextlib import ExitStack
from pathlib import Path

from tests.sentiflow.serving import service
from tests.sentiflow.serving.service import Running
from tests.world import Trained


def connect(running: Running, sent: bytes = b"") -> socket.socket:
    made = socket.create_connection(running.host_and_port, timeout=10)
    made.sendall(sent)
    return made


def test_more_connections_than_descriptors_at_the_start_keep_nobody_out(trained: Trained, tmp_path: Path) -> None:
    """Idle ones, and such as send half a head."""
    world, client = service.copied(trained, tmp_path)
    service.promote(client, 1)
    with service.running(world, descriptors=64) as running, ExitStack() as opened:
        for k in range(200):
            opened.enter_context(connect(running, b"GET /healthz HTTP/1.1\r\nHost: loc" if k % 2 else b""))
        with running.client() as http:
            assert http.post("/predict", json={"text": "a good film"}).status_code == 200
        assert [line for line in running.lines if "answers" not in line] == []


def test_a_request_with_two_lengths_is_refused_and_what_follows_is_not_answered(served: Running) -> None:
    hidden = b"GET /model HTTP/1.1\r\nHost: localhost\r\n\r\n"
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
    with connect(served, head + b"0\r\n\r\n" + hidden) as connection:
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))  # to the end: it is closed
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1
