"""MLflow's own server behind ``Edge``; ``sentiflow ui`` starts it, on a socket that it opened.

python -m sentiflow.store.ui_server DESCRIPTOR STORE ARTIFACTS HOST PORT

The login, ``user:password``, comes in the environment, and is not passed on.
"""

import os
import re
import socket
import sys
from collections.abc import Callable, Mapping
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from sentiflow.store.ui import LOGIN
from sentiflow.store.ui_guard import PAGES, Edge

LOCAL = ("localhost", "127.0.0.1", "::1")
"""Names of this machine, to this machine."""

UVICORN: Mapping[str, Any] = {
    "http": "h11", "ws": "none", "log_level": "warning",
    "lifespan": "off",  # MLflow's cleans up after its assistant
    "proxy_headers": False,  # else a client could say which scheme it used
    "server_header": False,
}  # fmt: skip


def set_environment(store: str, artifact_root: str, destination: str = "") -> None:
    """Set what the command ``mlflow server`` sets for its processes; before MLflow's server is imported.

    Args:
        store: address of the database.
        artifact_root: where experiments keep their artifacts.
        destination: a folder that the server hands out in their place; empty if clients see the files.
    """
    for name in [name for name in os.environ if name.startswith("_MLFLOW_")]:
        del os.environ[name]
    os.environ |= {
        "_MLFLOW_SERVER_FILE_STORE": store,
        "_MLFLOW_SERVER_REGISTRY_STORE": store,
        "_MLFLOW_SERVER_ARTIFACT_ROOT": artifact_root,
        "_MLFLOW_SGI_NAME": "uvicorn",
        "_MLFLOW_IN_JOB_EXECUTOR": "false",
        "MLFLOW_ENABLE_WORKSPACES": "false",
        # By default it also runs jobs that it is sent, and keeps other services' keys and calls them.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_ENABLE_AI_GATEWAY": "false",
        # Its own check lets any port of this machine ask, and names such as 10.example. `Edge` lets neither.
        "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE": "true",
    }
    if destination:
        os.environ |= {
            "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
            "_MLFLOW_SERVER_ARTIFACT_DESTINATION": destination,
        }


def refuse_places() -> None:
    """Let MLflow's server refuse places that a client names; call it once, before the first request.

    With them a client could let it read, write or delete files wherever its user may.
    """
    from flask import request
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
    from mlflow.server import app, handlers

    checks = _checks()

    @handlers.catch_mlflow_exception  # type: ignore[untyped-decorator]
    def check() -> None:
        kind, names_place = checks.get(str(request.endpoint), (None, None))
        if kind is None or names_place is None:
            return
        # As the handler reads it, whatever the names of fields and the form of the body.
        message = handlers._get_request_message(kind())  # type: ignore[no-untyped-call]  # noqa: SLF001
        if reason := names_place(message):
            raise MlflowException(f"{reason} may not be chosen: the server chooses.", INVALID_PARAMETER_VALUE)

    app.before_request(check)


_Check = tuple[Callable[[], Any], Callable[[Any], str]]
# Tags by which MLflow finds a trace's files.
_PLACES = ("mlflow.artifactLocation", "mlflow.trace.spansLocation", "mlflow.trace.archiveLocation")
_TRACE_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")  # it names a folder
_SOURCES = re.compile(r"(runs|models|mlflow-artifacts|file):.*|(?!\w+:)[^:]*", re.DOTALL | re.IGNORECASE)


def _checks() -> dict[str, _Check]:
    """By name of MLflow's handler: its message, and what gives the field that names a place, if one does."""
    from mlflow.protos import model_registry_pb2 as registry
    from mlflow.protos import service_pb2 as service

    def experiment(message: Any) -> str:
        return "artifact_location" if message.artifact_location else ""

    def version(message: Any) -> str:
        return "" if _SOURCES.fullmatch(message.source) else "A source outside of the store"

    def tag(message: Any) -> str:
        return f"The tag {message.key}" if message.key in _PLACES else ""

    def trace(message: Any) -> str:
        info = message.trace.trace_info
        found = next((name for name in _PLACES if name in info.tags), None)
        if found:
            return f"The tag {found}"
        return "" if _TRACE_ID.fullmatch(info.trace_id) else "A trace_id of other than letters, digits, _ and -"

    return {
        "_create_experiment": (service.CreateExperiment, experiment),
        "_create_model_version": (registry.CreateModelVersion, version),
        "_set_trace_tag_v3": (service.SetTraceTagV3, tag),
        "_start_trace_v3": (service.StartTraceV3, trace),
    }


def ui(host: str, port: int, login: str) -> ASGIApp:
    """The app of ``sentiflow ui``, which answers at an address and at the names of this machine with its port."""
    from mlflow.server.fastapi_app import app

    refuse_places()
    return Edge(app, PAGES, [(name, port) for name in (*LOCAL, host.lower())], login)


def main(descriptor: str, store: str, artifact_root: str, host: str, port: str) -> int:
    """Serve until SIGTERM; gives the exit code."""
    login = os.environ.pop(LOGIN)
    set_environment(store, artifact_root)
    config = uvicorn.Config(ui(host, int(port), login), timeout_graceful_shutdown=2, **UVICORN)
    server = uvicorn.Server(config)
    server.run(sockets=[socket.socket(fileno=int(descriptor))])
    return 0 if server.started else 3


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
