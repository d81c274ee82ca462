"""Servers that a test starts and ends: MLflow's and Prefect's as processes, any other in a thread."""

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.polling import until

_PROGRAMS = Path(sys.executable).parent


@contextmanager
def http(handler: Callable[..., BaseHTTPRequestHandler]) -> Iterator[int]:
    """Answer requests in a thread until the block ends; gives the port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def mlflow(arguments: Sequence[str], folder: Path, answers: str, **variables: str) -> Iterator[str]:
    """Run ``mlflow ARGUMENTS --port PORT`` in a folder until the block ends; gives its address.

    Args:
        arguments: the command's.
        folder: to run in; its output stands there, too.
        answers: a path that answers once the server is ready.
        variables: of its environment. It runs no jobs of MLflow's own, which cost seconds at the start.
    """
    port = free_port()
    environment = {**os.environ, "PATH": f"{_PROGRAMS}{os.pathsep}{os.environ['PATH']}", **variables}
    environment.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
    address = f"http://127.0.0.1:{port}"
    command = [str(_PROGRAMS / "mlflow"), *arguments, "--port", str(port)]
    with _running(command, folder, environment, f"{address}{answers}"):
        yield address


@contextmanager
def prefect(folder: Path) -> Iterator[str]:
    """Run a Prefect server with its database in a folder until the block ends; gives the address of its API.

    The database is a copy of the one that the environment keeps: ``prefect_test_harness`` makes one in 12 s.
    """
    from sentiflow.operations.prefect_server import ARGUMENTS, make_database

    make_database(folder / "prefect.db")
    own = {
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{folder / 'prefect.db'}",
        "PREFECT_UI_ENABLED": "false",
        "PREFECT_API_BLOCKS_REGISTER_ON_START": "false",
    }
    with socket.create_server(("127.0.0.1", 0)) as listener:
        descriptor, address = listener.fileno(), f"http://127.0.0.1:{listener.getsockname()[1]}/api"
        command = [sys.executable, "-m", "uvicorn", *ARGUMENTS, str(descriptor)]
        with _running(command, folder, {**os.environ, **own}, f"{address}/health", [descriptor]):
            listener.close()  # the server has it: who kills that is refused here
            yield address


@contextmanager
def _running(
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    address: str,
    descriptors: Sequence[int] = (),
) -> Iterator[None]:
    log = folder / "server.log"
    with log.open("w+") as output:
        process = subprocess.Popen(
            command, env=environment, cwd=folder, stdout=output, stderr=output, pass_fds=descriptors,
            start_new_session=True,
        )  # fmt: skip
        try:
            until(lambda: answers(address), f"{address} to answer", 90, log.read_text, process)
            yield
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # `mlflow` starts the server as a child
            process.wait()


_RANDOM = random.SystemRandom()  # no test's seed makes it say the same in two processes
_given: set[int] = set()


def free_port(others: Collection[int] = ()) -> int:
    """A port below those that the system gives to others meanwhile, not given before and none of some others."""
    while True:
        port = _RANDOM.randrange(20_000, 32_000)
        if port in _given or port in others:
            continue
        if not listens(port):
            _given.add(port)
            return port


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=2):
            return True
    except OSError:
        return False


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
