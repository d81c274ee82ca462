"""The stack with a PostgreSQL server of the team's own."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.postgres import postgres
from tests.stack.container import DATABASE_PROGRAMS
from tests.stack.team import Team, status_of, team

pytestmark = [pytest.mark.story, pytest.mark.weekly, pytest.mark.timeout(600)]

# No deployments, and no worker.
SERVICES = ("settle", "mlflow-migrate", "mlflow", "mlflow-accounts", "prefect-migrate", "prefect")


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Team]:
    with postgres(tmp_path) as address:
        place = urlsplit(address)
        settings = {
            "COMPOSE_FILE": "docker-compose.yml:stack/postgres-elsewhere.yml", "POSTGRES_HOST": "127.0.0.1",
            "POSTGRES_PORT": str(place.port), "POSTGRES_SSLMODE": "disable",
        }  # fmt: skip
        with team(**settings) as made:
            made.run("make", "folders")
            variables = {
                "PGHOST": "127.0.0.1", "PGPORT": str(place.port), "POSTGRES_USER": "postgres",
                "POSTGRES_PASSWORD_FILE": "secrets/POSTGRES_PASSWORD", "PATH": _path(),
            }  # fmt: skip
            command = ["sh", "stack/databases.sh"]
            subprocess.run(command, cwd=made.project, env=variables, check=True, capture_output=True)
            made.compose("up", *SERVICES)
            yield made


def test_runs_and_deployments_are_kept_there_and_backed_up_from_there(stack: Team) -> None:
    with stack.logged_in():
        run = stack.mlflow.create_run("0").info.run_id
        stack.mlflow.log_text(run, "kept", "note.txt")
    prefect = f"http://127.0.0.1:{stack.port('PREFECT_PORT')}/api/flows/count"
    assert status_of(prefect, stack.secret("PREFECT_LOGIN"), b"{}") == 200
    assert "postgres" not in stack.compose("ps").split()
    stack.run("make", "backup")
    (backup,) = (stack.project / "backups").iterdir()
    listed = stack.run(f"{DATABASE_PROGRAMS[-1]}/pg_restore", "--list", str(backup / "mlflow.dump"))
    assert "TABLE DATA public runs mlflow" in listed
    stack.run("make", "down")
    stack.compose("up", *SERVICES)
    with stack.logged_in():
        assert Path(stack.mlflow.download_artifacts(run, "note.txt", str(stack.root))).read_text() == "kept"


def _path() -> str:
    return os.pathsep.join([str(DATABASE_PROGRAMS[-1]), "/usr/bin", "/bin"])
