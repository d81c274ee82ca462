"""A running stack, and what a member of the team does with it."""

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from mlflow.tracking import MlflowClient
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_URL,
    PREFECT_CLIENT_MAX_RETRIES,
    temporary_settings,
)

from tests.polling import until
from tests.servers import free_port
from tests.stack.compose import find_compose
from tests.stack.container import DATABASE_PROGRAMS, HERE
from tests.stack.processes import processes_of
from tests.world import ROOT

MODEL = "sample-sentiment"
PARTS = ("docker-compose.yml", "Dockerfile", "Makefile", "stack")  # what a person copies to the team's machine


@dataclass
class Team:
    """A project folder with its own ``.env``, and the state of its services beside it."""

    root: Path

    @property
    def project(self) -> Path:
        return self.root / "project"

    @property
    def environment(self) -> dict[str, str]:
        """A person's shell, in which ``docker`` is the stand-in."""
        return {
            "PATH": f"{HERE / 'image'}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "STACK_PYTHON": sys.executable,
            "STACK_ROOT": str(self.root / "state"),
        }

    def secret(self, name: str) -> str:
        return (self.project / "secrets" / name).read_text()

    def run(self, *words: str, code: int = 0) -> str:
        """Run a command in the project; gives what it wrote."""
        done = subprocess.run(
            words, cwd=self.project, env=self.environment, text=True, check=False, timeout=600,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}"
        return done.stdout

    def compose(self, *words: str, code: int = 0) -> str:
        return self.run("docker", "compose", "--env-file", ".env", *words, code=code)

    def port(self, name: str) -> int:
        lines = (self.project / ".env").read_text().splitlines()
        return int(dict(line.split("=", 1) for line in lines)[name])

    def inner_port(self, service: str, port: int) -> int:
        """Where a port that is not published is on this machine."""
        ports: dict[str, dict[str, int]] = json.loads((self.root / "state" / "ports.json").read_text())
        return ports[service][str(port)]

    @property
    def mlflow(self) -> MlflowClient:
        uri = f"http://127.0.0.1:{self.port('MLFLOW_PORT')}"
        return MlflowClient(uri, uri)

    def prefect(self) -> SyncPrefectClient:
        return get_client(sync_client=True)

    @contextmanager
    def logged_in(self) -> Iterator[None]:
        """With the passwords of the stack in this process."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
            patch.setenv("MLFLOW_TRACKING_PASSWORD", self.secret("MLFLOW_ADMIN_PASSWORD"))
            patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "5")
            values: dict[Any, Any] = {
                PREFECT_API_URL: f"http://127.0.0.1:{self.port('PREFECT_PORT')}/api",
                PREFECT_API_AUTH_STRING: self.secret("PREFECT_LOGIN"),
                PREFECT_CLIENT_MAX_RETRIES: 5,
            }
            with temporary_settings(values):
                yield

    def start(self, flow: str, **parameters: Any) -> UUID:
        """Ask for a run of a deployment."""
        with self.prefect() as client:
            deployment = client.read_deployment_by_name(f"{flow}/{flow}")
            return client.create_flow_run_from_deployment(deployment.id, parameters=parameters).id

    def flow_run(self, run_id: UUID) -> FlowRun:
        with self.prefect() as client:
            return client.read_flow_run(run_id)

    def ended(self, run_id: UUID, seconds: float = 150) -> FlowRun:
        """Wait for a flow run to end."""
        until(lambda: (state := self.flow_run(run_id).state) and state.is_final(), "its end", seconds, self.log)
        return self.flow_run(run_id)

    def log(self) -> str:
        """What the worker wrote last."""
        return (self.root / "state" / "logs" / "worker.log").read_text(errors="replace")[-5_000:]

    def training_of(self, run_id: UUID) -> Any:
        """The MLflow run of a flow run, or None."""
        found = self.mlflow.search_runs(self.experiments(), f"tags.`prefect.flow_run_id` = '{run_id}'")
        return found[0] if found else None

    def experiments(self) -> list[str]:
        return [found.experiment_id for found in self.mlflow.search_experiments()]

    def answer(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """What the API says; None while it is not ready."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port('API_PORT')}{path}", data, {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)
        except (urllib.error.URLError, OSError):
            return None


@contextmanager
def team(**settings: str) -> Iterator[Team]:
    """A project of its own, nothing started; whatever runs at the end is killed."""
    need_programs()
    root = Path(tempfile.mkdtemp(prefix="stack-"))  # pytest's own folders are closed to PostgreSQL's user
    root.chmod(0o711)
    made = Team(root)
    made.project.mkdir()
    (root / "state").mkdir()
    (root / "state").chmod(0o711)
    for part in PARTS:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, made.project / part)
    ports = {name: str(free_port()) for name in ("MLFLOW_PORT", "PREFECT_PORT", "API_PORT")}
    lines = [f"{name}={value}\n" for name, value in {**ports, **settings}.items()]
    (made.project / ".env").write_text("".join(lines))
    try:
        yield made
    finally:
        for pid in processes_of(f"{root}/"):
            with suppress(ProcessLookupError):
                os.kill(pid, 9)
        shutil.rmtree(root, ignore_errors=True)


def make_env(folder: Path) -> Path:
    """What `make env` writes: a file of settings, and a folder of passwords beside it."""
    file = folder / ".env"
    subprocess.run(["sh", ROOT / "stack" / "env.sh", file, folder / "secrets"], check=True, capture_output=True)
    return file


def need_programs() -> None:
    """Skip where what stands in for the images is not installed; CI installs it."""
    if not DATABASE_PROGRAMS or find_compose() is None:
        pytest.skip("needs PostgreSQL and Compose 2: apt-get install postgresql docker-compose")


def status_of(address: str, who: str | None, body: bytes | None = None, **more: str) -> int:
    """The status of an answer, with a name and a password (``name:password``) or without; ``more`` are headers."""
    headers = {"Content-Type": "application/json", **more}
    if who is not None:
        headers["Authorization"] = f"Basic {base64.b64encode(who.encode()).decode()}"
    try:
        with urllib.request.urlopen(urllib.request.Request(address, body, headers), timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as err:
        return err.code
