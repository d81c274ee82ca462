"""The team's stack, by the commands of the compose file: one story, its chapters in order."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import httpx
import pytest
from mlflow.tracking import MlflowClient
from playwright.sync_api import HttpCredentials, expect
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_URL,
    PREFECT_CLIENT_MAX_RETRIES,
    temporary_settings,
)

from tests.browsers import chromium, foreign_requests
from tests.polling import until
from tests.stack import compose
from tests.stack.compose import Stack
from tests.stack.told import told_of
from tests.world import command

pytestmark = [pytest.mark.story, pytest.mark.weekly, pytest.mark.timeout(900)]

MODEL = "sample-sentiment"
# Whatever the processor adds up first: it is no close decision.
TEXT = "The direction was touching and rewarding, and the cast felt superb. I loved the charming ending."
SHORT: dict[str, Any] = {"recipe": "tutorial", "sequence_length": 40}
SERVICES = (  # in the order of what each waits for
    "settle", "mlflow-migrate", "mlflow", "mlflow-accounts", "prefect-migrate", "prefect", "deploy", "worker",
    "api",
)  # fmt: skip
PUBLIC = {"MLFLOW": "mlflow", "PREFECT": "prefect", "API": "reviews"}
SEARCH = "api/2.0/mlflow/experiments/search?max_results=1"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The stack, with a training every few seconds."""
    settings = {
        "SENTIFLOW_SCHEDULE_TRAIN": "every 30s",
        "SENTIFLOW_SCHEDULE_DATASET": "sample",
        "SENTIFLOW_SCHEDULE_RECIPE": "tutorial",
        "SENTIFLOW_SCHEDULE_HOUSEKEEPING": "off",  # at its hour it would come in between
        **{f"{name}_PUBLIC_URL": f"https://localhost:{{HTTPS_PORT}}/{path}" for name, path in PUBLIC.items()},
    }
    with (
        compose.stack(tmp_path_factory.mktemp("stack"), **settings) as made,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name in SERVICES:
            made.start(name)
        patch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
        patch.setenv("MLFLOW_TRACKING_PASSWORD", made.secret("MLFLOW_ADMIN_PASSWORD"))
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "5")
        values: dict[Any, Any] = {
            PREFECT_API_URL: f"{made.address('PREFECT')}/api",
            PREFECT_API_AUTH_STRING: made.secret("PREFECT_LOGIN"),
            PREFECT_CLIENT_MAX_RETRIES: 5,
        }
        with temporary_settings(values):
            yield made


@pytest.fixture
def mlflow(stack: Stack) -> MlflowClient:
    return MlflowClient(stack.address("MLFLOW"), stack.address("MLFLOW"))


def status(
    stack: Stack, path: str, who: str | None, body: object = None, server: str = "MLFLOW", **headers: str
) -> int:
    """The status of an answer, with a name and a password (``name:password``) or without."""
    name, _, password = (who or "").partition(":")
    return httpx.request(
        "GET" if body is None else "POST", f"{stack.address(server)}/{path}", json=body, headers=headers,
        auth=(name, password) if who else None, trust_env=False, timeout=30,
    ).status_code  # fmt: skip


def asked(stack: Stack, path: str, body: object = None) -> Any:
    """What the API says; None while it is not ready."""
    method = "GET" if body is None else "POST"
    got = httpx.request(method, f"{stack.address('API')}{path}", json=body, trust_env=False, timeout=60)
    return got.json() if got.is_success else None


def begin(flow: str, **parameters: Any) -> UUID:
    """Ask for a run of a deployment."""
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name(f"{flow}/{flow}")
        return client.create_flow_run_from_deployment(deployment.id, parameters=parameters).id


def ended(stack: Stack, run_id: UUID) -> FlowRun:
    """Wait for a flow run to end."""
    with get_client(sync_client=True) as client:
        until(
            lambda: (state := client.read_flow_run(run_id).state) and state.is_final(), "its end", 150, stack.log
        )
        return client.read_flow_run(run_id)


def training(stack: Stack, client: MlflowClient, flow_run: UUID) -> Any:
    """The MLflow run of a flow run that trains, once it has trained."""

    def find() -> Any:
        ids = [found.experiment_id for found in client.search_experiments()]
        found = client.search_runs(ids, f"tags.`prefect.flow_run_id` = '{flow_run}'")
        return next((run for run in found if "train/loss" in run.data.metrics), None)

    return until(find, "a training", 120, stack.log)


