"""What this process runs in: variables of Keras, user, machine and network addresses."""

import getpass
import os
import platform
import re
import resource
import socket
import time
from contextvars import ContextVar
from pathlib import Path

from sentiflow.errors import ExternalError

KERAS = {
    "KERAS_BACKEND": "tensorflow",
    "KERAS_NNX_ENABLED": "false",
    "KERAS_HOME": os.devnull,  # no folder, so that there is no keras.json in it, and Keras makes none
}
"""What Keras reads at its import, in place of what is set."""


def send_no_usage_data() -> None:
    """Called before Prefect and MLflow, which read it as they are imported; the third is of Prefect's servers."""
    for name, value in (
        ("DO_NOT_TRACK", "true"),
        ("MLFLOW_DISABLE_TELEMETRY", "true"),
        ("PREFECT_SERVER_ANALYTICS_ENABLED", "false"),
    ):
        os.environ.setdefault(name, value)


process_started: ContextVar[float | None] = ContextVar("process_started", default=None)
"""When this process began (seconds since the epoch), set by a command that runs one job; else unknown."""


def startup_seconds() -> float:
    """Seconds from the start of the process until now; 0 in a process that does other things, too."""
    started = process_started.get()
    return 0.0 if started is None else max(0.0, time.time() - started)


def user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container's user may have no name
        return "unknown"


def person() -> str:
    return f"{user()} on {socket.gethostname()}"


def processor() -> str:
    """The model of the processor, as Linux calls it; where it says nothing of it, its architecture."""
    try:
        found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()


BACKLOG = 1_024  # connections that wait in the kernel


def open_socket(host: str, port: int, hint: str) -> socket.socket:
    """Listen at once, so that no other process can; connections wait until somebody accepts them."""
    try:
        flags = socket.AI_PASSIVE
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)[0]
        both = family == socket.AF_INET6 and socket.has_dualstack_ipv6()
        listener = socket.create_server(address, family=family, backlog=BACKLOG, dualstack_ipv6=both)
        # For all connections: asyncio sets it only where a socket names its protocol. Without it each answer waits
        # until the client has confirmed its head, 40 ms.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except (OSError, UnicodeError) as err:  # a name with a part that is empty or too long is no Unicode
        reason = str(err.strerror).partition(" (while")[0] if isinstance(err, OSError) else "no such name"
        raise ExternalError(f"Cannot listen on port {port} of {host}: {reason}.", hint) from err


def raise_open_files() -> None:
    """Let this process open as many files as it may: each connection takes one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def address_of(host: str, port: int) -> str:
    """Where a service listens, as an address to open, such as ``http://[::1]:8000``."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def ask_directly(host: str) -> None:
    """Let no proxy of the environment have the requests of this process, and of its children, to a host."""
    for name in ("no_proxy", "NO_PROXY"):
        os.environ[name] = ",".join(filter(None, (os.environ.get(name), host)))
