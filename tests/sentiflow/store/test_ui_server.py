"""Which routes of MLflow's server are served, by its own routers: a new release adds none unnoticed."""

import asyncio
import os
import re
from base64 import b64encode
from collections.abc import Iterator

import httpx
import pytest
from mlflow.server import app as flask_app
from mlflow.server import constants, handlers
from mlflow.server.fastapi_app import app as fastapi_app
from mlflow.utils.server_info import SERVER_INFO_ENDPOINT
from starlette.responses import PlainTextResponse

from sentiflow.edge import Origins
from sentiflow.store import ui_server as pages
from sentiflow.store.ui_server import PAGES, TEAM, _expression

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
# What may be served, as it begins below /api/ and /ajax-api/; with accounts, also what follows.
KINDS = [
    "2.0/mlflow/artifacts/list", "2.0/mlflow/experiments", "2.0/mlflow/logged-models", "2.0/mlflow/metrics",
    "2.0/mlflow/model-versions", "2.0/mlflow/registered-models", "2.0/mlflow/runs",
    "2.0/mlflow/traces/delete-traces", "3.0/mlflow/label-schemas", "3.0/mlflow/review-queues",
    "3.0/mlflow/server-info", "3.0/mlflow/traces", "3.0/mlflow/get-trace-artifact",
]  # fmt: skip
OF_TEAM = ["2.0/mlflow-artifacts/artifacts", "2.0/mlflow/users", "3.0/mlflow/users", "3.0/mlflow/roles"]
FILES = ("/static-files/x", "/get-artifact", "/model-versions/get-artifact")
OTHERS = {("GET", path) for path in ("/", "/health", "/version", *FILES)} | {("POST", "/graphql")}


def routes() -> Iterator[tuple[str, str]]:
    """Every method and path of the installed release; in place of a part that may be anything, one that fits."""
    for rule in flask_app.url_map.iter_rules():
        for method in (rule.methods or set()) & set(METHODS):
            yield method, re.sub("<[^>]+>", "x", rule.rule)
    for included in fastapi_app.routes:
        router = getattr(included, "original_router", None)
        for route in router.routes if router else ():
            for method in route.methods & set(METHODS):
                yield method, included.include_context.prefix + re.sub("{[^}]+}", "x", route.path)


def served(paths: list[tuple[str, str]]) -> set[tuple[str, str]]:
    expression = _expression(paths)
    return {route for route in routes() if expression.fullmatch(" ".join(route))}


def kind(path: str) -> str:
    """What a path is below /api/ or /ajax-api/."""
    return re.sub("^/(ajax-)?api/", "", path)


def test_the_routers_are_read_whole() -> None:
    found = set(routes())
    assert len(found) > 350
    assert {
        ("PUT", "/ajax-api/3.0/mlflow/assistant/config"), ("POST", "/v1/traces"), ("POST", "/ajax-api/3.0/jobs/"),
        ("POST", "/gateway/x/mlflow/invocations"), ("GET", "/api/3.0/mlflow/mcp-servers/x"),
        ("POST", "/api/3.0/mlflow/gateway/secrets/create"), ("GET", "/health"),
    } <= found  # fmt: skip


def test_only_routes_of_these_kinds_are_served() -> None:
    for paths, kinds in ((PAGES, KINDS), (TEAM, [*KINDS, *OF_TEAM])):
        for method, path in served(paths) - OTHERS:
            assert re.match("/(ajax-)?api/", path), path
            assert any(kind(path) == one or kind(path).startswith(f"{one}/") for one in kinds), (method, path)


def test_what_is_served_is_what_is_listed() -> None:
    """And no route of a new release that a `*` lets in. Below one of both prefixes is enough."""
    there = {(method, kind(path)) for method, path in served(PAGES)}
    listed = {(method, kind(path).replace("**", "x").replace("*", "x")) for method, path in PAGES}
    assert listed == there


def test_variables_are_called_as_mlflow_calls_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"_MLFLOW_STATIC_PREFIX": "/x"})
    pages.set_environment("store", "root", "folder")
    names = "BACKEND_STORE_URI", "REGISTRY_STORE_URI", "ARTIFACT_ROOT", "SERVE_ARTIFACTS", "ARTIFACTS_DESTINATION"
    assert {getattr(constants, f"{name}_ENV_VAR") for name in names} <= set(os.environ)
    assert handlers.STATIC_PREFIX_ENV_VAR not in os.environ


def test_the_handlers_that_are_checked_are_mlflows() -> None:
    assert set(pages._checks()) <= set(flask_app.view_functions)


def test_programs_get_files_of_a_bucket_from_the_server() -> None:
    """Red if clients were told to fetch them themselves: they have no keys, and perhaps no way there."""
    assert ("GET", SERVER_INFO_ENDPOINT) not in TEAM
    assert ("GET", SERVER_INFO_ENDPOINT.replace("/api/", "/ajax-api/")) in TEAM


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("ml.example.com", "https://ml.example.com", 200),
        ("ml.example.com", "http://ml.example.com", 403),
        ("ml.example.com", "https://evil.example", 403),
        ("ml.example.com", "https://ml.example.com:8443", 403),
        ("ml.example.com:8443", "https://ml.example.com:8443", 421),
        ("evil.example", "https://ml.example.com", 421),
        ("mlflow:5000", "http://mlflow:5000", 200),
        ("mlflow:5000", "https://ml.example.com", 403),
    ],
)
def test_behind_a_proxy_its_own_pages_are_those_of_the_public_address(host: str, origin: str, status: int) -> None:
    edge = pages.MlflowEdge(
        PlainTextResponse("here"), TEAM, Origins([("mlflow", 5000)], public="https://ml.example.com/mlflow")
    )
    asked = {"Host": host, "Origin": origin}

    async def ask() -> int:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(edge), base_url="http://here") as client:
            return (await client.get("/version", headers=asked)).status_code

    assert asyncio.run(ask()) == status


@pytest.mark.parametrize(
    ("name", "status"),
    [("anna", 200), ("Zoë 7", 200), ("", 401), (" ", 401), ("a\nb", 401), ("a\0", 401), ("\u202eanna", 401)],
)
def test_a_name_that_cannot_be_read_is_no_login(name: str, status: int) -> None:
    """Nor a labeller: it would stand beside labels."""
    edge = pages.MlflowEdge(PlainTextResponse("here"), PAGES, Origins([("here", 80)]), login="sentiflow:secret")
    login = {"Authorization": f"Basic {b64encode(f'{name}:secret'.encode()).decode()}"}

    async def ask() -> int:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(edge), base_url="http://here") as client:
            return (await client.get("/version", headers=login)).status_code

    assert asyncio.run(ask()) == status
