"""The same sweep by threads, by processes, and by a real Dask scheduler with two worker processes; minutes."""

from pathlib import Path

import pytest
from mlflow.entities import Run

from sentiflow.tracking.client import connect
from tests.dask_cluster import cluster
from tests.world import World

pytestmark = [pytest.mark.story, pytest.mark.timeout(900)]

SWEEP = (
    "sweep", "--dataset", "sample", "--recipe", "tutorial", "--repeats", "1",
    "--set", "epochs=2", "--set", "sequence_length=40",
)  # fmt: skip


def sweep(world: World, trials: int, workers: int, **variables: str) -> list[Run]:
    """Run a sweep; gives its trials by their numbers."""
    done = world.run(*SWEEP, "--trials", str(trials), "--workers", str(workers), timeout=600, **variables)
    assert done.returncode == 0, done.stderr[-3_000:]
    uri = variables.get("SENTIFLOW_TRACKING_URI", world.settings.tracking_uri)
    client = connect(world.settings.model_copy(update={"tracking_uri": uri}))
    found = client.search_runs(["1"], "tags.kind = 'trial'")
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


def test_a_cluster_of_two_workers_runs_every_trial_once_as_threads_and_processes_do_bit_for_bit(
    world: World, prefect_server: None, tmp_path: Path
) -> None:
    """So few trials that none is pruned, and that none is proposed by what others found."""
    with cluster(tmp_path, **world.environment()) as address:
        dask = sweep(world, 4, 2, SENTIFLOW_TASK_RUNNER="dask", SENTIFLOW_DASK_ADDRESS=address)
    assert [run.data.tags["trial.number"] for run in dask] == [str(k) for k in range(4)]
    assert {run.info.status for run in dask} == {"FINISHED"}
    assert len({run.data.tags["mlflow.parentRunId"] for run in dask}) == 1
    # Two at a time, and no more.
    at_once = [sum(o.info.start_time <= run.info.start_time < o.info.end_time for o in dask) for run in dask]
    assert max(at_once) == 2
    for runner in ("threads", "processes"):
        uri = f"sqlite:///{world.root / runner / 'mlflow.db'}"
        (world.root / runner).mkdir()
        here = sweep(world, 2, 1, SENTIFLOW_TASK_RUNNER=runner, SENTIFLOW_TRACKING_URI=uri)
        assert [outcome(run) for run in here] == [outcome(run) for run in dask[:2]]
        assert len(here) == 2


def test_a_cluster_that_is_not_there_is_told_in_two_lines(world: World, prefect_server: None) -> None:
    told = {"SENTIFLOW_TASK_RUNNER": "dask", "SENTIFLOW_DASK_ADDRESS": "tcp://127.0.0.1:9"}
    done = world.run(*SWEEP, "--trials", "2", **told)
    assert done.returncode == 3
    assert "No Dask scheduler with a worker answers at tcp://127.0.0.1:9" in done.stderr
    assert "Traceback" not in done.stderr
