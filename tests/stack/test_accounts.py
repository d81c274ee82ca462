"""Accounts for people and jobs, made as the guide says, and what each can do with the commands."""

import json
import os
import subprocess
from collections.abc import Iterator

import pytest

from tests.stack.team import MODEL, Team, status_of, team
from tests.world import ROOT, command

pytestmark = [pytest.mark.story, pytest.mark.timeout(900)]

SERVICES = ("postgres", "settle", "mlflow-migrate", "mlflow", "mlflow-accounts")
TRAIN = ("train", "--dataset", "sample", "--recipe", "tutorial", "--json")
PEOPLE = {"ada": "trainer", "bea": "approver", "job": "ci", "cleo": "reader"}


@pytest.fixture(scope="module")
def stack() -> Iterator[Team]:
    """MLflow's part of the stack, with an account for each role, before anything was trained."""
    with team() as made:
        made.run("make", "folders")
        made.compose("up", *SERVICES)
        for name, role in PEOPLE.items():
            told = made.run("sh", "stack/accounts.sh", role, name)
            assert f"{name}: made, now {role}" in told and password(made, name) not in told
        yield made


def password(stack: Team, name: str) -> str:
    return stack.secret(f"accounts/{name}")


def run(stack: Team, name: str, *words: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run a command as a member's machine does, with this account."""
    own = {
        "SENTIFLOW_TRACKING_URI": f"http://127.0.0.1:{stack.port('MLFLOW_PORT')}",
        "SENTIFLOW_DATA_DIR": str(stack.root / f"data-{name}"),
        "MLFLOW_TRACKING_USERNAME": name,
        "MLFLOW_TRACKING_PASSWORD": password(stack, name),
    }
    folder = stack.root / f"of-{name}"
    folder.mkdir(exist_ok=True)
    return subprocess.run(
        [command(), *words], cwd=folder, env={**os.environ, **own, **variables}, capture_output=True, text=True,
        check=False, timeout=300,
    )  # fmt: skip


def status(stack: Team, name: str, path: str, body: dict[str, str]) -> int:
    address = f"http://127.0.0.1:{stack.port('MLFLOW_PORT')}/api/2.0/mlflow/{path}"
    return status_of(address, f"{name}:{password(stack, name)}", json.dumps(body).encode())


def test_a_reader_cannot_make_even_the_first_experiment(stack: Team) -> None:
    done = run(stack, "cleo", *TRAIN)
    assert done.returncode == 3 and "This account may not do that" in done.stderr
    with stack.logged_in():
        assert [found.name for found in stack.mlflow.search_experiments()] == ["Default"]


def test_trainer_and_job_register_and_the_approver_alone_promotes(stack: Team) -> None:
    first = run(stack, "ada", *TRAIN)
    assert first.returncode == 0, first.stderr
    assert json.loads(first.stdout)["model"]["version"] == 1
    job = run(stack, "job", *TRAIN, "--seed", "7", SENTIFLOW_EXPERIMENT="pull-requests")
    assert job.returncode == 0, job.stderr
    assert json.loads(job.stdout)["model"]["version"] == 2
    elsewhere = run(stack, "job", *TRAIN, "--seed", "8")
    assert elsewhere.returncode == 3 and "This account may not do that" in elsewhere.stderr
    for name in ("ada", "job", "cleo"):
        done = run(stack, name, "promote", "1", "--dataset", "sample", "--force", "--reason", "a try")
        assert done.returncode == 3 and "This account may not do that" in done.stderr, (name, done.stderr)
        alias = {"name": MODEL, "alias": "champion", "version": "1"}
        assert status(stack, name, "registered-models/alias", alias) == 403, name
    with stack.logged_in():
        assert not stack.mlflow.get_registered_model(MODEL).aliases
    done = run(stack, "bea", "promote", "1", "--dataset", "sample", "--force", "--reason", "the first")
    assert done.returncode == 0, done.stderr
    again = run(stack, "bea", *TRAIN, "--seed", "9")
    assert again.returncode == 0, again.stderr


def test_a_reader_reads_and_predicts(stack: Team) -> None:
    for words in (
        ("runs",),
        ("versions", "--dataset", "sample"),
        ("predict", "--dataset", "sample", "A good film."),
    ):
        done = run(stack, "cleo", *words)
        assert done.returncode == 0 and done.stdout, (words, done.stderr)


def test_a_role_is_exchanged_and_the_password_stays(stack: Team) -> None:
    before = password(stack, "cleo")
    assert "cleo: now ci" in stack.run("sh", "stack/accounts.sh", "ci", "cleo")
    assert password(stack, "cleo") == before
    assert status(stack, "cleo", "experiments/create", {"name": "cleo"}) == 200
    stack.run("sh", "stack/accounts.sh", "reader", "cleo")
    assert status(stack, "cleo", "experiments/create", {"name": "cleo-2"}) == 403


def test_another_password_and_the_end_of_an_account(stack: Team) -> None:
    before = password(stack, "cleo")
    stack.run("sh", "stack/accounts.sh", "password", "cleo")
    assert password(stack, "cleo") != before
    body = {"name": "cleo-3"}
    assert status(stack, "cleo", "experiments/create", body) == 403
    stack.run("sh", "stack/accounts.sh", "remove", "cleo")
    assert not (stack.project / "secrets/accounts/cleo").exists()
    told = stack.run("sh", "stack/accounts.sh", "password", "nobody", code=3)
    assert "nobody" in told and "Traceback" not in told
    assert not list((stack.project / "secrets/accounts").glob("nobody*"))


@pytest.mark.parametrize("words", [(), ("trainer",), ("owner", "ada"), ("trainer", "worker"), ("trainer", "../x")])
def test_wrong_words_change_nothing(stack: Team, words: tuple[str, ...]) -> None:
    stack.run("sh", str(ROOT / "stack/accounts.sh"), *words, code=2)
