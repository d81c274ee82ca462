"""The shipped proxy before a real service: what strangers can do to connections ends there."""

import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.polling import until
from tests.sentiflow.serving import service
from tests.servers import free_port, listens
from tests.world import ROOT, Trained

pytestmark = pytest.mark.story
HEAD = (
    b"POST /predict HTTP/1.1\r\nHost: reviews.example\r\nOrigin: https://reviews.example\r\n"
    b"Content-Length: %d\r\n\r\n"
)
BODY = b'{"text": "a good film"}'


@pytest.fixture(scope="module")
def port(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The proxy's, with all times cut to two seconds."""
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if nginx is None:
        pytest.skip("needs Debian's package nginx; CI installs it")
    folder, port = tmp_path_factory.mktemp("proxy"), free_port()
    world, client = service.copied(trained, tmp_path_factory.mktemp("world"))
    service.promote(client, 1)
    subprocess.run(["sh", ROOT / "stack" / "certificate.sh", folder], check=True)
    with service.running(world, SENTIFLOW_SERVE_HOSTS="reviews.example") as running:
        config = (ROOT / "stack" / "nginx.conf").read_text()
        for shipped, here in (
            ("/run", str(folder)), ("/var/log/nginx", str(folder)), ("/etc/ssl/reviews.example", str(folder)),
            ("http://127.0.0.1:8000", running.address), ("443 ssl", f"127.0.0.1:{port} ssl"), ("0s;", "s;"),
        ):  # fmt: skip
            assert shipped in config
            config = config.replace(shipped, here)
        (folder / "nginx.conf").write_text(config)
        process = subprocess.Popen([nginx, "-c", folder / "nginx.conf", "-g", "daemon off;"])
        try:
            until(lambda: listens(port))
            yield port
        finally:
            process.terminate()
            process.wait(20)


def connect(port: int, sent: bytes) -> ssl.SSLSocket:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    made = context.wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=20))
    made.sendall(sent)
    return made


def status(port: int, sent: bytes) -> bytes:
    with connect(port, sent) as connection:
        return connection.recv(12)


def test_a_request_is_answered_by_the_service_and_a_wrong_host_is_not(port: int) -> None:
    assert status(port, HEAD % len(BODY) + BODY) == b"HTTP/1.1 200"
    assert status(port, (HEAD % len(BODY) + BODY).replace(b"Host: r", b"Host: elsewhe.r")) == b"HTTP/1.1 421"
    assert status(port, HEAD % 5_000_000) == b"HTTP/1.1 413"


@pytest.mark.parametrize("sent", [b"", HEAD[:30], HEAD % 9 + b"x"], ids=["nothing", "half a head", "half a body"])
def test_who_sends_no_whole_request_is_let_go(port: int, sent: bytes) -> None:
    with connect(port, sent) as connection:
        assert b" 200 " not in b"".join(iter(lambda: connection.recv(1_000), b""))  # to its end


def test_one_address_keeps_only_so_many_requests_open(port: int) -> None:
    with ExitStack() as opened:
        for _ in range(20):
            opened.enter_context(connect(port, HEAD % 9))
        until(lambda: status(port, HEAD % len(BODY) + BODY) == b"HTTP/1.1 429", seconds=5)
    until(lambda: status(port, HEAD % len(BODY) + BODY) == b"HTTP/1.1 200", seconds=5)
