"""What this process runs in: its folder, variables of Keras, extras of the package, user, machine and network."""

import getpass
import os
import platform
import re
import resource
import socket
import time
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

from sentiflow.errors import ExternalError, UsageError

if TYPE_CHECKING:
    from packaging.requirements import Requirement

FOLDER = "_SENTIFLOW_FOLDER"  # has the folder of relative paths, also for children; unset for the current one

ROOT = "/"  # working directory of commands and children: only the administrator can put files there


def leave_folder() -> None:
    """Change to the root folder, for children, too, before anything is imported.

    Prefect, numba, MLflow, matplotlib and Python take code and configuration from the current folder, whose files
    may be another user's. Relative paths are still taken from where the command was started.
    """
    try:
        folder = str(Path.cwd())
    except OSError:  # it was removed
        folder = os.environ.get("PWD", ROOT)
    if folder != ROOT or FOLDER not in os.environ:  # else this is a child of a command
        os.environ[FOLDER] = folder
    os.environ["PYTHONSAFEPATH"] = "1"
    if modules := os.environ.get("PYTHONPATH"):  # what is relative there means what it meant
        places = filter(None, modules.split(os.pathsep))
        os.environ["PYTHONPATH"] = os.pathsep.join(str(here() / each) for each in places)
    os.chdir(ROOT)


def here() -> Path:
    """The folder that relative paths are taken from: where a command was started, else the current one."""
    return Path(os.environ.get(FOLDER) or Path.cwd())


def expanded(path: str | Path) -> Path:
    """A path with a home folder in place of ``~``, as it is if there is no such user; in a command absolute."""
    return Path(os.environ.get(FOLDER, ""), os.path.expanduser(path))  # noqa: PTH111 - pathlib's fails then


def shortened(message: str) -> str:
    """A message in which paths below this folder are relative, as they were typed."""
    return re.sub(rf"(?<![\w/.-]){re.escape(str(here()))}/", "", message)


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


def lacking(extra: str) -> str:
    """What an extra needs and is not installed, or in a version that does not fit; else nothing."""
    # Not at the top: every command loads this module, and few need an extra.
    from importlib.metadata import requires

    from packaging.requirements import Requirement

    needed = map(Requirement, requires("sentiflow") or [])
    brought = (
        each
        for each in needed
        if each.marker and each.marker.evaluate({"extra": extra}) and not each.marker.evaluate({"extra": ""})
    )
    return next((f"{each.name}{each.specifier}" for each in brought if not _fits(each)), "")


def _fits(needed: "Requirement") -> bool:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return needed.specifier.contains(version(needed.name), prereleases=True)
    except PackageNotFoundError:
        return False


def install(extra: str) -> str:
    """The command that adds an extra."""
    return f"pip install 'sentiflow[{extra}]'"


def need(extra: str, what: str) -> None:
    """Refuse what cannot be done without an extra."""
    if missing := lacking(extra):
        raise UsageError(f"{what} needs {missing}: {install(extra)}")
