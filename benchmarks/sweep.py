"""How much faster two workers finish a sweep than one: ``python -m benchmarks.sweep [--trials N] [--write]``.

The whole command is timed, from its start to its end, each in a store of its own; and the trials alone, from the
start of the first to the end of the last.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from mlflow.tracking import MlflowClient

from benchmarks import machine, table
from sentiflow.settings import Settings
from sentiflow.tracking.client import connect

BEGIN, END = "<!-- make bench-compare writes the sweep from here -->", "<!-- to here, the sweep -->"


@dataclass(frozen=True)
class Timed:
    """Seconds of the whole command, and from the first trial's start to the last one's end."""

    whole: float
    trials: float


def measure(workers: int, trials: int, recipe: str, changes: list[str]) -> Timed:
    """Run the command once, as a user would, with its own temporary Prefect server."""
    with tempfile.TemporaryDirectory(prefix="sweep-bench-") as name:
        folder = Path(name)
        uri = machine.own_store(folder)["SENTIFLOW_TRACKING_URI"]
        connect(Settings(tracking_uri=uri))  # a store that is made is no part of it
        environment = os.environ | machine.own_store(folder) | {"SENTIFLOW_DATA_DIR": str(folder / "data")}
        sizes = "--trials", str(trials), "--workers", str(workers)
        options = [option for change in changes for option in ("--set", change)]
        began = time.perf_counter()
        subprocess.run(
            [machine.SENTIFLOW, "sweep", "--dataset", "sample", "--recipe", recipe, *sizes, *options],
            env=environment, cwd=folder, check=True, stdout=sys.stderr,
        )  # fmt: skip
        whole = time.perf_counter() - began
        return Timed(whole, _trials(connect(Settings(tracking_uri=uri)), trials))


def _trials(client: MlflowClient, trials: int) -> float:
    runs = client.search_runs(["1"], "tags.kind = 'trial' and attributes.status = 'FINISHED'")
    if len(runs) != trials:
        raise RuntimeError(f"{len(runs)} trials are finished instead of {trials}")
    return (max(run.info.end_time for run in runs) - min(run.info.start_time for run in runs)) / 1000


def line(one: Timed, two: Timed, trials: int, recipe: str) -> str:
    """What the docs say."""
    whole, alone = one.whole / two.whole, one.trials / two.trials
    return (
        f"{trials} trials of `{recipe}` on the sample: {one.whole:.0f} s with one worker, {two.whole:.0f} s with "
        f"two, {whole:.2f} times as fast for the whole command, {alone:.2f} times for the trials alone."
    )


def main() -> None:
    """Measure, print, and with ``--write`` put the line between the marks in docs/recipes.md."""
    parser = argparse.ArgumentParser(description="Time a sweep with one and with two workers.")
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--recipe", default="tuned")
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    one, two = (measure(workers, given.trials, given.recipe, given.changes) for workers in (1, 2))
    reported = line(one, two, given.trials, given.recipe)
    machine.log(reported)
    if given.write:
        table.put_into(table.RECIPES_PAGE, reported, BEGIN, END)


if __name__ == "__main__":
    main()
