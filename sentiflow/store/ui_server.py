"""MLflow's own server behind an ``Edge``: the allowed paths, host names and origins, and the login.

``sentiflow ui`` starts it, on a socket that it opened:

python -m sentiflow.store.ui_server DESCRIPTOR STORE ARTIFACTS HOST PORT

The login, ``user:password``, comes in the environment, and is not passed on.
"""

import hmac
import os
import re
import socket
import sys
from base64 import b64decode
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import uvicorn
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Scope

from sentiflow.edge import LOCAL, Edge, Headers, Origins
from sentiflow.environment import raise_open_files
from sentiflow.store.ui import LOGIN, USER

# A path, its methods, and what stands below it: `.` nothing, `*` any one part, `**` one part or more.
# Not served is all else: what runs code, keeps keys of other services, calls addresses of a client or takes
# files (assistant, gateway, jobs, scorers, webhooks, MCP servers, OTLP, uploads), and what a later release adds.
_PAGES = """
/ GET .
/health GET .
/version GET .
/static-files GET **
/get-artifact GET .
/model-versions/get-artifact GET .
/graphql POST .
"""
_API = """
2.0/mlflow/artifacts GET list
2.0/mlflow/experiments GET get get-by-name search
2.0/mlflow/experiments POST create delete delete-experiment-tag restore search search-datasets set-experiment-tag
2.0/mlflow/experiments POST update
2.0/mlflow/logged-models GET * */artifacts/directories */artifacts/files
2.0/mlflow/logged-models POST . search */params
2.0/mlflow/logged-models PATCH * */tags
2.0/mlflow/logged-models DELETE * */tags/*
2.0/mlflow/metrics GET get-history get-history-bulk get-history-bulk-interval
2.0/mlflow/model-versions GET get get-download-uri search
2.0/mlflow/model-versions POST create set-tag transition-stage
2.0/mlflow/model-versions PATCH update
2.0/mlflow/model-versions DELETE delete delete-tag
2.0/mlflow/registered-models GET alias get get-latest-versions search
2.0/mlflow/registered-models POST alias create get-latest-versions rename set-tag
2.0/mlflow/registered-models PATCH update
2.0/mlflow/registered-models DELETE alias delete delete-tag
2.0/mlflow/runs GET get
2.0/mlflow/runs POST create delete delete-tag log-batch log-inputs log-metric log-model log-parameter outputs
2.0/mlflow/runs POST restore search set-tag update
2.0/mlflow/traces POST delete-traces
3.0/mlflow/label-schemas GET get get-by-name list
3.0/mlflow/label-schemas POST create
3.0/mlflow/label-schemas PATCH update
3.0/mlflow/label-schemas DELETE delete
3.0/mlflow/review-queues GET get get-by-name list items/list
3.0/mlflow/review-queues POST create delete get-or-create-user update items/add items/remove items/set-status
3.0/mlflow/server-info GET .
3.0/mlflow/traces GET * batchGet get */assessments/*
3.0/mlflow/traces POST . batchGetInfos delete-traces metrics search */assessments
3.0/mlflow/traces PATCH */assessments/* */tags
3.0/mlflow/traces DELETE */assessments/* */tags
3.0/mlflow/get-trace-artifact GET .
"""
_TEAM_API = """
2.0/mlflow-artifacts/artifacts GET . **
2.0/mlflow-artifacts/artifacts PUT **
2.0/mlflow-artifacts/artifacts DELETE **
2.0/mlflow/users GET current get list
2.0/mlflow/users POST create
2.0/mlflow/users PATCH update-admin update-password
2.0/mlflow/users DELETE delete
3.0/mlflow/users GET current/permissions permissions/get permissions/list roles/list
3.0/mlflow/users POST permissions/grant permissions/revoke
3.0/mlflow/roles GET get list permissions/list users/list
3.0/mlflow/roles POST assign create permissions/add
3.0/mlflow/roles PATCH update permissions/update
3.0/mlflow/roles DELETE delete permissions/remove unassign
"""


def _paths(table: str, root: str) -> list[tuple[str, str]]:
    """Each method and path of a table."""
    rows = [line.split() for line in table.split("\n") if line]
    return [
        (method, f"{root}{base}" + ("" if below == "." else f"/{below}"))
        for base, methods, *all_below in rows
        for below in all_below
        for method in methods.split(",")
    ]


def _expression(paths: Collection[tuple[str, str]]) -> re.Pattern[str]:
    """What a method, a blank and a path look like that are among these."""
    parts = {"*": "[^/]+", "**": ".+"}
    texts = [
        f"{method} " + "/".join(parts.get(part, re.escape(part)) for part in path.split("/"))
        for method, path in paths
    ]
    return re.compile("|".join(texts), re.DOTALL)


