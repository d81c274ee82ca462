"""Every command, started in another user's folder."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from typer.main import get_command

from flows.cli import application
from sentiflow.store.client import connect
from tests.hostile import Hostile, hostile
from tests.polling import until
from tests.servers import free_port
from tests.world import World, command

OWN = ("reviews.csv", "scores.csv", "page.html", "my.toml", "space.toml", ".scores.csv.parts")
SMALL = ("--dataset", "reviews.csv", "--recipe", "my.toml")
# Arguments and the exit code of each; those without arguments have tests of their own below.
QUICK = {
    "data": (["data", *SMALL], 0),
    "predict": (["predict", "--explain", "--html", "page.html", "A quiet film."], 0),
    "rollback": (["rollback", "--dataset", "sample"], 2),
    "runs": (["runs"], 0),
    "score": (["score", "reviews.csv", "-o", "scores.csv", "--workers", "2"], 0),
    "trigger": (["trigger", "train", "--no-wait"], 3),
    "versions": (["versions"], 0),
}
SLOW = {
    "compare": (["compare", "sample-sentiment/1", "sample-sentiment/2", "--html", "page.html"], 0),
    "train --repeats": (["train", *SMALL, "--repeats", "2"], 0),
    "sweep": (["sweep", *SMALL, "--space", "space.toml", "--trials", "2", "--workers", "2", "--repeats", "1"], 0),
    "reproduce": (["reproduce", "sample-sentiment/1"], 0),
    "promote": (["promote", "1", "--dataset", "sample", "--dry-run"], 0),
    "housekeeping": (["housekeeping"], 0),
    "monitor": (["monitor", "--dataset", "sample"], 0),
    "label": (["label", "--dataset", "sample", "--texts", "20"], 2),
}
STAYS = ("schedule", "serve", "ui")


def test_no_command_is_forgotten() -> None:
    tried = {name.split()[0] for name in (*QUICK, *SLOW, *STAYS)}
    assert tried == set(get_command(application()).commands)  # type: ignore[attr-defined]


@pytest.fixture
def theirs(registry: World, tmp_path: Path) -> Iterator[Hostile]:
    with hostile(tmp_path / "came", *OWN) as made:
        rows = [f"{word} film number {n},{label}" for n in range(150) for word, label in (("good", 1), ("bad", 0))]
        (made.folder / "reviews.csv").write_text("\n".join(["text,label", *rows, ""]))
        (made.folder / "my.toml").write_text("epochs = 1\nsequence_length = 20\nunits = 4\nbatch_size = 64\n")
        (made.folder / "space.toml").write_text("[learning_rate]\nlow = 0.001\nhigh = 0.01\n")
        yield made


def environment(world: World, **more: str) -> dict[str, str]:
    """Without what a user may have set and the tests' own server, so that the folder's files could count."""
    hidden = ("PREFECT_API_URL", "MLFLOW_", "PYTHON", "NUMBA_")
    kept = {name: value for name, value in world.environment().items() if not name.startswith(hidden)}
    return kept | {"SENTIFLOW_PREDICTION_LOG_DIR": str(world.root / "log"), **more}


def run(
    world: World, theirs: Hostile, arguments: Sequence[str], **more: str
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [command(), *arguments], env=environment(world, **more), cwd=theirs.folder, capture_output=True, text=True,
        timeout=500, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    "name", [*QUICK, *(pytest.param(name, marks=[pytest.mark.story, pytest.mark.weekly]) for name in SLOW)]
)
def test_a_command_leaves_the_folder_alone(registry: World, theirs: Hostile, name: str) -> None:
    arguments, code = (QUICK | SLOW)[name]
    done = run(registry, theirs, arguments)
    assert done.returncode == code, done.stderr
    assert theirs.reached == []


@contextmanager
def running(world: World, theirs: Hostile, arguments: Sequence[str], **more: str) -> Iterator[Path]:
    """A command that stays; gives its log, and ends it by Ctrl-C."""
    log = world.root / "said"
    with log.open("w") as said:
        process = subprocess.Popen(
            [command(), *arguments], env=environment(world, **more), cwd=theirs.folder, stdout=said, stderr=said,
            start_new_session=True,
        )  # fmt: skip
    try:
        yield log
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(90) in (0, 130), log.read_text()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.story
def test_a_service_of_several_processes_leaves_the_folder_alone(registry: World, theirs: Hostile) -> None:
    connect(registry.settings).set_registered_model_alias("sample-sentiment", "champion", "1")
    port = free_port()
    with running(registry, theirs, ["serve", "--port", str(port), "--workers", "2"]) as log:
        until(lambda: "answers at" in log.read_text(), told=log.read_text)
        with httpx.Client(trust_env=False, timeout=60) as client:
            for _ in range(4):
                answer = client.post(f"http://127.0.0.1:{port}/predict", json={"text": "good"})
                assert answer.status_code == 200
    assert theirs.reached == []


@pytest.mark.story
def test_the_pages_of_mlflow_leave_the_folder_alone(registry: World, theirs: Hostile) -> None:
    with running(registry, theirs, ["ui", "--port", str(free_port())]) as log:
        until(lambda: "Ctrl-C ends it" in log.read_text(), told=log.read_text)
    assert theirs.reached == []


@pytest.mark.story
@pytest.mark.weekly
@pytest.mark.timeout(900)
def test_a_schedule_and_its_runs_leave_the_folder_alone_but_for_the_tables_named(
    registry: World, theirs: Hostile
) -> None:
    scoring = json.dumps({"score": {"source": "reviews.csv", "output": "scores.csv"}})
    port = {"SENTIFLOW_PREFECT_PORT": str(free_port()), "SENTIFLOW_SCHEDULE_PARAMETERS": scoring}
    port["SENTIFLOW_SCHEDULE_RECIPE"] = "my.toml"
    with running(registry, theirs, ["schedule", "--train", "off", "--dataset", "reviews.csv"], **port) as log:
        until(lambda: "Prefect UI" in log.read_text(), told=log.read_text)
        done = run(registry, theirs, ["trigger", "train"], **port)
        assert (done.returncode, "Registered" in done.stderr) == (0, True), done.stderr
        done = run(registry, theirs, ["trigger", "score"], **port)
        assert done.returncode == 0, done.stderr
        assert (theirs.folder / "scores.csv").read_text().startswith("row,")
    assert theirs.reached == []
