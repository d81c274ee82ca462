"""``sentiflow ui``: who is answered, and what."""

import base64
import json
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from mlflow.tracking import MlflowClient
from playwright.sync_api import Page

from flows.cli.output import to_open
from sentiflow.store.ui import ui_url
from tests import browsers, servers
from tests.ui import Ui, running_ui
from tests.world import World, make_world

SEARCH = "/api/2.0/mlflow/experiments/search?max_results=5"
CONFIG = "/ajax-api/3.0/mlflow/assistant/config"
CREATE = "/api/2.0/mlflow/experiments/create"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, migrated_store: Path) -> World:
    """A store, in a folder that somebody else gave: the command runs there."""
    made = make_world(tmp_path_factory.mktemp("ui"), migrated_store)
    for name in ("mlflow", "uvicorn", "starlette", "flask", "sitecustomize"):
        (made.root / f"{name}.py").write_text(f"open({str(made.root / 'imported')!r}, 'a').write(__name__)")
    return made


@pytest.fixture(scope="module")
def ui(place: World) -> Iterator[Ui]:
    with running_ui(place) as running:
        yield running


@pytest.fixture
def page(ui: Ui) -> Iterator[Page]:
    """A browser that knows the login."""
    with browsers.chromium() as browser:
        context = browser.new_context(http_credentials=ui.credentials)
        context.add_init_script("localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')")
        opened = context.new_page()
        opened.set_default_timeout(60_000)
        yield opened


def status_of(ui: Ui, path: str, *headers: str, method: str = "GET", login: bool = True, host: str = "") -> int:
    """The status of the answer to a request that is sent as it is written."""
    given = base64.b64encode(":".join(ui.login).encode()).decode()
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host or ui.root.removeprefix('http://')}", "Connection: close"]
    lines += [f"Authorization: Basic {given}"] if login else []
    with socket.create_connection(("127.0.0.1", ui.port), timeout=60) as connection:
        connection.sendall("\r\n".join([*lines, *headers, "", ""]).encode("latin-1"))
        return int(connection.recv(100).split()[1])


def test_people_may_give_their_own_names_and_not_their_own_passwords(ui: Ui) -> None:
    """What MLflow's page of reviews asks, to put a name beside a label."""
    asked = f"{ui.root}/ajax-api/2.0/mlflow/users/current"
    login, password = ui.login

    def answer(*given: str) -> httpx.Response:
        return httpx.get(asked, auth=(given[0], given[1]), trust_env=False)

    assert answer("Änne", password).json()["user"] == {"id": 0, "username": "Änne", "is_admin": False}
    assert answer(login, password).status_code == 404
    assert [answer("anna", wrong).status_code for wrong in ("", "sentiflow", password[:-1])] == [401] * 3


def test_without_the_login_only_the_health_check_answers(ui: Ui) -> None:
    assert status_of(ui, "/health", login=False) == 200
    for path in ("/", "/version", "/static-files/index.html", SEARCH, CONFIG, "/health/", "/api/none"):
        assert status_of(ui, path, login=False) == 401, path
    for method in ("POST", "PUT", "OPTIONS"):
        assert status_of(ui, "/health", method=method, login=False) == 401, method


@pytest.mark.parametrize(
    "given",
    ["Basic", "Basic ", "Basic x", "Basic \xe9", "Basic c2VudGlmbG93Og==", "Bearer x", "Basic " + "A" * 9_000],
)
def test_a_wrong_login_is_refused(ui: Ui, given: str) -> None:
    assert status_of(ui, SEARCH, f"Authorization: {given}", login=False) == 401


def test_only_the_owner_can_read_the_login_and_no_process_has_it_as_an_argument(ui: Ui, place: World) -> None:
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (ui.note.parent, ui.note)]
    assert modes == [0o700, 0o600]
    words = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in place.processes()]
    assert len(words) == 2 and not any(ui.login[1].encode() in each for each in words)


def test_links_lead_to_the_one_that_runs_on_this_store(ui: Ui, place: World) -> None:
    """Red if they named a port that nobody listens at any more, or where another store is shown."""
    killed = json.loads(ui.note.read_text()) | {"ui": f"http://127.0.0.1:{servers.free_port()}"}
    (left := ui.note.with_name("killed.json")).write_text(json.dumps(killed))
    try:
        assert ui_url(place.settings) == ui.root
        assert to_open(f"{ui.root}/#/", place.settings) == f"{ui.root}/#/"
        other = place.settings.model_copy(update={"tracking_uri": "sqlite:////elsewhere/mlflow.db"})
        assert ui_url(other) == "http://127.0.0.1:5000"
        ui.note.rename(away := ui.note.with_name("away"))
        try:
            assert ui_url(place.settings) == "http://127.0.0.1:5000"
            assert to_open("there", place.settings).endswith(" ui   then there")
        finally:
            away.rename(ui.note)
    finally:
        left.unlink()


