"""What this process runs in: variables that could change a result, user, machine and network addresses."""

import getpass
import os
import platform
import re
import resource
import socket
import sys
import time
from collections.abc import Iterable
from contextvars import ContextVar
from fnmatch import fnmatchcase
from pathlib import Path

from sentiflow.errors import ExternalError, UsageError
from sentiflow.redaction import printable

# Of names that begin as these, only those stay that are known to change no result: a new release may read others.
# Beginnings of the names of variables that decide how numbers are computed, and the library that reads them.
NUMERIC = {
    "KERAS_": "keras",
    **dict.fromkeys(("TF_", "XLA_", "TFRT_", "MLIR_", "AUTOGRAPH_", "ONEDNN_", "DNNL_"), "tensorflow"),
    "NVIDIA_TF32_OVERRIDE": "tensorflow",
    "NUMBA_": "numba",
}
MLFLOW = "MLFLOW_"  # they decide what is kept, and where; read when they are needed, not at import

KEPT = {
    "what is printed": (
        "TF_CPP_MIN_LOG_LEVEL", "MLFLOW_CONFIGURE_LOGGING",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT",
    ),
    "how much memory of a GPU is taken": ("TF_FORCE_GPU_ALLOW_GROWTH",),
    "where compiled code is kept": ("NUMBA_CACHE_DIR",),
    "usage data": ("MLFLOW_DISABLE_TELEMETRY",),
    "the machine's load, logged beside the results": (
        "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "MLFLOW_SYSTEM_METRICS_*",
    ),
    "the store's address: checked and set by us": ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"),
    "logins and certificates": (
        "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN",
        "MLFLOW_TRACKING_CLIENT_CERT_PATH", "MLFLOW_TRACKING_SERVER_CERT_PATH",
        "MLFLOW_TRACKING_INSECURE_TLS", "MLFLOW_KERBEROS_*",
    ),
    "how long, how often and in which pieces a server or a bucket is asked": (
        "MLFLOW_HTTP_*", "MLFLOW_ALLOW_HTTP_REDIRECTS", "MLFLOW_S3_*", "MLFLOW_GCS_*", "MLFLOW_MULTIPART_*",
        "MLFLOW_ENABLE_MULTIPART_*", "MLFLOW_ENABLE_PROXY_MULTIPART_*", "MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT",
        "MLFLOW_DOWNLOAD_CHUNK_TIMEOUT", "MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE", "MLFLOW_PYARROW_EXTRA_CONF",
        "MLFLOW_EXPERIMENTAL_S3_SIGNATURE_VERSION",
    ),
    "no pickle is read without it": ("MLFLOW_ALLOW_PICKLE_DESERIALIZATION",),
    "MLflow's own server, as `sentiflow ui` starts one": ("MLFLOW_SERVER_*", "MLFLOW_FLASK_SERVER_SECRET_KEY"),
}  # fmt: skip
"""Names, or patterns of names, that are left, by what they decide."""

OURS = {
    "KERAS_BACKEND": "tensorflow",
    "KERAS_NNX_ENABLED": "false",
    "KERAS_HOME": os.devnull,  # no folder, so that there is no keras.json in it, and Keras makes none
}
"""What is set in place of what was found."""

_removed: list[str] = []


def isolate(read: Iterable[str] = (*NUMERIC, MLFLOW)) -> None:
    """Remove what begins as one of ``read`` and could change a result, and set what is ``OURS`` of these."""
    beginnings = tuple(read)
    for name in sorted(os.environ):
        if name.startswith(beginnings) and os.environ[name] != OURS.get(name) and not is_kept(name):
            _need_unread(name)
            del os.environ[name]
            _removed.append(printable(name))
    os.environ |= {name: value for name, value in OURS.items() if name.startswith(beginnings)}


def send_no_usage_data() -> None:
    """Called before Prefect and MLflow, which read it as they are imported; the third is of Prefect's servers."""
    for name, value in (
        ("DO_NOT_TRACK", "true"),
        ("MLFLOW_DISABLE_TELEMETRY", "true"),
        ("PREFECT_SERVER_ANALYTICS_ENABLED", "false"),
    ):
        os.environ.setdefault(name, value)


def is_kept(name: str) -> bool:
    return any(fnmatchcase(name, pattern) for names in KEPT.values() for pattern in names)


def ignored() -> list[str]:
    """A line that names what was removed from this process's environment; none if nothing was."""
    return [f"Ignored variables, which can change results: {', '.join(_removed)}."] if _removed else []


def _need_unread(name: str) -> None:
    library = next((library for begins, library in NUMERIC.items() if name.startswith(begins)), "")
    if library in sys.modules:
        raise UsageError(
            f"{printable(name)} is set, which can change results, and {library} was imported before Sentiflow.",
            f"Remove {printable(name)} from the environment, then start again.",
        )


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
