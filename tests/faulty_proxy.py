"""A TCP proxy before a server, in which one request meets a fault."""

import os
import signal
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlparse

import psutil


class _Relay(socketserver.BaseRequestHandler):
    """Passes on what a client and the server say, chunk by chunk."""

    server: "_Proxy"

    def handle(self) -> None:
        self.answers = "whole"
        with socket.create_connection(self.server.behind) as self.behind:
            threading.Thread(target=self._answer, daemon=True).start()
            while data := self._read(self.request):
                if self.server.wanted in data and not self.server.met:
                    self.server.met = True
                    self.server.fault(self)
                self.behind.sendall(data)

    def _answer(self) -> None:
        while data := self._read(self.behind):
            if self.answers != "whole":
                data = data[: len(data) - 20] if self.answers == "cut" else b""
                self.request.sendall(data)
                self.request.shutdown(socket.SHUT_RDWR)
                return
            try:
                self.request.sendall(data)
            except OSError:  # it did not wait
                return

    def _read(self, connection: socket.socket) -> bytes:
        try:
            return connection.recv(1 << 16)
        except OSError:
            return b""


class _Proxy(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    met = False

    def __init__(self, address: str, request: str, fault: Callable[[_Relay], None]) -> None:
        parts = urlparse(address)
        self.behind = str(parts.hostname), int(parts.port or 80)
        self.wanted, self.fault = request.encode(), fault
        super().__init__(("127.0.0.1", 0), _Relay)


@contextmanager
def proxy(address: str, request: str, fault: Callable[[_Relay], None]) -> Iterator[str]:
    """Run a proxy before a server; gives its address.

    Args:
        address: the server's.
        request: how the request begins that meets the fault, the first one of its kind.
        fault: see the functions below.
    """
    with _Proxy(address, request, fault) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
    assert server.met, f"nobody asked for {request}"


def cut(relay: _Relay) -> None:
    """The server's answer breaks off near its end."""
    relay.answers = "cut"


def drop(relay: _Relay) -> None:
    """The connection ends without an answer."""
    relay.answers = "none"


def freeze(address: str, seconds: float) -> Callable[[_Relay], None]:
    """The server, all of its processes, stands still for so long at the moment that the request passes."""
    port = str(urlparse(address).port)
    commands = psutil.process_iter(["cmdline"])
    group = next(os.getpgid(found.pid) for found in commands if port in (found.info["cmdline"] or ()))

    def stop(_relay: _Relay) -> None:
        os.killpg(group, signal.SIGSTOP)
        threading.Timer(seconds, os.killpg, (group, signal.SIGCONT)).start()

    return stop
