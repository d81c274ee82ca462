"""`make rotate`: each secret exchanged while the servers run, and after a kill."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.polling import until
from tests.stack.container import DATABASE_PROGRAMS
from tests.stack.team import Team, status_of, team

pytestmark = [pytest.mark.story, pytest.mark.timeout(900)]

# No deployments, and no worker.
SERVICES = (
    "postgres", "settle", "mlflow-migrate", "mlflow", "mlflow-accounts", "prefect-migrate", "redis", "prefect",
)  # fmt: skip
WITH_REDIS = ("--env-file", "stack/redis.env", "--profile", "redis")


@pytest.fixture(scope="module")
def stack() -> Iterator[Team]:
    with team() as made:
        made.run("make", "folders")
        made.compose(*WITH_REDIS, "up", *SERVICES)
        yield made


def rotate(stack: Team, name: str, *more: str) -> str:
    """Exchange a secret; gives the old one."""
    old = stack.secret(name)
    told = stack.run("make", "rotate", f"SECRET={name}", "PROFILES=redis", *more)
    new = stack.secret(name)
    assert new != old and new.removeprefix("admin:") not in told
    assert not list((stack.project / "secrets").glob(".*")), "something was left behind"
    return old


def mlflow(stack: Team, who: str) -> int:
    return status_of(
        f"http://127.0.0.1:{stack.port('MLFLOW_PORT')}/api/2.0/mlflow/experiments/search?max_results=1", who
    )


def prefect(stack: Team, who: str) -> int:
    return status_of(f"http://127.0.0.1:{stack.port('PREFECT_PORT')}/api/flows/count", who, b"{}")


def database(stack: Team, role: str, password: str) -> bool:
    """Whether a role of PostgreSQL logs in over the network with this password."""
    base = role if role != "postgres" else "mlflow"
    command = [f"{DATABASE_PROGRAMS[-1]}/psql", "-h", "127.0.0.1", "-p", str(stack.inner_port("postgres", 5432))]
    done = subprocess.run(
        [*command, "-U", role, "-d", base, "-c", "SELECT 1"], env={"PGPASSWORD": password}, capture_output=True,
        check=False, timeout=30,
    )  # fmt: skip
    return done.returncode == 0


def both_answer(stack: Team) -> bool:
    return (
        mlflow(stack, f"admin:{stack.secret('MLFLOW_ADMIN_PASSWORD')}") == 200
        and prefect(stack, stack.secret("PREFECT_LOGIN")) == 200
    )


def test_prefects_login(stack: Team) -> None:
    old = rotate(stack, "PREFECT_LOGIN")
    assert prefect(stack, stack.secret("PREFECT_LOGIN")) == 200 and prefect(stack, old) == 401


def test_the_administrators_password_even_when_the_file_was_overwritten(stack: Team) -> None:
    old = stack.secret("MLFLOW_ADMIN_PASSWORD")
    file = stack.project / "secrets/MLFLOW_ADMIN_PASSWORD"
    file.unlink()
    file.write_text("overwritten1234")
    assert mlflow(stack, "admin:overwritten1234") == 401
    rotate(stack, "MLFLOW_ADMIN_PASSWORD")
    assert mlflow(stack, f"admin:{stack.secret('MLFLOW_ADMIN_PASSWORD')}") == 200
    assert mlflow(stack, f"admin:{old}") == 401


@pytest.mark.parametrize("name", ["worker", "reader"])
def test_the_accounts_of_worker_and_api(stack: Team, name: str) -> None:
    secret = f"MLFLOW_{name.upper()}_PASSWORD"
    chosen = stack.root / f"chosen-{name}"
    chosen.write_text("Chosen1234567\n")
    old = rotate(stack, secret, f"FILE={chosen}")
    assert stack.secret(secret) == "Chosen1234567" and mlflow(stack, f"{name}:Chosen1234567") == 200
    until(
        lambda: mlflow(stack, f"{name}:{old}") == 401, seconds=90
    )  # a process of the server remembers it for a minute


@pytest.mark.parametrize(
    ("secret", "role"),
    [("MLFLOW_DB_PASSWORD", "mlflow"), ("PREFECT_DB_PASSWORD", "prefect"), ("POSTGRES_PASSWORD", "postgres")],
)
def test_the_passwords_of_the_databases(stack: Team, secret: str, role: str) -> None:
    old = rotate(stack, secret)
    assert database(stack, role, stack.secret(secret)) and not database(stack, role, old)
    until(lambda: both_answer(stack), seconds=60)


@pytest.mark.parametrize("secret", ["MLFLOW_SECRET_KEY", "REDIS_PASSWORD"])
def test_what_is_in_no_database(stack: Team, secret: str) -> None:
    rotate(stack, secret)
    until(lambda: both_answer(stack), seconds=60)
    if secret == "REDIS_PASSWORD":
        ask = ["redis-cli", "-e", "-p", str(stack.inner_port("redis", 6379)), "ping"]
        done = subprocess.run(
            ask, env={**os.environ, "REDISCLI_AUTH": stack.secret(secret)}, check=True, timeout=30
        )
        assert done.returncode == 0


def test_an_exchange_that_was_killed_is_told_and_finished(stack: Team) -> None:
    """Killed when the database has the administrator's new password, and the file the old one."""
    old = stack.secret("POSTGRES_PASSWORD")
    new, log = stack.project / "secrets/.POSTGRES_PASSWORD.new", stack.root / "killed.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            ["make", "rotate", "SECRET=POSTGRES_PASSWORD", "PROFILES=redis"], cwd=stack.project,
            env=stack.environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
        until(lambda: _changed(stack, new), seconds=120)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if not new.exists():
        pytest.skip("it was done before the kill came")
    kept = new.read_text()
    assert "make rotate SECRET=POSTGRES_PASSWORD" in stack.run("make", "env")
    stack.run("make", "rotate", "SECRET=POSTGRES_PASSWORD", "PROFILES=redis")
    assert stack.secret("POSTGRES_PASSWORD") == kept != old and database(stack, "postgres", kept)
    assert not new.exists()


def _changed(stack: Team, new: Path) -> bool:
    return new.exists() and database(stack, "postgres", new.read_text())


def test_an_unknown_name_and_a_weak_password_change_nothing(stack: Team) -> None:
    told = stack.run("make", "rotate", "SECRET=MLFLOW_PASSWORD", code=2)
    assert re.search(r"^ *MLFLOW_ADMIN_PASSWORD$", told, re.MULTILINE)
    weak = stack.root / "weak"
    weak.write_text("short")
    before = stack.secret("PREFECT_LOGIN")
    stack.run("make", "rotate", "SECRET=PREFECT_LOGIN", f"FILE={weak}", code=2)
    assert stack.secret("PREFECT_LOGIN") == before
