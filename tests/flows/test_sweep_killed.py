"""A sweep that is ended in its middle, and started again; that its trials stay the same is F3's to try."""

import os
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from sentiflow.store.client import connect
from tests.polling import until
from tests.world import ROOT, World, command

pytestmark = [pytest.mark.story, pytest.mark.timeout(1_800)]

TRIALS = 4
SWEEP = (
    "sweep", "--dataset", "sample", "--recipe", "tutorial", "--trials", str(TRIALS), "--workers", "2",
    "--repeats", "2", "--set", "epochs=2", "--set", "sequence_length=40",
)  # fmt: skip


def runs(client: MlflowClient, kind: str) -> list[Run]:
    found = client.search_experiments(filter_string="name = 'sentiflow'")
    return list(client.search_runs([found[0].experiment_id], f"tags.kind = '{kind}'")) if found else []


@pytest.fixture
def begin(world: World) -> Iterator[Callable[..., "subprocess.Popen[bytes]"]]:
    begun: list[subprocess.Popen[bytes]] = []

    def start(*more: str, **variables: str) -> "subprocess.Popen[bytes]":
        with (world.root / f"output-{len(begun)}.txt").open("w") as output:
            begun.append(subprocess.Popen(
                [command(), *SWEEP, *more], env=world.environment(**variables), cwd=ROOT, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            ))  # fmt: skip
        return begun[-1]

    yield start
    for process in begun:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def workers_of(process: "subprocess.Popen[bytes]") -> list[int]:
    done = subprocess.run(["pgrep", "-g", str(process.pid)], capture_output=True, text=True, check=False)
    return [int(line) for line in done.stdout.split() if int(line) != process.pid]


def check_whole(world: World) -> None:
    """All trials are finished, each once, and nothing says that it runs."""
    client = connect(world.settings)
    (parent,) = [run for run in runs(client, "sweep") if run.info.status == "FINISHED"]
    trials = runs(client, "trial")
    done = [run for run in trials if run.info.status == "FINISHED"]
    assert Counter(run.info.status for run in trials)["RUNNING"] == 0
    assert len(done) == TRIALS
    assert len({run.data.tags["trial.number"] for run in done}) == TRIALS
    assert all(run.data.tags["trial.state"] in ("complete", "pruned") for run in done)
    assert len(runs(client, "repeat")) == 2
    assert int(parent.data.tags["trials.complete"]) + int(parent.data.tags["trials.pruned"]) == TRIALS
    assert parent.data.metrics["val/loss"] == min(
        run.data.metrics["val/loss"] for run in done if run.data.tags["trial.state"] == "complete"
    )
    for run in [*trials, *runs(client, "sweep"), *runs(client, "repeat")]:
        assert run.info.status != "RUNNING"
    assert not list((world.root / "data" / "sweeps").glob("*/*"))


@pytest.mark.weekly
def test_asked_to_end_or_killed_it_leaves_nothing_running_and_goes_on(
    world: World, prefect_server: None, begin: Callable[..., "subprocess.Popen[bytes]"]
) -> None:
    client = connect(world.settings)
    ended = begin()
    until(lambda: len(runs(client, "trial")) >= 2, seconds=600, process=ended)
    ended.send_signal(signal.SIGTERM)
    assert ended.wait(timeout=120) == 128 + signal.SIGTERM
    told = (Path(world.root) / "output-0.txt").read_text()
    assert "Traceback" not in told
    assert "The same command resumes this sweep" in told
    assert {run.info.status for kind in ("sweep", "trial") for run in runs(client, kind)} <= {"FINISHED", "KILLED"}

    killed, before = begin(), len(runs(client, "trial"))
    until(lambda: len(runs(client, "trial")) > before, seconds=600, process=killed)
    assert len(workers_of(killed)) >= 2
    killed.kill()  # the parent alone
    killed.wait()
    until(lambda: not workers_of(killed), "its workers to end", 20)
    assert begin().wait(timeout=600) == 0
    check_whole(world)
