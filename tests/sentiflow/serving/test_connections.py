"""Connections that nobody uses, lengths that do not agree, and errors that clients cause again and again."""

import resource
import socket
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from sentiflow.serving import processes as server
from tests.sentiflow.serving import service
from tests.sentiflow.serving.service import Running, until
from tests.world import Trained


def connect(running: Running, sent: bytes = b"") -> socket.socket:
    made = socket.create_connection(running.host_and_port, timeout=10)
    made.sendall(sent)
    return made


@pytest.mark.parametrize("sent", [b"", b"GET /healthz HTTP/1.1\r\nHost: loc"], ids=["idle", "half a head"])
def test_more_connections_than_descriptors_at_the_start_keep_nobody_out(
    trained: Trained, tmp_path: Path, sent: bytes
) -> None:
    world, client = service.copied(trained, tmp_path)
    service.promote(client, 1)
    with service.running(world, descriptors=64) as running, ExitStack() as opened:
        for _ in range(200):
            opened.enter_context(connect(running, sent))
        with running.client() as http:
            assert http.post("/predict", json={"text": "a good film"}).status_code == 200
        assert [line for line in running.lines if "answers" not in line] == []


def test_a_lack_of_descriptors_is_logged_once_and_passes(trained: Trained, tmp_path: Path) -> None:
    world, client = service.copied(trained, tmp_path)
    service.promote(client, 1)
    with service.running(world) as running:
        set_limit = partial(resource.prlimit, running.process.pid, resource.RLIMIT_NOFILE)
        soft, hard = set_limit()
        set_limit((3, hard))
        with connect(running), connect(running):
            until(lambda: any("out of system resource" in line for line in running.lines))
            time.sleep(2.5)  # asyncio tries again each second
        set_limit((soft, hard))
        with running.client() as http:
            assert http.get("/healthz").status_code == 200
        assert sum("out of system resource" in line for line in running.lines) == 1


def test_an_error_of_the_event_loop_is_logged_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now, logged = 0.0, list[tuple[float, str]]()
    loop = SimpleNamespace(default_exception_handler=lambda context: logged.append((now, context["message"])))
    monkeypatch.setattr(server, "time", SimpleNamespace(monotonic=lambda: now))
    log = server._LoopErrors()
    for now, message in [(1e3, "a"), (1e3, "b"), (1_059, "a"), (1_060, "a"), (1_061, "a"), (1_120, "b")]:  # noqa: B007
        log(loop, {"message": message})
    assert logged == [(1_000, "a"), (1_000, "b"), (1_060, "a"), (1_120, "b")]


def test_a_request_with_two_lengths_is_refused_and_what_follows_is_not_answered(served: Running) -> None:
    hidden = b"GET /model HTTP/1.1\r\nHost: localhost\r\n\r\n"
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
    with connect(served, head + b"0\r\n\r\n" + hidden) as connection:
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))  # to the end: it is closed
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1