def test_it_leaves_the_current_folder_and_imports_nothing_of_it(ui: Ui, place: World) -> None:
    (server,) = (pid for pid in place.processes() if pid != ui.process.pid)
    assert Path(f"/proc/{server}/cwd").readlink() == Path("/")
    assert status_of(ui, "/") == 200
    assert not (place.root / "imported").exists()


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "10.evil.example:{port}", "localhost", "localhost:1", "127.0.0.1:{port}\r\nHost: evil",
        "127.0.0.1:{port}@evil.example",
    ],
)  # fmt: skip
def test_it_answers_to_no_foreign_name(ui: Ui, host: str) -> None:
    for path in ("/health", "/", SEARCH):
        assert status_of(ui, path, host=host.format(port=ui.port)) in (400, 421), path


def test_it_answers_to_the_names_of_this_machine(ui: Ui) -> None:
    for name in ("127.0.0.1", "localhost", "LOCALHOST", "[::1]"):
        assert status_of(ui, SEARCH, host=f"{name}:{ui.port}") == 200, name


@pytest.mark.parametrize(
    "header",
    [
        "Origin: http://localhost:1", "Origin: http://127.0.0.1:9", "Origin: http://localhost:{port}",
        "Origin: null", "Origin: http://evil.example", "Origin:",
        "Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site", "Sec-Fetch-Site: other",
        "Origin: http://127.0.0.1:{port}\r\nOrigin: http://evil.example",
    ],
)  # fmt: skip
def test_pages_of_other_sites_and_ports_get_nothing(ui: Ui, header: str) -> None:
    sent = header.format(port=ui.port)
    for path in (SEARCH, "/health", "/static-files/index.html", "/"):
        assert status_of(ui, path, sent) == 403, path
    navigation = "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"
    assert status_of(ui, SEARCH, sent, *navigation) == 403
    assert status_of(ui, CREATE, sent, "Content-Length: 0", method="POST") == 403


def test_a_link_on_another_site_opens_the_pages_and_no_frame_does(ui: Ui) -> None:
    cross = "Sec-Fetch-Site: cross-site"
    assert status_of(ui, "/", cross, "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document") == 200
    assert status_of(ui, "/", cross, "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe") == 403
    with ui.client(Origin=ui.root) as client:
        answer = client.get("/static-files/index.html")
    assert answer.headers["content-security-policy"] == "frame-ancestors 'self'"
    assert not [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize(
    "path",
    [
        CONFIG, "/{0}3.0/mlflow/assistant/message", "/{0}3.0/mlflow/assistant/providers/ollama/models?base_url=x",
        "/{0}3.0/mlflow/assistant/providers", "/{0}3.0/jobs/", "/{0}3.0/mlflow/jobs/1", "/v1/traces",
        "/gateway/mlflow/v1/models", "/{0}3.0/mlflow/gateway/secrets/list", "/{0}3.0/mlflow/mcp-servers",
        "/{0}2.0/mlflow/webhooks", "/{0}3.0/mlflow/scorers/list", "/{0}3.0/mlflow/scorer/invoke",
        "/{0}3.0/mlflow/prompt-optimization/jobs", "/{0}2.0/mlflow/upload-artifact",
        "/{0}2.0/mlflow-artifacts/artifacts", "/{0}2.0/mlflow/gateway-proxy",
        "/{0}3.0/mlflow/demo/generate",
        "/{0}2.0/mlflow/runs/create-promptlab-run", "/{0}3.0/mlflow/workspaces", "/docs", "/openapi.json",
    ],
)  # fmt: skip
def test_what_runs_code_or_calls_others_is_not_there(ui: Ui, path: str) -> None:
    for prefix in ("api/", "ajax-api/"):
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "TRACE"):
            if "gateway-proxy" in path and method in ("GET", "HEAD") and prefix == "ajax-api/":
                continue  # a list that is always empty, for the page of runs
            assert status_of(ui, path.format(prefix), "Content-Length: 0", method=method) == 404, (method, prefix)


