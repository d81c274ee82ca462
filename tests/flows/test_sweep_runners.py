"""The same sweep by threads, by processes, and by a real Dask scheduler with two worker processes; minutes."""

import subprocess
import sys
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from mlflow.entities import Run

from flows.sweep import sweep
from sentiflow.store.client import connect
from sentiflow.training.recipes import load_recipe
from tests.dask_cluster import cluster
from tests.flows.cli.test_json import check_json
from tests.prefect_store import tasks_of
from tests.world import ROOT, World, make_world

pytestmark = [pytest.mark.story, pytest.mark.timeout(900)]

SWEEP = (
    "sweep", "--dataset", "sample", "--recipe", "tutorial", "--repeats", "1",
    "--set", "epochs=2", "--set", "sequence_length=40",
)  # fmt: skip


def run(world: World, trials: int, workers: int, *more: str, **variables: str) -> CompletedProcess[str]:
    sizes = ("--trials", str(trials), "--workers", str(workers))
    done = world.run(*SWEEP, *sizes, *more, timeout=600, **variables)
    assert done.returncode == 0, done.stderr[-3_000:]
    return done


def trials_of(world: World) -> list[Run]:
    """By their numbers."""
    found = connect(world.settings).search_runs(["1"], "tags.kind = 'trial'")
    return sorted(found, key=lambda run: int(run.data.tags["trial.number"]))


def outcome(run: Run) -> tuple[str, ...]:
    """What a trial tried, and how it ended, to the last bit."""
    fields = (
        "learning_rate",
        "batch_size",
        "dropout",
        "vocabulary_dropout",
        "embedding_weight_decay",
        "ema_momentum",
    )
    figures = (repr(run.data.metrics[name]) for name in ("val/loss", "train/loss"))
    return (run.data.tags["trial.state"], *(run.data.params[name] for name in fields), *figures)


@pytest.mark.weekly
def test_a_cluster_of_two_workers_runs_every_trial_once_as_threads_and_processes_do_bit_for_bit(
    world: World, prefect_server: None, tmp_path: Path, migrated_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So few trials that none is pruned, and that none is proposed by what others found."""
    with cluster(tmp_path, **world.environment()) as address:
        run(world, 4, 2, SENTIFLOW_TASK_RUNNER="dask", SENTIFLOW_DASK_ADDRESS=address)
    dask = trials_of(world)
    assert [run.data.tags["trial.number"] for run in dask] == [str(k) for k in range(4)]
    assert {run.info.status for run in dask} == {"FINISHED"}
    assert len({run.data.tags["mlflow.parentRunId"] for run in dask}) == 1
    # Two at a time, and no more.
    at_once = [sum(o.info.start_time <= run.info.start_time < o.info.end_time for o in dask) for run in dask]
    assert max(at_once) == 2

    by_processes, by_threads = (make_world(tmp_path / name, migrated_store) for name in ("processes", "threads"))
    # Native code and child processes write, too.
    done = run(by_processes, 2, 1, "--json", SENTIFLOW_TASK_RUNNER="processes")
    check_json(done.stdout, {"model", "run_id", "trials", "config", "best"})
    assert "starting up" in done.stderr.lower()
    by_threads.enter(monkeypatch)
    monkeypatch.setenv("SENTIFLOW_TASK_RUNNER", "threads")
    sweep(load_recipe("tutorial", ["epochs=2", "sequence_length=40"]), "sample", trials=2, workers=1, repeats=1)
    for there in (by_processes, by_threads):
        here = trials_of(there)
        assert [outcome(run) for run in here] == [outcome(run) for run in dask[:2]]
        assert len(here) == 2


# A sweep whose trial does not listen, as while TensorFlow is imported or compiles, and that ends by an error.
ENDED_IN_A_TRIAL = """
import time
from prefect import flow, task
from sentiflow.operations.job import this_flow_run
from sentiflow.operations.task_runners import running
from sentiflow.training.recipes import load_recipe
from sentiflow.training.open_run import alone, training_run

@task
def nothing():
    pass

@task(task_run_name="compiling")
def compile(run):
    run.client.create_run(run.experiment, tags={"mlflow.parentRunId": run.run_id, "kind": "trial"})
    time.sleep(60)
    (run.settings.data_dir / "late").touch()

@flow
def sweep():
    with (
        alone(this_flow_run(), "sample") as ready,
        training_run(ready, load_recipe("tutorial"), 0, "sweep") as run,
        running(run, 1, nothing) as runner,
    ):
        runner._runner.submit(compile, {"run": run})
        while not run.client.search_runs([run.experiment], "tags.kind = 'trial'"):
            time.sleep(0.1)
        raise ValueError("No more.")

if __name__ == "__main__":
    sweep()
"""


def test_processes_that_do_not_listen_are_killed_and_what_they_had_open_is_closed(
    world: World, prefect_server: None
) -> None:
    """Red if a sweep that is asked to end went on for as long as its trials compile: 40 s on a busy machine."""
    (world.root / "ended.py").write_text(ENDED_IN_A_TRIAL)
    done = subprocess.run(
        [sys.executable, world.root / "ended.py"], env=world.environment(PYTHONPATH=str(ROOT)), cwd=world.root,
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert "ValueError: No more." in done.stderr
    assert not (world.settings.data_dir / "late").exists()
    (trial,) = runs_of(world, "trial")
    assert (trial.info.status, trial.data.tags["end"]) == ("KILLED", "it did not end in time with its sweep")
    (parent,) = runs_of(world, "sweep")
    ended = {each.name: each.state_name for each in tasks_of(parent.data.tags["prefect.flow_run_id"], 2)}
    assert ended["compiling"] == "Crashed"


def runs_of(world: World, kind: str) -> list[Run]:
    return list(connect(world.settings).search_runs(["1"], f"tags.kind = '{kind}'"))
