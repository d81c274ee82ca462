"""Tests of fetching a file, from a real server on this machine."""

import contextlib
import hashlib
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sentiment.data.download import fetch_file
from sentiment.errors import UnreachableError, WorldError
from sentiment.progress import Advance

CONTENT = bytes(range(256)) * 1_000  # 256 kB: several chunks
HASH = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
OTHER = f"sha256:{'0' * 64}"


class Handler(BaseHTTPRequestHandler):
    """Answers each path as its name says."""

    server: "Server"

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        getattr(self, f"do_{self.path.strip('/')}")()

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


def test_a_file_arrives_whole_over_http(server: Server, target: Path) -> None:
    fetch(server.url("good"), target)
    assert target.read_bytes() == CONTENT


def test_a_fetched_file_is_said_to_be_new(server: Server, target: Path) -> None:
    assert fetch(server.url("good"), target) is True


def test_nothing_but_the_file_stays(server: Server, target: Path) -> None:
    fetch(server.url("good"), target)
    assert files_of(target.parent) == ["file.bin"]


def test_a_file_that_is_there_is_not_asked_for_again(server: Server, target: Path) -> None:
    fetch(server.url("good"), target)
    assert (fetch(server.url("good"), target), server.asked) == (False, ["/good"])


def test_a_damaged_file_is_fetched_again(server: Server, target: Path) -> None:
    target.parent.mkdir()
    target.write_bytes(CONTENT[:-1])
    fetch(server.url("good"), target)
    assert target.read_bytes() == CONTENT


def test_a_wrong_hash_leaves_nothing(server: Server, target: Path) -> None:
    with pytest.raises(WorldError):
        fetch(server.url("good"), target, OTHER)
    assert files_of(target.parent) == []


@pytest.mark.parametrize("digits", [HASH, OTHER])
def test_a_wrong_hash_is_told_with_both_hashes(server: Server, target: Path, digits: str) -> None:
    with pytest.raises(WorldError, match=digits.removeprefix("sha256:")):
        fetch(server.url("good"), target, OTHER)


def test_a_wrong_hash_is_no_failure_of_the_network(server: Server, target: Path) -> None:
    """Red if it were told as unreachable: then the hint would lead astray."""
    with pytest.raises(WorldError) as caught:
        fetch(server.url("good"), target, OTHER)
    assert not isinstance(caught.value, UnreachableError)


def test_a_missing_file_is_told_with_the_servers_answer(server: Server, target: Path) -> None:
    with pytest.raises(UnreachableError, match=r"/absent: the server answered 404 Not Found\.$"):
        fetch(server.url("absent"), target)


@pytest.mark.parametrize("path", ["absent", "dropping"])
def test_a_failed_download_leaves_nothing(server: Server, target: Path, path: str) -> None:
    with pytest.raises(UnreachableError):
        fetch(server.url(path), target)
    assert files_of(target.parent) == []


def test_a_connection_that_drops_in_the_middle_is_told(server: Server, target: Path) -> None:
    with pytest.raises(UnreachableError, match=r"Cannot download .*/dropping"):
        fetch(server.url("dropping"), target)


def test_a_server_that_fails_once_is_asked_again(server: Server, target: Path) -> None:
    fetch(server.url("limping"), target, retries=1)
    assert (server.asked, target.read_bytes()) == (["/limping", "/limping"], CONTENT)


def test_without_retries_a_server_is_asked_once(server: Server, target: Path) -> None:
    with pytest.raises(UnreachableError, match="503"):
        fetch(server.url("limping"), target)
    assert server.asked == ["/limping"]


def test_a_server_that_does_not_answer_is_given_up(server: Server, target: Path) -> None:
    with pytest.raises(UnreachableError, match="no answer in time"):
        fetch(server.url("silent"), target, timeout=0.2)


def test_a_refused_connection_is_told(target: Path) -> None:
    with socket.socket() as listener:  # bound and not listening: nobody else takes the port
        listener.bind(("127.0.0.1", 0))
        with pytest.raises(UnreachableError, match="no connection"):
            fetch(f"http://127.0.0.1:{listener.getsockname()[1]}/file", target)


@pytest.mark.parametrize("address", [str, Path.as_uri], ids=["path", "file-url"])
def test_a_local_file_is_copied(tmp_path: Path, target: Path, address: Callable[[Path], str]) -> None:
    source = tmp_path / "a source é.bin"  # a file URL quotes the space and the accent
    source.write_bytes(CONTENT)
    fetch(address(source), target)
    assert target.read_bytes() == CONTENT


def test_a_copied_file_leaves_its_source(tmp_path: Path, target: Path) -> None:
    (tmp_path / "source.bin").write_bytes(CONTENT)
    fetch(str(tmp_path / "source.bin"), target)
    assert (tmp_path / "source.bin").read_bytes() == CONTENT


def test_a_path_below_home_is_copied(tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "source.bin").write_bytes(CONTENT)
    assert fetch("~/source.bin", target) is True


def test_a_local_file_with_a_wrong_hash_leaves_nothing(tmp_path: Path, target: Path) -> None:
    (tmp_path / "source.bin").write_bytes(b"other")
    with pytest.raises(WorldError, match="not the expected file"):
        fetch(str(tmp_path / "source.bin"), target)
    assert files_of(target.parent) == []


def test_a_local_file_that_is_not_there_is_told(tmp_path: Path, target: Path) -> None:
    with pytest.raises(UnreachableError, match=r"Cannot read .*nowhere\.bin: No such file or directory\.$"):
        fetch(str(tmp_path / "nowhere.bin"), target)


def test_leftovers_of_a_killed_download_are_removed(server: Server, target: Path) -> None:
    target.parent.mkdir()
    (target.parent / "tmpabc123").write_bytes(b"half")
    fetch(server.url("good"), target)
    assert files_of(target.parent) == ["file.bin"]


def test_progress_follows_the_bytes(server: Server, target: Path) -> None:
    told: list[tuple[str, int]] = []
    steps: list[int] = []

    @contextlib.contextmanager
    def progress(description: str, total: int) -> Iterator[Advance]:
        told.append((description, total))
        yield steps.append

    fetch_file(server.url("good"), HASH, target, timeout=5, retries=0, progress=progress)
    assert (told, sum(steps)) == ([("downloading good", 256_000)], 256_000)


def test_two_fetches_at_once_ask_the_server_once(server: Server, target: Path) -> None:
    threads = [threading.Thread(target=fetch, args=(server.url("good"), target)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.asked == ["/good"]


def test_a_malformed_address_is_told(target: Path) -> None:
    with pytest.raises(UnreachableError, match=r"http://\[::1"):
        fetch("http://[::1", target)