def test_the_schedule_trains_and_registers_in_the_team_s_server(stack: Stack, mlflow: MlflowClient) -> None:
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name("train/train")
        wanted = DeploymentFilter(id=DeploymentFilterId(any_=[deployment.id]))

        def begun() -> list[FlowRun]:
            runs = client.read_flow_runs(deployment_filter=wanted)
            return [run for run in runs if run.state and run.state.type != StateType.SCHEDULED]

        until(begun, "a run", 180, stack.log)
        client.update_deployment_schedule(deployment.id, deployment.schedules[0].id, active=False)  # one is enough
        runs = begun()
    assert all(run.auto_scheduled for run in runs)
    assert {ended(stack, run.id).state_name for run in runs} <= {"Completed", "Skipped"}, stack.log()
    run = mlflow.get_run(str(mlflow.get_model_version(MODEL, "1").run_id))
    assert run.data.tags["started_by"].endswith("deployment train")
    assert UUID(run.data.tags["prefect.flow_run_id"]) in {run.id for run in runs}
    location = mlflow.get_experiment(run.info.experiment_id).artifact_location
    assert str(location).startswith("mlflow-artifacts:/")


def test_a_promoted_version_answers_over_http(stack: Stack) -> None:
    assert asked(stack, "/healthz") == {"status": "alive"}
    assert asked(stack, "/readyz") is None
    promoted = ended(stack, begin("promote", dataset="sample", version=1))
    assert promoted.state_name == "Completed", promoted.state and promoted.state.message
    until(lambda: asked(stack, "/readyz"))
    assert asked(stack, "/predict", {"text": TEXT})["predictions"][0]["label"] == "positive"
    assert asked(stack, "/model")["version"] == 1


