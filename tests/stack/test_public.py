"""The profile `proxy`: the stack's pages behind Caddy, under host names of their own, and under one with paths."""

import asyncio
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest
from mlflow.tracking import MlflowClient
from playwright.sync_api import Browser, HttpCredentials, expect
from prefect.events.clients import get_events_subscriber
from prefect.events.filters import EventFilter, EventNameFilter
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_SSL_CERT_FILE,
    PREFECT_API_URL,
    temporary_settings,
)

from tests.browsers import chromium, foreign_requests
from tests.servers import free_port
from tests.stack.team import Team, team

pytestmark = [pytest.mark.story, pytest.mark.weekly, pytest.mark.timeout(600)]

# No deployments, and no worker.
SERVICES = (
    "postgres", "settle", "mlflow-migrate", "mlflow", "mlflow-accounts", "prefect-migrate", "prefect", "api",
    "proxy",
)  # fmt: skip
NAMES = {"MLFLOW": "mlflow.localhost", "PREFECT": "prefect.localhost", "API": "reviews.localhost"}
PATHS = {"MLFLOW": "/mlflow", "PREFECT": "/prefect", "API": "/reviews"}
REVIEW = "The acting was touching, but the ending was dull."


@pytest.fixture(scope="module")
def stack() -> Iterator[Team]:
    if shutil.which("caddy") is None:
        pytest.skip("needs Debian's package caddy; CI installs it")
    ports = {name: str(free_port()) for name in ("HTTP_PORT", "HTTPS_PORT")}
    with team(SENTIFLOW_SCHEDULE_DATASET="base", **ports) as made:  # the model of the package
        made.run("make", "folders")
        yield made


@pytest.fixture(scope="module", params=["names", "paths"])
def addresses(request: pytest.FixtureRequest, stack: Team) -> dict[str, str]:
    """The running services', by the part of the settings' names."""
    port = stack.port("HTTPS_PORT")
    given = {name: f"https://{NAMES[name]}:{port}" for name in NAMES}
    if request.param == "paths":
        given = {name: f"https://localhost:{port}{path}" for name, path in PATHS.items()}
    with (stack.project / ".env").open("a") as file:
        file.writelines(f"{name}_PUBLIC_URL={address}\n" for name, address in given.items())
    stack.compose("--profile", "proxy", "kill", "mlflow", "prefect", "api", "proxy")
    stack.compose("--profile", "proxy", "up", *SERVICES)
    return given


def test_the_three_pages_work_in_a_browser(stack: Team, addresses: dict[str, str]) -> None:
    with chromium() as browser:
        _look(stack, addresses, browser)


def _look(stack: Team, addresses: dict[str, str], browser: Browser) -> None:
    login: HttpCredentials = {"username": "admin", "password": stack.secret("MLFLOW_ADMIN_PASSWORD")}
    context = browser.new_context(ignore_https_errors=True, http_credentials=login)
    asked = foreign_requests(context, urlsplit(addresses["MLFLOW"]).hostname or "")
    page = context.new_page()
    page.goto(f"{addresses['MLFLOW']}/#/experiments")
    expect(page.get_by_role("link", name="Default")).to_be_visible()
    page.wait_for_timeout(2_000)
    assert not asked
    context.close()
    context = browser.new_context(ignore_https_errors=True)
    asked = foreign_requests(context, urlsplit(addresses["PREFECT"]).hostname or "")
    page = context.new_page()
    page.goto(addresses["PREFECT"])
    page.locator("input").first.fill(stack.secret("PREFECT_LOGIN"))
    page.keyboard.press("Enter")
    expect(page.get_by_text("Run a task or flow to get started")).to_be_visible()
    page.reload()  # a path of the page itself
    expect(page.get_by_role("link", name="Deployments")).to_be_visible()
    page.wait_for_timeout(2_000)
    assert not asked, "Prefect's analytics"
    context.unroute_all()
    page.goto(addresses["API"])
    page.get_by_label("Review").fill(REVIEW)
    page.keyboard.press("Control+Enter")
    expect(page.locator("#verdict")).to_contain_text(re.compile(r"(posi|nega)tive score 0\.\d+"))
    expect(page.locator("#model")).to_contain_text("Model: base")
    page.get_by_role("link", name="API docs").click()
    predict = page.locator(".opblock", has_text="/predict")
    predict.get_by_role("button").first.click()
    predict.get_by_role("button", name="Try it out").click()
    predict.get_by_role("button", name="Execute").click()
    expect(predict.locator(".live-responses-table")).to_contain_text('"predictions"')
    context.close()