PAGES = [*_paths(_PAGES, ""), *_paths(_API, "/api/"), *_paths(_API, "/ajax-api/")]
"""Methods and paths of ``sentiflow ui``: runs, models, the registry, and reviews of traces."""

# It would tell programs to fetch files from a bucket themselves; a page needs it.
_BUCKET = ("GET", "/api/3.0/mlflow/server-info")

TEAM = [
    *(path for path in PAGES if path != _BUCKET), *_paths(_TEAM_API, "/api/"), *_paths(_TEAM_API, "/ajax-api/"),
]  # fmt: skip
"""Those of a team's server: also accounts, and artifacts, of which clients do not see the disk."""

_GATEWAYS = ("GET", "/ajax-api/2.0/mlflow/gateway-proxy")  # the page of runs shows an error where it gets no list

_PERSON = ("GET", "/ajax-api/2.0/mlflow/users/current")  # whom the page of reviews names with a label
_MAY = ("GET", "/ajax-api/3.0/mlflow/users/current/permissions")
_ALL = {"resource_type": "experiment", "resource_pattern": "*", "permission": "MANAGE"}

_HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"SAMEORIGIN",
    b"content-security-policy": b"frame-ancestors 'self'",
    b"cross-origin-resource-policy": b"same-origin",
}


class MlflowEdge(Edge):
    """Also refuses what has not the login, then what is no method and path of a list.

    The login is empty where the app asks for one itself.
    """

    def __init__(
        self, app: ASGIApp, paths: Collection[tuple[str, str]], origins: Origins, login: str = ""
    ) -> None:
        super().__init__(app, origins, _HEADERS)
        self._served, self._password = _expression(paths), login.partition(":")[2].encode()

    def check(self, scope: Scope, headers: Headers) -> Response | None:
        super().check(scope, headers)
        asked = "GET" if scope["method"] == "HEAD" else scope["method"], scope["path"]
        if asked != ("GET", "/health") and self._password and (person := self._person(headers)) != USER:
            if asked == _PERSON:
                shown = {"id": 0, "username": person, "is_admin": False}
                return JSONResponse({"user": shown, "is_basic_auth": False})
            if asked == _MAY:
                return JSONResponse({"is_admin": False, "permissions": [_ALL]})
        if asked == _GATEWAYS:
            return JSONResponse({"endpoints": []})
        if not self._served.fullmatch(" ".join(asked)):
            raise HTTPException(404, "Not served here.")
        return None

    def headers(self, own: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        return super().headers(each for each in own if not each[0].lower().startswith(b"access-control-"))

    def _person(self, headers: Headers) -> str:
        """The name that a person gave: any that can be read, as it only says who labelled a text."""
        scheme, _, login = headers.get(b"authorization", b"").partition(b" ")
        try:
            person, _, password = b64decode(login.strip(), validate=True).partition(b":")
        except ValueError:
            person = password = b""
        name = person.decode("utf-8", "replace")
        right = scheme.lower() == b"basic" and hmac.compare_digest(password, self._password)
        if not right or not name.strip() or not name.isprintable():
            challenge = {"WWW-Authenticate": 'Basic realm="MLflow", charset="UTF-8"'}
            raise HTTPException(401, "This server asks for a login.", challenge)
        return name


UVICORN: Mapping[str, Any] = {
    "http": "h11", "ws": "none", "log_level": "warning",
    "lifespan": "off",  # MLflow's cleans up after its assistant
    "proxy_headers": False,  # else a client could say which scheme it used
    "server_header": False,
}  # fmt: skip


def set_environment(store: str, artifact_root: str, destination: str = "") -> None:
    """Set what the command ``mlflow server`` sets for its processes; before MLflow's server is imported.

    Clients see the files of ``artifact_root``; if not, the server hands those of a ``destination`` out.
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
        # Its own check lets any port of this machine ask, and names such as 10.example. `Origins` lets neither.
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
    return MlflowEdge(app, PAGES, Origins([(name, port) for name in (*LOCAL, host.lower())]), login)


def main(descriptor: str, store: str, artifact_root: str, host: str, port: str) -> int:
    """Serve until SIGTERM; gives the exit code."""
    login = os.environ.pop(LOGIN)
    raise_open_files()
    set_environment(store, artifact_root)
    config = uvicorn.Config(ui(host, int(port), login), timeout_graceful_shutdown=2, **UVICORN)
    server = uvicorn.Server(config)
    server.run(sockets=[socket.socket(fileno=int(descriptor))])
    return 0 if server.started else 3


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