def test_a_member_s_shell_works_with_the_servers(stack: Stack) -> None:
    shell = f". stack/client.sh; {command()} versions --dataset sample; {command()} runs"
    done = subprocess.run(["sh", "-euc", shell], cwd=stack.root, capture_output=True, text=True, check=True)
    assert re.search(r"^1 +champion ", done.stdout, re.MULTILINE)
    assert re.search(r" tutorial-seed0 +sample +\d\d\.\d\d% +v1 ", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("who", [None, "admin:wrong", "nobody:"])
def test_both_servers_refuse_a_request_without_the_password(stack: Stack, who: str | None) -> None:
    assert status(stack, SEARCH, who) == 401
    assert status(stack, "api/2.0/mlflow-artifacts/artifacts", who) == 401
    assert status(stack, "api/flows/filter", who, {}, "PREFECT") == 401
    assert status(stack, "api/admin/settings", who, server="PREFECT") == 401


def test_the_api_s_account_reads_and_neither_changes_nor_makes_anything(
    stack: Stack, mlflow: MlflowClient
) -> None:
    who = f"reader:{stack.secret('MLFLOW_READER_PASSWORD')}"
    assert status(stack, f"api/2.0/mlflow/registered-models/get?name={MODEL}", who) == 200
    for path, body in (
        ("api/2.0/mlflow/registered-models/alias", {"name": MODEL, "alias": "champion", "version": "1"}),
        ("api/2.0/mlflow/registered-models/create", {"name": "imdb-sentiment"}),
        ("api/2.0/mlflow/experiments/create", {"name": "mine", "artifact_location": "file:///tmp/mine"}),
        ("api/3.0/mlflow/traces", {}),
    ):  # fmt: skip
        assert status(stack, path, who, body) == 403, path
    assert {found.name for found in mlflow.search_registered_models()} == {MODEL}


def test_the_worker_s_account_is_no_administrator_s(stack: Stack) -> None:
    """It trains, registers and promotes (the other chapters), and gives nobody an account."""
    who = f"worker:{stack.secret('MLFLOW_WORKER_PASSWORD')}"
    assert status(stack, "api/2.0/mlflow/users/get?username=worker", who) == 200
    body = {"username": "mine", "password": "mine-for-ever-and-ever"}
    assert status(stack, "api/2.0/mlflow/users/create", who, body) == 403


def test_what_mlflow_runs_and_keeps_for_others_is_not_served(stack: Stack) -> None:
    """By default every account may store keys of other services, and let the server use them."""
    who = f"admin:{stack.secret('MLFLOW_ADMIN_PASSWORD')}"
    for path in (
        "ajax-api/3.0/mlflow/assistant/message", "api/3.0/mlflow/gateway/secrets/create", "v1/traces",
        "ajax-api/3.0/jobs/", "api/2.0/mlflow/webhooks", "ajax-api/2.0/mlflow/upload-artifact",
    ):  # fmt: skip
        assert status(stack, path, who, {}) == 404, path


def test_mlflow_answers_to_no_foreign_name_and_to_no_page_of_another_port(stack: Stack) -> None:
    """A browser that is logged in to MLflow may show a page of the API, which strangers ask."""
    for host, answer in ((f"localhost:{stack.port('MLFLOW')}", 401), ("evil.example", 421)):
        assert status(stack, SEARCH, None, Host=host) == answer
    who = f"admin:{stack.secret('MLFLOW_ADMIN_PASSWORD')}"
    for origin, answer in (
        (stack.address("MLFLOW"), 200), (stack.address("API"), 403), ("http://localhost:1", 403), ("null", 403),
    ):  # fmt: skip
        assert status(stack, SEARCH, who, Origin=origin) == answer, origin


def test_each_role_may_do_what_the_guide_says(stack: Stack) -> None:
    people = {"ada": "trainer", "bea": "approver", "job": "ci", "cleo": "reader"}
    for name, role in people.items():
        done = stack.by_hand("sh", "stack/accounts.sh", role, name)
        assert f"{name}: made, now {role}" in done.stdout, done.stderr
        assert stack.secret(f"accounts/{name}") not in done.stdout
    alias = {"name": MODEL, "alias": "mine", "version": "1"}
    found = {}
    for name in people:
        who = f"{name}:{stack.secret(f'accounts/{name}')}"
        assert status(stack, f"api/2.0/mlflow/registered-models/get?name={MODEL}", who) == 200
        found[people[name]] = [
            status(stack, f"api/2.0/mlflow/{path}", who, body)
            for path, body in (
                ("experiments/create", {"name": name}), ("runs/create", {"experiment_id": "1"}),
                ("registered-models/alias", alias),
            )
        ]  # fmt: skip
    assert found == {
        "reader": [403, 403, 403], "ci": [200, 403, 403], "trainer": [200, 200, 403], "approver": [200, 200, 200],
    }  # fmt: skip


def test_an_account_changes_and_ends(stack: Stack) -> None:
    before = stack.secret("accounts/cleo")
    assert "cleo: now ci" in stack.by_hand("sh", "stack/accounts.sh", "ci", "cleo").stdout
    assert stack.secret("accounts/cleo") == before
    stack.by_hand("sh", "stack/accounts.sh", "password", "cleo")
    assert stack.secret("accounts/cleo") != before
    assert stack.by_hand("sh", "stack/accounts.sh", "remove", "cleo").returncode == 0
    assert not (stack.root / "secrets" / "accounts" / "cleo").exists()
    done = stack.by_hand("sh", "stack/accounts.sh", "password", "nobody")
    assert done.returncode == 3 and "Traceback" not in done.stderr
    for words in ((), ("trainer",), ("owner", "ada"), ("trainer", "worker"), ("trainer", "../x")):
        assert stack.by_hand("sh", "stack/accounts.sh", *words).returncode == 2, words


def test_a_secret_is_exchanged_also_after_a_kill_and_when_its_file_was_overwritten(stack: Stack) -> None:
    old, name = stack.secret("MLFLOW_ADMIN_PASSWORD"), "MLFLOW_ADMIN_PASSWORD"
    file = stack.root / "secrets" / name
    file.unlink()
    file.write_text("overwritten1234")
    (file.parent / f".{name}.new").write_text("begunandkilled12")  # as a killed exchange leaves it
    told = stack.by_hand("make", "env")
    assert f"make rotate SECRET={name}" in told.stderr
    done = stack.by_hand("make", "rotate", f"SECRET={name}")
    assert done.returncode == 0 and "begunandkilled12" not in done.stdout, done.stderr
    assert stack.secret(name) == "begunandkilled12" and not list(file.parent.glob(".*"))
    assert status(stack, SEARCH, "admin:begunandkilled12") == 200
    (chosen := stack.root / "chosen").write_text(f"{old}\n")
    assert stack.by_hand("make", "rotate", f"SECRET={name}", f"FILE={chosen}").returncode == 0
    assert status(stack, SEARCH, f"admin:{old}") == 200
    chosen.write_text("short")
    for words in (["SECRET=PREFECT_LOGIN", f"FILE={chosen}"], ["SECRET=MLFLOW_PASSWORD"]):
        before = stack.secret("PREFECT_LOGIN")
        assert stack.by_hand("make", "rotate", *words).returncode == 2
        assert stack.secret("PREFECT_LOGIN") == before


def test_the_password_of_a_database_is_exchanged(stack: Stack) -> None:
    def kept() -> str:
        query = "SELECT rolpassword FROM pg_authid WHERE rolname = 'mlflow'"
        return stack.run("settle", "psql", "-qtA", "-c", query, "postgres").stdout

    before = kept()
    done = stack.by_hand("make", "rotate", "SECRET=MLFLOW_DB_PASSWORD")
    assert done.returncode == 0 and stack.secret("MLFLOW_DB_PASSWORD") not in done.stdout, done.stderr
    assert kept() not in ("", before)


@pytest.fixture(scope="module")
def proxy(stack: Stack) -> str:
    """The address of the proxy, through which other machines come."""
    if shutil.which("caddy") is None:
        pytest.skip("needs Debian's package caddy; CI installs it")
    stack.start("proxy")
    return f"https://localhost:{stack.port('HTTPS')}"


def test_the_three_pages_work_in_a_browser_behind_the_proxy(stack: Stack, proxy: str) -> None:
    login: HttpCredentials = {"username": "admin", "password": stack.secret("MLFLOW_ADMIN_PASSWORD")}
    with chromium() as browser:
        context = browser.new_context(ignore_https_errors=True, http_credentials=login)
        asked = foreign_requests(context, "localhost")
        page = context.new_page()
        page.goto(f"{proxy}/mlflow/#/experiments")
        expect(page.get_by_role("link", name="Default")).to_be_visible()
        context.close()
        context = browser.new_context(ignore_https_errors=True)
        asked += foreign_requests(context, "localhost")
        page = context.new_page()
        page.goto(f"{proxy}/prefect")
        page.locator("input").first.fill(stack.secret("PREFECT_LOGIN"))
        page.keyboard.press("Enter")
        expect(page.get_by_role("link", name="Deployments")).to_be_visible()
        page.goto(f"{proxy}/reviews")
        page.get_by_label("Review").fill(TEXT)
        page.keyboard.press("Control+Enter")
        expect(page.locator("#verdict")).to_contain_text("positive score")
        context.unroute_all()
        context.close()
    assert not asked


def test_the_proxy_refuses_foreign_names_pages_and_passwords(stack: Stack, proxy: str) -> None:
    authority = stack.folder("data") / "caddy/pki/authorities/local/root.crt"
    login = ("admin", stack.secret("MLFLOW_ADMIN_PASSWORD"))
    foreign = proxy.replace("localhost", "evil.example")

    def answer(path: str, **headers: str) -> int:
        with httpx.Client(verify=str(authority), trust_env=False, timeout=30, auth=login) as client:
            return client.get(f"{proxy}/{path}", headers=headers).status_code

    assert answer(f"mlflow/{SEARCH}") == answer(f"mlflow/{SEARCH}", Origin=proxy) == 200
    for origin in (foreign, proxy.replace("https", "http"), stack.address("MLFLOW"), "null"):
        assert answer(f"mlflow/{SEARCH}", Origin=origin) == 403, origin
    assert answer("reviews/metrics") == 404, "figures are for the stack's own Prometheus"
    assert answer("reviews/model") == 200 and answer("reviews/model", Origin=foreign) == 403
    assert answer("prefect/api/admin/version") == 401
    for path in PUBLIC.values():
        assert answer(f"{path}/", Host=foreign.removeprefix("https://")) == 421, path


def test_a_worker_that_is_stopped_closes_its_training_and_a_backup_of_meanwhile_is_whole(
    stack: Stack, mlflow: MlflowClient
) -> None:
    flow_run = begin("train", config={**SHORT, "epochs": 900}, seed=4)
    going = training(stack, mlflow, flow_run).info.run_id
    before = told_of(mlflow, stack.root / "before", {going})
    assert stack.run("backup").returncode == 0
    assert mlflow.get_run(going).info.status == "RUNNING", "the training ended before the backup did"
    stack.stop("worker")
    assert ended(stack, flow_run).state_type == StateType.CRASHED, stack.log()
    assert mlflow.get_run(going).info.status == "KILLED"
    version = mlflow.get_model_version(MODEL, "1")
    mlflow.delete_registered_model(MODEL)
    shutil.rmtree(stack.folder("srv/mlflow/artifacts"))
    for name in ("api", "prefect", "mlflow"):
        stack.stop(name)
    (backup,) = stack.folder("backups").iterdir()
    done = stack.run("restore", backup.name)
    assert done.returncode == 0, done.stderr
    for name in ("mlflow", "mlflow-accounts", "prefect", "deploy", "api"):
        stack.start(name)
    assert told_of(mlflow, stack.root / "after", {going}) == before
    assert mlflow.get_model_version_by_alias(MODEL, "champion").run_id == version.run_id
    until(lambda: asked(stack, "/readyz"))
    assert asked(stack, "/predict", {"text": TEXT})["predictions"][0]["label"] == "positive"
    with get_client(sync_client=True) as client:
        (schedule,) = client.read_deployment_by_name("train/train").schedules
    assert not schedule.active, "a schedule that a person paused stays paused when all is deployed again"
