"""Tests of fetching a file, from a real server on this machine."""

import contextlib
import hashlib
import os
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sentiflow.data.imdb import fetch_file
from sentiflow.errors import ExternalError, UnreachableError

CONTENT = bytes(range(256)) * 1_000  # 256 kB: several chunks
HASH = hashlib.sha256(CONTENT).hexdigest()
OTHER = "0" * 64


class Handler(BaseHTTPRequestHandler):
    """Answers each path as its name says."""

    server: "Server"

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        getattr(self, f"do_{self.path.partition('?')[0].strip('/')}")()

    def do_good(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT)

    def do_absent(self) -> None:
        self.send_error(404)

    def do_dropping(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[:100_000])

    def do_limping(self) -> None:
        if len(self.server.asked) == 1:
            self.send_error(503)
        else:
            self.do_good()

    def do_silent(self) -> None:
        self.server.released.wait(10)

    def do_endless(self) -> None:
        self.send_response(200)
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            while not self.server.released.wait(0.01):
                self.wfile.write(b"x" * 600)

    def log_message(self, *_arguments: object) -> None:
        """Stay quiet."""


class Server(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []
        self.released = threading.Event()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{path}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.released.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "downloads" / "file.bin"


def fetch(url: str, target: Path, known_hash: str = HASH, timeout: float = 5, retries: int = 0) -> bool:
    return fetch_file(url, known_hash, target, timeout=timeout, retries=retries)


def files_of(folder: Path) -> list[str]:
    """What stands in a folder, locks aside."""
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def test_a_file_arrives_whole_and_alone_and_is_not_asked_for_again(server: Server, target: Path) -> None:
    """It counts as used: red if housekeeping would clear away what each training uses."""
    assert fetch(server.url("good"), target) is True
    assert (target.read_bytes(), files_of(target.parent)) == (CONTENT, ["file.bin"])
    os.utime(target, (1, 1))
    assert (fetch(server.url("good"), target), server.asked) == (False, ["/good"])
    assert time.time() - target.stat().st_mtime < 60
    target.write_bytes(CONTENT[:-1])
    assert (fetch(server.url("good"), target), target.read_bytes()) == (True, CONTENT)  # it was damaged


def test_a_wrong_hash_leaves_nothing_and_is_no_failure_of_the_network(server: Server, target: Path) -> None:
    """Red if it were told as unreachable: then the hint would lead astray."""
    with pytest.raises(ExternalError) as caught:
        fetch(server.url("good"), target, OTHER)
    assert HASH in str(caught.value) and OTHER in str(caught.value)
    assert not isinstance(caught.value, UnreachableError) and files_of(target.parent) == []


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("absent", "the server answered 404 Not Found"),
        ("dropping", "the connection broke off in the middle"),
        ("silent", "no answer in time"),
    ],
)
def test_a_failed_download_tells_why_and_leaves_nothing(
    server: Server, target: Path, path: str, reason: str
) -> None:
    with pytest.raises(UnreachableError, match=f"/{path}: {reason}"):
        fetch(server.url(path), target, timeout=0.5)
    assert files_of(target.parent) == []


def test_a_server_that_fails_once_is_asked_again_and_the_log_tells(
    server: Server, target: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fetch(server.url("limping"), target, retries=1)
    assert (server.asked, target.read_bytes()) == (["/limping", "/limping"], CONTENT)
    (warning,) = [each.getMessage() for each in caplog.records if each.name.startswith("sentiflow")]
    assert warning.startswith("Download attempt failed: ") and "503" in warning


@pytest.mark.parametrize("address", [str, Path.as_uri, lambda path: f"~/{path.name}"], ids=["path", "url", "home"])
def test_a_local_file_is_copied_and_stays(
    tmp_path: Path, target: Path, address: Callable[[Path], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    source = tmp_path / "a source é.bin"  # a file URL quotes the space and the accent
    source.write_bytes(CONTENT)
    assert fetch(address(source), target) is True
    assert source.read_bytes() == target.read_bytes() == CONTENT


def test_leftovers_of_a_killed_download_are_removed(server: Server, target: Path) -> None:
    target.parent.mkdir()
    (target.parent / "tmpabc123").write_bytes(b"half")
    (target.parent / "folder").mkdir()
    fetch(server.url("good"), target)
    assert sorted(path.name for path in target.parent.iterdir()) == [".file.bin.lock", "file.bin", "folder"]


def test_two_fetches_at_once_ask_the_server_once(server: Server, target: Path) -> None:
    threads = [threading.Thread(target=fetch, args=(server.url("good"), target)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.asked == ["/good"]


@pytest.mark.parametrize(("limit", "value"), [("DEADLINE", 1), ("MAX_SIZE", 10_000)])
def test_what_never_ends_is_given_up_while_it_arrives(
    server: Server, target: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    """Red if only the time between two bytes were bounded, or each attempt had a deadline of its own."""
    monkeypatch.setattr(f"sentiflow.data.imdb.{limit}", value)
    with pytest.raises(UnreachableError, match="/endless: it takes more than"):
        fetch(server.url("endless"), target, timeout=20, retries=3)
    assert (files_of(target.parent), server.asked) == ([], ["/endless"])


def test_what_is_no_file_here_is_told(tmp_path: Path, target: Path) -> None:
    """A pipe is not waited for."""
    os.mkfifo(tmp_path / "pipe")
    for name in ("nowhere.bin", "pipe"):
        with pytest.raises(UnreachableError, match=f"There is no file .*{name}"):
            fetch(str(tmp_path / name), target)


@pytest.mark.parametrize("path", ["absent", "dropping", "good", "away"])
def test_no_failure_gives_the_mirrors_password_away(
    server: Server, target: Path, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the message nor a log line nor the traceback, which Prefect stores."""
    address = server.url(path).replace("//", "//me:p@S3CRET@") + "?token=S3CRET"
    with socket.socket() as listener, pytest.raises(ExternalError) as caught:
        listener.bind(("127.0.0.1", 0))
        if path == "away":
            address = address.replace(str(server.server_port), str(listener.getsockname()[1]))
        fetch_file(address, OTHER, target, timeout=5, retries=1)
    told = caplog.text + "".join(traceback.format_exception(caught.value))
    assert "S3CRET" not in told
    assert "127.0.0.1" in told
