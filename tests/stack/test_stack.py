"""The team's stack, from `make env` to `make restore`: one story, its chapters in order."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from distributed import Client, Security
from mlflow.tracking import MlflowClient
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.settings import PREFECT_API_URL, temporary_settings

from tests.dask_cluster import certificate as make_certificate
from tests.polling import until
from tests.stack import snapshot
from tests.stack.compose import read_config
from tests.stack.processes import processes_of
from tests.stack.team import MODEL, Team, status_of, team
from tests.world import command

pytestmark = [pytest.mark.story, pytest.mark.timeout(900)]

TEXT = (
    "The direction was touching and rewarding, the cast felt superb, and I loved the charming ending. "
    "A wonderful evening."
)  # whatever the processor adds up first: it is no close decision
PER_EPOCH = (
    "train/loss", "train/accuracy", "val/loss", "val/accuracy",
    "train/learning_rate", "train/epoch_seconds", "train/throughput",
)  # fmt: skip
IS_ROOT = os.geteuid() == 0
IMAGE_USER, MEMBER = 10_001, 12_345
SHORT: dict[str, Any] = {"recipe": "tutorial", "sequence_length": 40}


@pytest.fixture(scope="module")
def stack() -> Iterator[Team]:
    """The stack as `make up` starts it, with a training every few seconds."""
    settings = {
        "SENTIFLOW_SCHEDULE_TRAIN": "every 30s",
        "SENTIFLOW_SCHEDULE_DATASET": "sample",
        "SENTIFLOW_SCHEDULE_RECIPE": "tutorial",
        "SENTIFLOW_SCHEDULE_HOUSEKEEPING": "off",  # a chapter starts it; at its hour it would come in between
    }
    with team(**settings) as made:
        told = made.run("make", "up")
        assert f"http://127.0.0.1:{made.port('MLFLOW_PORT')}   user admin" in told and ". stack/client.sh" in told
        with made.logged_in():
            yield made


def test_the_schedule_trains_and_registers_in_the_team_s_server(stack: Team) -> None:
    with stack.prefect() as client:
        deployment = client.read_deployment_by_name("train/train")
        until(lambda: _begun(client, deployment.id), seconds=180, told=stack.log)
        client.update_deployment_schedule(deployment.id, deployment.schedules[0].id, active=False)  # one is enough
        begun = _begun(client, deployment.id)
    assert all(run.auto_scheduled for run in begun)
    assert {stack.ended(run.id).state_name for run in begun} <= {"Completed", "Skipped"}, stack.log()
    version = stack.mlflow.get_model_version(MODEL, "1")
    run = stack.mlflow.get_run(str(version.run_id))
    assert run.data.tags["started_by"].endswith("deployment train")
    assert UUID(run.data.tags["prefect.flow_run_id"]) in {run.id for run in begun}
    assert str(stack.mlflow.get_experiment(run.info.experiment_id).artifact_location).startswith(
        "mlflow-artifacts:/"
    )


def test_a_promoted_version_answers_over_http(stack: Team) -> None:
    assert stack.answer("/healthz") == {"status": "alive"}
    assert stack.answer("/readyz") is None
    promoted = stack.ended(stack.start("promote", dataset="sample", version=1))
    assert promoted.state_name == "Completed", promoted.state and promoted.state.message
    until(lambda: stack.answer("/readyz"), seconds=120)
    assert stack.answer("/predict", {"text": TEXT})["predictions"][0]["label"] == "positive"
    assert stack.answer("/model")["version"] == 1


def test_a_local_store_is_imported_with_its_ids(stack: Team) -> None:
    local = MlflowClient(f"sqlite:///{stack.root}/alone/mlruns/mlflow.db")
    (stack.root / "alone" / "mlruns").mkdir(parents=True, exist_ok=True)
    place = (stack.root / "alone" / "mlruns" / "artifacts").as_uri()
    run = local.create_run(local.create_experiment("alone", artifact_location=place)).info.run_id
    local.log_metric(run, "test/accuracy", 0.875)
    local.log_text(run, "as it was", "note.txt")
    local.set_terminated(run)
    told = stack.run("make", "import", f"STORE={stack.root}/alone/mlruns")
    assert "1 runs" in told and "1 files" in told
    assert stack.mlflow.get_run(run).data.metrics == {"test/accuracy": 0.875}
    assert Path(stack.mlflow.download_artifacts(run, "note.txt", str(stack.root))).read_text() == "as it was"


def test_a_member_s_shell_works_with_the_servers(stack: Team) -> None:
    told = stack.run("sh", "-euc", f". stack/client.sh; {command()} versions --dataset sample; {command()} runs")
    assert re.search(r"^1 +champion ", told, re.MULTILINE)
    assert re.search(r" tutorial-seed0 +sample +\d\d\.\d\d% +v1 ", told, re.MULTILINE)


@pytest.mark.parametrize("who", [None, "admin:wrong", "nobody:"])
def test_both_servers_refuse_a_request_without_the_password(stack: Team, who: str | None) -> None:
    mlflow, prefect = (f"http://127.0.0.1:{stack.port(name)}" for name in ("MLFLOW_PORT", "PREFECT_PORT"))
    assert status_of(f"{mlflow}/api/2.0/mlflow/experiments/search?max_results=1", who) == 401
    assert status_of(f"{mlflow}/api/2.0/mlflow-artifacts/artifacts", who) == 401
    assert status_of(f"{prefect}/api/flows/filter", who, b"{}") == 401
    assert status_of(f"{prefect}/api/admin/settings", who) == 401


def test_the_api_s_account_reads_and_neither_changes_nor_makes_anything(stack: Team) -> None:
    server = f"http://127.0.0.1:{stack.port('MLFLOW_PORT')}"
    address = f"{server}/api/2.0/mlflow"
    who = f"reader:{stack.secret('MLFLOW_READER_PASSWORD')}"
    assert status_of(f"{address}/registered-models/get?name={MODEL}", who) == 200
    for path, body in (
        ("api/2.0/mlflow/registered-models/alias", {"name": MODEL, "alias": "champion", "version": "1"}),
        ("api/2.0/mlflow/registered-models/create", {"name": "imdb-sentiment"}),
        ("api/2.0/mlflow/experiments/create", {"name": "mine", "artifact_location": "file:///tmp/mine"}),
        ("api/3.0/mlflow/traces", {}),
    ):  # fmt: skip
        assert status_of(f"{server}/{path}", who, json.dumps(body).encode()) == 403, path
    assert {found.name for found in stack.mlflow.search_registered_models()} == {MODEL}


def test_the_worker_s_account_is_no_administrator_s(stack: Team) -> None:
    """It trains, registers and promotes (the other chapters), and gives nobody an account."""
    server = f"http://127.0.0.1:{stack.port('MLFLOW_PORT')}"
    who = f"worker:{stack.secret('MLFLOW_WORKER_PASSWORD')}"
    assert status_of(f"{server}/api/2.0/mlflow/users/get?username=worker", who) == 200
    body = b'{"username": "mine", "password": "mine-for-ever-and-ever"}'
    assert status_of(f"{server}/api/2.0/mlflow/users/create", who, body) == 403
    environments = [
        (name, Path(f"/proc/{pid}/environ").read_bytes())
        for name in ("worker", "deploy", "api")
        for pid in processes_of(f"{stack.root}/state/{name}\0")
    ]
    assert {"worker", "api"} <= {name for name, _ in environments}
    for name, kept in environments:
        for secret in ("MLFLOW_ADMIN_PASSWORD", "POSTGRES_PASSWORD", "MLFLOW_DB_PASSWORD", "PREFECT_DB_PASSWORD"):
            assert stack.secret(secret).encode() not in kept, (name, secret)


def test_what_mlflow_runs_and_keeps_for_others_is_not_served(stack: Team) -> None:
    """By default every account may store keys of other services, and let the server use them."""
    server = f"http://127.0.0.1:{stack.port('MLFLOW_PORT')}"
    who = f"admin:{stack.secret('MLFLOW_ADMIN_PASSWORD')}"
    for path in (
        "ajax-api/3.0/mlflow/assistant/message", "api/3.0/mlflow/gateway/secrets/create", "v1/traces",
        "ajax-api/3.0/jobs/", "api/2.0/mlflow/webhooks", "ajax-api/2.0/mlflow/upload-artifact",
    ):  # fmt: skip
        assert status_of(f"{server}/{path}", who, b"{}") == 404, path


def test_the_server_of_mlflow_chooses_where_files_lie(stack: Team) -> None:
    address = f"http://127.0.0.1:{stack.port('MLFLOW_PORT')}/api/2.0/mlflow/experiments/create"
    for account in ("admin", "worker"):
        who = f"{account}:{stack.secret(f'MLFLOW_{account.upper()}_PASSWORD')}"
        assert status_of(address, who, b'{"name": "mine", "artifactLocation": "file://run_secrets"}') == 400


def test_mlflow_answers_to_no_foreign_name(stack: Team) -> None:
    port = stack.port("MLFLOW_PORT")
    for host, status in ((f"mlflow:{port}", 401), (f"localhost:{port}", 401), ("evil.example", 421)):
        assert status_of(f"http://127.0.0.1:{port}/api/2.0/mlflow/experiments/search", None, Host=host) == status


def test_mlflow_answers_to_no_page_of_another_port(stack: Team) -> None:
    """A browser that is logged in to MLflow may show a page of the API, which strangers ask."""
    server, api = (f"http://127.0.0.1:{stack.port(name)}" for name in ("MLFLOW_PORT", "API_PORT"))
    who = f"admin:{stack.secret('MLFLOW_ADMIN_PASSWORD')}"
    for origin, status in ((server, 200), (api, 403), ("http://localhost:1", 403), ("null", 403)):
        asked = f"{server}/api/2.0/mlflow/experiments/search?max_results=1"
        assert status_of(asked, who, Origin=origin) == status, origin


@pytest.mark.weekly
def test_a_worker_killed_in_mid_training_is_closed_on_both_sides_and_the_next_run_succeeds(stack: Team) -> None:
    killed = stack.start("train", config={**SHORT, "epochs": 900})
    until(
        lambda: (run := stack.training_of(killed)) and "train/loss" in run.data.metrics,
        seconds=120,
        told=stack.log,
    )
    stack.compose("kill", "worker")
    assert stack.training_of(killed).info.status == "RUNNING", "a killed process cannot close its run"
    stack.compose("up", "--detach", "--wait", "worker")
    cleaned = stack.ended(stack.start("housekeeping"))
    assert cleaned.state_name == "Completed", cleaned.state and cleaned.state.message
    state = stack.flow_run(killed).state
    assert state is not None and state.type == StateType.CRASHED
    assert stack.training_of(killed).info.status == "KILLED"


@pytest.mark.weekly
def test_a_worker_that_is_stopped_closes_its_training_on_both_sides(stack: Team) -> None:
    stopped = stack.start("train", config={**SHORT, "epochs": 900}, seed=2)
    until(
        lambda: (run := stack.training_of(stopped)) and "train/loss" in run.data.metrics,
        seconds=120,
        told=stack.log,
    )
    stack.compose("stop", "worker")
    state = stack.flow_run(stopped).state
    assert state is not None and state.type == StateType.CRASHED, stack.log()
    assert stack.training_of(stopped).info.status == "KILLED"
    stack.compose("up", "--detach", "--wait", "worker")


@pytest.mark.weekly
def test_a_database_that_restarts_in_mid_training_loses_no_metric(stack: Team) -> None:
    """It is the run after those that were killed and stopped, too."""
    epochs = 30
    training = stack.start("train", config={**SHORT, "epochs": epochs}, seed=3)
    until(
        lambda: (run := stack.training_of(training)) and "train/loss" in run.data.metrics,
        seconds=120,
        told=stack.log,
    )
    held = processes_of(f"{stack.root}/state/worker\0")
    for pid in held:  # else it may have ended before its database has
        os.kill(pid, signal.SIGSTOP)
    stack.compose("stop", "postgres")
    for pid in held:
        os.kill(pid, signal.SIGCONT)
    stack.compose("up", "--detach", "--wait", "postgres")
    back = time.time() * 1_000
    assert stack.ended(training).state_name == "Completed", stack.log()
    run = stack.training_of(training)
    for name in PER_EPOCH:
        steps = [each.step for each in stack.mlflow.get_metric_history(run.info.run_id, name)]
        assert sorted(steps) == list(range(1, epochs + 1)), name
    losses = stack.mlflow.get_metric_history(run.info.run_id, "train/loss")
    assert max(each.timestamp for each in losses) > back, "it did not train on after the database was back"
    assert run.info.status == "FINISHED"


@pytest.mark.weekly
def test_everything_is_back_after_backup_wipe_and_restore(stack: Team) -> None:
    store = stack.root / "state" / "volumes" / "mlflow" / "artifacts"
    (stack.project / "backups").mkdir()
    if IS_ROOT:  # as in the containers
        _give_away(store, IMAGE_USER)
        _give_away(stack.project / "backups", MEMBER)
    training = stack.start("train", config={**SHORT, "epochs": 900}, seed=4)
    until(
        lambda: (run := stack.training_of(training)) and "train/loss" in run.data.metrics,
        seconds=120,
        told=stack.log,
    )
    before = _everything(stack)
    assert len(before[0]["runs"]) >= 3 and before[0]["registered"][MODEL]["aliases"] == {"champion": "1"}
    stack.run("make", "backup")
    assert stack.training_of(training).info.status == "RUNNING", "the training ended before the backup did"
    (backup,) = (stack.project / "backups").iterdir()
    assert sorted(file.name for file in backup.iterdir()) == [
        "SHA256SUMS", "artifacts.tar.gz", "data.tar.gz", "mlflow.dump", "prefect.dump", "texts.tar.gz",
    ]  # fmt: skip
    if IS_ROOT:
        assert _owners(backup) == {MEMBER}, "who keeps the backups could not read it"
    stack.run("make", "down")
    data = stack.root / "state" / "volumes" / "data" / "datasets"
    kept = sorted(file.relative_to(data) for file in data.rglob("*"))
    assert kept, "nothing of it to come back"
    for volume in ("postgres", "mlflow", "data"):
        shutil.rmtree(stack.root / "state" / "volumes" / volume)
    assert "There is no backup 'other'" in stack.run("make", "restore", "BACKUP=other", code=2)
    assert not store.exists(), "a name that does not exist changes nothing"
    assert "YES=1" in stack.run("make", "restore", f"BACKUP={backup.name}", code=2)
    assert not store.exists(), "without an answer it changes nothing"
    stack.run("make", "restore", f"BACKUP={backup.name}", "YES=1")
    assert sorted(file.relative_to(data) for file in data.rglob("*")) == kept
    for old, new in zip(before, _everything(stack), strict=True):
        for kind in old:
            assert new[kind] == old[kind], kind
    if IS_ROOT:
        assert _owners(store) | {store.parent.stat().st_uid} == {IMAGE_USER}, "MLflow could write no artifacts"
    until(lambda: stack.answer("/readyz"), seconds=120)
    assert stack.answer("/predict", {"text": TEXT})["predictions"][0]["label"] == "positive"


@pytest.mark.weekly
def test_a_schedule_that_a_person_paused_stays_paused_when_all_is_deployed_again(stack: Team) -> None:
    """The restore did so, as each `make up` does."""
    with stack.prefect() as client:
        (schedule,) = client.read_deployment_by_name("train/train").schedules
    assert not schedule.active


@pytest.mark.weekly
def test_with_the_profiles_two_prefect_servers_share_their_events_and_dask_computes(stack: Team) -> None:
    stack.run("make", "up", "PROFILES=redis dask")
    second = f"http://127.0.0.1:{stack.inner_port('prefect-2', 4200)}/api"
    with temporary_settings({PREFECT_API_URL: second}), stack.prefect() as client:
        assert client.read_deployment_by_name("train/train").name == "train"
        event = {"event": "told.to.the.second", "resource": {"prefect.resource.id": "a.test"}, "id": str(uuid4())}
        event["occurred"] = datetime.now(UTC).isoformat()
        client.request("POST", "/events", json=[event]).raise_for_status()
    # The first server alone keeps events, so it came to it through Redis.
    with stack.prefect() as client:
        wanted = {"filter": {"event": {"name": ["told.to.the.second"]}}}
        until(lambda: client.request("POST", "/events/filter", json=wanted).json()["total"], seconds=60)
    for name in ("prefect", "prefect-2"):
        log = (stack.root / "state" / "logs" / f"{name}.log").read_text()
        assert "Check out the dashboard" in log and "connecting to localhost:6379" not in log, name
    assert "NOAUTH" in _redis_without_password(stack), "its health check takes a refusal for health"
    _need_a_certificate(stack)


def _need_a_certificate(stack: Team) -> None:
    """The workers run code of who has it, and of nobody else."""
    place, folder = f"127.0.0.1:{stack.inner_port('dask-scheduler', 8786)}", stack.root / "state/volumes/dask"
    certificate, key = str(folder / "certificate.pem"), str(folder / "key.pem")
    known = Security(
        tls_ca_file=certificate, tls_client_cert=certificate, tls_client_key=key, require_encryption=True
    )
    with Client(f"tls://{place}", security=known) as cluster:
        assert cluster.submit(sum, [20, 22]).result(timeout=30) == 42
        workers = list(cluster.scheduler_info()["workers"])
    assert len(workers) == 1 and workers[0].startswith("tls://")
    # Who holds another certificate, and does not mind whose the scheduler's is.
    other = make_certificate(stack.root)["DASK_DISTRIBUTED__COMM__TLS__CLIENT__CERT"]
    stranger = Security(
        tls_ca_file=certificate, tls_client_cert=other, tls_client_key=str(stack.root / "key.pem"),
        require_encryption=True,
    )  # fmt: skip
    for address in (place, workers[0].removeprefix("tls://")):
        for scheme, login in (("tcp", None), ("tls", stranger)):
            with pytest.raises((OSError, TimeoutError)):
                Client(f"{scheme}://{address}", security=login, timeout=3).close()


def _redis_without_password(stack: Team) -> str:
    """What Redis's health check says, failing, to who has no password."""
    options = ["--env-file=.env", "--profile=redis"]
    check = read_config(stack.project, options)["services"]["redis"]["healthcheck"]["test"]
    words = check[1].replace("6379", str(stack.inner_port("redis", 6379)))
    done = subprocess.run(["sh", "-c", words], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode
    return done.stdout + done.stderr


def _give_away(folder: Path, user: int) -> None:
    for path in (folder, *folder.rglob("*")):
        os.chown(path, user, user)


def _owners(folder: Path) -> set[int]:
    return {path.stat().st_uid for path in (folder, *folder.rglob("*"))}


def _everything(stack: Team) -> list[snapshot.Values]:
    """All but the training that goes on."""
    with stack.prefect() as client:
        prefect = snapshot.of_prefect(client)
    mlflow = snapshot.of_mlflow(stack.mlflow)
    (going,) = [key for key, run in mlflow["runs"].items() if run["info"]["status"] == "RUNNING"]
    del mlflow["runs"][going]
    every_file = snapshot.of_files(stack.root / "state" / "volumes" / "mlflow" / "artifacts").items()
    files = {name: digest for name, digest in every_file if going not in Path(name).parts}
    return [mlflow, prefect, {"files": files}]


def _begun(client: SyncPrefectClient, deployment: UUID) -> list[FlowRun]:
    runs = client.read_flow_runs(deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment])))
    return [run for run in runs if run.state and run.state.type != StateType.SCHEDULED]