@pytest.mark.parametrize(
    "path",
    [
        "//ajax-api/3.0/mlflow/assistant/config", "/AJAX-API/3.0/mlflow/assistant/config",
        "/ajax-api/3.0/mlflow/traces/../assistant/config", "/ajax-api/3.0/mlflow/traces%2f..%2fassistant%2fconfig",
        "/ajax-api/3.0/mlflow/assistant/config%0a", "/static-files/../ajax-api/3.0/mlflow/assistant/config",
        "/static-files/%2e%2e/%2e%2e/__init__.py", "http://127.0.0.1/ajax-api/3.0/mlflow/assistant/config",
    ],
)  # fmt: skip
def test_no_other_spelling_of_a_path_leads_there(ui: Ui, path: str) -> None:
    for method in ("GET", "PUT"):
        assert status_of(ui, path, "Content-Length: 0", method=method) == 404, method


def _refused(ui: Ui, path: str, body: Any, word: str, method: str = "POST") -> None:
    text = body if isinstance(body, str) else json.dumps(body)
    with ui.client(**{"Content-Type": "application/json"}) as client:
        answer = client.request(method, path, content=text)
    assert (answer.status_code, word in answer.text) == (400, True), (path, body, answer.text)


@pytest.mark.parametrize("name", ["artifact_location", "artifactLocation", "artifact\\u005flocation"])
@pytest.mark.parametrize("root", ["api", "ajax-api"])
def test_an_experiment_keeps_its_files_where_the_server_says(ui: Ui, tmp_path: Path, name: str, root: str) -> None:
    body = f'{{"name": "elsewhere", "{name}": "{tmp_path}"}}'
    for form in (body, json.dumps(body)):  # MLflow also takes an object within a text
        _refused(ui, f"/{root}/2.0/mlflow/experiments/create", form, "artifact_location")
    with ui.client() as client:
        assert "elsewhere" not in client.get(SEARCH).text


def _trace(trace_id: str, **tags: str) -> dict[str, Any]:
    place = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "1"}}
    info = {"trace_id": trace_id, "trace_location": place, "request_time": "2026-01-01T00:00:00Z", "state": "OK"}
    return {"trace": {"trace_info": {**info, "tags": tags}}}


def test_a_trace_keeps_its_data_where_the_server_says(ui: Ui, tmp_path: Path) -> None:
    (tmp_path / "traces.json").write_text('{"spans": []}')
    traces = "/ajax-api/3.0/mlflow/traces"
    with ui.client() as client:
        assert client.post(traces, json=_trace("tr-1")).status_code == 200
    elsewhere = {"key": "mlflow.artifactLocation", "value": str(tmp_path)}
    _refused(ui, f"{traces}/tr-1/tags", elsewhere, "mlflow.artifactLocation", "PATCH")
    for tag in ("mlflow.artifactLocation", "mlflow.trace.spansLocation", "mlflow.trace.archiveLocation"):
        _refused(ui, traces, _trace("tr-2", **{tag: str(tmp_path)}), tag)
    for trace_id in (f"../../../../../../..{tmp_path}/x", "..", "a/b", ""):
        _refused(ui, traces, _trace(trace_id), "trace_id")
    with ui.client() as client:
        assert client.patch(f"{traces}/tr-1/tags", json={"key": "note", "value": "x"}).status_code == 200


@pytest.mark.parametrize(
    "source", ["s3://bucket/x", "http://127.0.0.1:1/x", "/etc", "file:///etc", "gs://x", "x:y"]
)
def test_a_version_has_its_files_in_the_store(ui: Ui, source: str) -> None:
    with ui.client() as client:
        client.post("/api/2.0/mlflow/registered-models/create", json={"name": "mine"})
    _refused(ui, "/api/2.0/mlflow/model-versions/create", {"name": "mine", "source": source}, "source")


def test_mlflows_client_works_with_the_login(ui: Ui, monkeypatch: pytest.MonkeyPatch) -> None:
    user, password = ui.login
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", user)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", password)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    client = MlflowClient(ui.root, ui.root)
    run = client.create_run("1").info.run_id
    client.log_metric(run, "test/accuracy", 0.875)
    client.log_text(run, "as it was", "model/note.txt")
    client.set_terminated(run)
    client.create_registered_model("theirs")
    source = f"{client.get_run(run).info.artifact_uri}/model"
    version = client.create_model_version("theirs", source, run)
    client.set_registered_model_alias("theirs", "champion", version.version)
    assert client.get_model_version_by_alias("theirs", "champion").run_id == run
    assert [found.data.metrics for found in client.search_runs(["1"])] == [{"test/accuracy": 0.875}]