def test_programs_of_other_machines_get_through(stack: Team, addresses: dict[str, str]) -> None:
    if "localhost/" not in re.sub(r":\d+", "", addresses["MLFLOW"]):
        pytest.skip("only browsers find these names on this machine")
    authority = str(_authority(stack))
    with pytest.MonkeyPatch.context() as patch, stack.logged_in():
        patch.setenv("REQUESTS_CA_BUNDLE", authority)
        client = MlflowClient(addresses["MLFLOW"], addresses["MLFLOW"])
        run = client.create_run("0").info.run_id
        client.log_text(run, "through the proxy", "notes/a b.txt")
        (noted,) = client.list_artifacts(run, "notes")
        assert Path(client.download_artifacts(run, noted.path, str(stack.root))).read_text() == "through the proxy"
    settings = {
        PREFECT_API_URL: f"{addresses['PREFECT']}/api", PREFECT_API_AUTH_STRING: stack.secret("PREFECT_LOGIN"),
        PREFECT_API_SSL_CERT_FILE: authority,
    }  # fmt: skip
    with temporary_settings(settings):
        heard = asyncio.run(asyncio.wait_for(_heard(addresses["PREFECT"], stack), 30))
        assert heard == "told.through.the.proxy"


def test_foreign_names_pages_and_passwords_are_refused(stack: Team, addresses: dict[str, str]) -> None:
    port = stack.port("HTTPS_PORT")
    login = ("admin", stack.secret("MLFLOW_ADMIN_PASSWORD"))
    experiments = "/api/2.0/mlflow/experiments/search?max_results=1"
    own, foreign = ("/".join(addresses["MLFLOW"].split("/")[:3]), f"https://evil.example:{port}")

    def status(name: str, path: str, **headers: str) -> int:
        host, slash, prefix = addresses[name].removeprefix("https://").partition("/")
        extensions = {"sni_hostname": host.partition(":")[0]}
        who = login if name == "MLFLOW" else None
        with _client(stack) as client:  # a connection is of one name
            url = f"https://127.0.0.1:{port}{slash}{prefix}{path}"
            return client.get(url, headers={"Host": host, **headers}, auth=who, extensions=extensions).status_code

    assert status("MLFLOW", experiments) == status("MLFLOW", experiments, Origin=own) == 200
    plain = own.replace("https", "http")
    for origin in (foreign, plain, f"http://127.0.0.1:{stack.port('MLFLOW_PORT')}", "null"):
        assert status("MLFLOW", experiments, Origin=origin) == 403, origin
    assert status("API", "/metrics") == 404, "figures are for the stack's own Prometheus"
    assert status("API", "/model") == 200 and status("API", "/model", Origin=foreign) == 403
    assert status("PREFECT", "/api/admin/version") == 401
    for name in addresses:
        assert status(name, "/", Host=f"evil.example:{port}") == 421, name
    direct = f"http://127.0.0.1:{stack.port('MLFLOW_PORT')}"
    for host, answer in (("evil.example", 421), (f"localhost:{stack.port('MLFLOW_PORT')}", 200)):
        assert httpx.get(f"{direct}{experiments}", auth=login, headers={"Host": host}).status_code == answer


def _authority(stack: Team) -> Path:
    return stack.root / "state/volumes/proxy/caddy/pki/authorities/local/root.crt"


def _client(stack: Team) -> httpx.Client:
    return httpx.Client(verify=str(_authority(stack)), trust_env=False, timeout=30)


async def _heard(address: str, stack: Team) -> str:
    """The event that comes over the websocket once it was sent."""
    wanted = EventFilter(event=EventNameFilter(name=["told.through.the.proxy"]))
    user, _, password = stack.secret("PREFECT_LOGIN").partition(":")
    event = {"event": "told.through.the.proxy", "resource": {"prefect.resource.id": "a.test"}, "id": str(uuid4())}
    event["occurred"] = datetime.now(UTC).isoformat()
    async with get_events_subscriber(wanted) as events:
        with _client(stack) as client:
            client.post(f"{address}/api/events", json=[event], auth=(user, password)).raise_for_status()
        async for heard in events:
            return str(heard.event)
    raise AssertionError("the connection closed")
