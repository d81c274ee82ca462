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


def trials(world: World) -> list[Run]:
    found = connect(world.settings).search_runs(["1"], "tags.kind = 'trial'", order_by=["attributes.run_name ASC"])
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


def test_threads_processes_and_dask_give_the_same_trials_bit_for_bit(
    world: World, prefect_server: None, tmp_path: Path
) -> None:
    outcomes = {}
    with cluster(tmp_path, **world.environment()) as address:
        for runner in ("threads", "processes", "dask"):
            told = {"SENTIFLOW_TASK_RUNNER": runner, "SENTIFLOW_DASK_ADDRESS": address}
            uri = f"sqlite:///{world.root / runner / 'mlflow.db'}"
            (world.root / runner).mkdir()
            if runner == "dask":  # its workers log to the store of their own environment
                uri = world.variables["SENTIFLOW_TRACKING_URI"]
            done = world.run(
                *SWEEP, "--trials", "2", "--workers", "1", timeout=400, SENTIFLOW_TRACKING_URI=uri, **told
            )
            assert done.returncode == 0, done.stderr[-3_000:]
            settings = world.settings.model_copy(update={"tracking_uri": uri})
            found = connect(settings).search_runs(["1"], "tags.kind = 'trial'")
            outcomes[runner] = sorted(outcome(run) for run in found)
    assert len(outcomes["threads"]) == 2
    assert outcomes["threads"] == outcomes["processes"] == outcomes["dask"]


def test_a_cluster_of_two_workers_runs_every_trial_once(
    world: World, prefect_server: None, tmp_path: Path
) -> None:
    with cluster(tmp_path, **world.environment()) as address:
        told = {"SENTIFLOW_TASK_RUNNER": "dask", "SENTIFLOW_DASK_ADDRESS": address}
        done = world.run(*SWEEP, "--trials", "4", "--workers", "2", timeout=600, **told)
    assert done.returncode == 0, done.stderr[-3_000:]
    found = trials(world)
    assert [run.data.tags["trial.number"] for run in found] == [str(k) for k in range(4)]
    assert {run.info.status for run in found} == {"FINISHED"}
    assert len({run.data.tags["mlflow.parentRunId"] for run in found}) == 1
    # Two at a time, and no more.
    at_once = [sum(o.info.start_time <= run.info.start_time < o.info.end_time for o in found) for run in found]
    assert max(at_once) == 2


def test_a_cluster_that_is_not_there_is_told_in_two_lines(world: World, prefect_server: None) -> None:
    told = {"SENTIFLOW_TASK_RUNNER": "dask", "SENTIFLOW_DASK_ADDRESS": "tcp://127.0.0.1:9"}
    done = world.run(*SWEEP, "--trials", "2", **told)
    assert done.returncode == 3
    assert "No Dask scheduler with a worker answers at tcp://127.0.0.1:9" in done.stderr
    assert "Traceback" not in done.stderr
