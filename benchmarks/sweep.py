"""How much faster two workers finish a sweep than one: ``python -m benchmarks.sweep [--trials N] [--write]``.

The whole command is timed, from its start to its end, each in a store of its own; and the trials alone, from the
start of the first to the end of the last. Trials that sleep show how the scheduling scales with more workers than
there are cores.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mlflow.tracking import MlflowClient

from benchmarks import machine, table
from sentiflow.settings import Settings
from sentiflow.store.client import connect

EPOCHS = 2  # so few that none is pruned: both sweeps do the same work
SECONDS, ASLEEP = 10, 24  # that a trial sleeps, and such trials
BEGIN, END = "<!-- make bench-compare writes the sweep from here -->", "<!-- to here, the sweep -->"


@dataclass(frozen=True)
class Timed:
    """Seconds of the whole command, and from the first trial's start to the last one's end."""

    whole: float
    trials: float


def measure(command: Sequence[str], workers: int, trials: int, **variables: str) -> Timed:
    """Run a sweep once, as a user would, with its own temporary Prefect server."""
    with tempfile.TemporaryDirectory(prefix="sweep-bench-") as name:
        folder = Path(name)
        uri = machine.own_store(folder)["SENTIFLOW_TRACKING_URI"]
        connect(Settings(tracking_uri=uri))  # a store that is made is no part of it
        environment = os.environ | machine.own_store(folder)
        sizes = "--trials", str(trials), "--workers", str(workers)
        began = time.perf_counter()
        subprocess.run(
            [*command, *sizes],
            env=environment | variables, check=True, stdout=sys.stderr,
        )  # fmt: skip
        whole = time.perf_counter() - began
        return Timed(whole, _trials(connect(Settings(tracking_uri=uri)), trials))


def _trials(client: MlflowClient, trials: int) -> float:
    runs = client.search_runs(["1"], "tags.kind = 'trial' and attributes.status = 'FINISHED'")
    if len(runs) != trials:
        raise RuntimeError(f"{len(runs)} trials are finished instead of {trials}")
    return (max(run.info.end_time for run in runs) - min(run.info.start_time for run in runs)) / 1000


def line(one: Timed, two: Timed, trials: int, asleep: tuple[float, float]) -> str:
    """What the docs say.

    Args:
        one: a sweep with one worker.
        two: the same with two.
        trials: of each of them.
        asleep: seconds of the trials that sleep, with one worker and with four.
    """
    whole, alone = one.whole / two.whole, one.trials / two.trials
    return (
        f"{trials} trials of {EPOCHS} epochs of `tuned`: {one.whole:.0f} s with one worker, {two.whole:.0f} s "
        f"with two, {whole:.2f} times as fast for the whole command, {alone:.2f} times for the trials alone. "
        f"{ASLEEP} trials that sleep for {SECONDS} s instead of training take {asleep[0]:.0f} s one after the "
        f"other and {asleep[1]:.0f} s in four threads, {asleep[0] / asleep[1]:.2f} times as fast."
    )


def main() -> None:
    """Measure, print, and with ``--write`` put the lines between the marks in docs/recipes.md."""
    parser = argparse.ArgumentParser(description="Time a sweep with one and with two workers.")
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        space = Path(folder) / "space.toml"  # of a field that does not change how long an epoch takes
        space.write_text("[learning_rate]\nlow = 0.0002\nhigh = 0.002\nlog = true\n")
        sweep = machine.SENTIFLOW, "sweep", "--space", str(space), "--set", f"epochs={EPOCHS}"
        one, two = (measure(sweep, workers, given.trials) for workers in (1, 2))
    sleeping = sys.executable, "-m", "benchmarks.sleeping_sweep", "sweep", "--dataset", "sample"
    alone, four = (
        measure(sleeping, workers, ASLEEP, SENTIFLOW_TASK_RUNNER="threads").trials for workers in (1, 4)
    )
    reported = line(one, two, given.trials, (alone, four))
    machine.log(reported)
    if given.write:
        table.put_into(table.RECIPES_PAGE, reported, BEGIN, END)


if __name__ == "__main__":
    main()
