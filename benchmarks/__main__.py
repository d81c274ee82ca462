"""Measure everything, in turns, and write the table in docs/speed.md: ``make bench``."""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import machine, table
from sentiflow.data import prepare, reviews
from sentiflow.reports.one_run import STAGES
from sentiflow.settings import Settings, load_settings, project_root
from sentiflow.store.find import open_store
from sentiflow.training.recipes import TUTORIAL

Seconds = dict[str, list[float]]


# What a training starts with, each in a process of its own.
ALONE = {
    "imports": "import mlflow, prefect, tensorflow",
    "server": (
        "from sentiflow.operations.prefect_server import start_early\n"
        "from sentiflow.settings import load_settings\n"
        "start_early(load_settings())[0]()"
    ),
}


class Worker:
    """A warm process that times work on demand."""

    def __init__(self, way: str, **variables: str) -> None:
        command = [sys.executable, "-m", "benchmarks.worker", way]
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the worker
        self.process = subprocess.Popen(
            command, env={**os.environ, **variables}, cwd=project_root(), text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
        )  # fmt: skip
        self._answer()

    def seconds(self, work: str) -> float:
        self.process.stdin.write(f"{work}\n")
        self.process.stdin.flush()
        return float(self._answer())

    def _answer(self) -> str:
        line = self.process.stdout.readline().strip()
        if not line:
            code = self.process.wait()
            self.errors.seek(0)
            raise SystemExit(f"{self.errors.read()}\n{' '.join(self.process.args)} ended with {code}")
        return line

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_error: object) -> None:
        self.process.stdin.close()
        self.process.wait()
        self.errors.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="write the table in docs/speed.md")
    chosen = parser.parse_args()
    seconds: Seconds = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        measure_epochs(seconds, chosen.rounds)
        measure_fits(seconds, chosen.rounds, Path(folder))
        measure_jobs(seconds, chosen.rounds, Path(folder))
    text = table.render(seconds, limits(), machine.describe(), f"{datetime.now(UTC):%Y-%m-%d}")
    machine.log(text)
    if chosen.write:
        table.put_into(table.SPEED_PAGE, text)


def measure_epochs(seconds: Seconds, rounds: int) -> None:
    """Epochs and scoring, by processes that stay."""
    with ExitStack() as stack:
        workers = {way: stack.enter_context(Worker(way)) for way in ("core", "keras", "torch", "scorer")}
        for _ in range(rounds):
            for way in ("core", "keras", "torch"):
                note(seconds, f"{way} epoch", workers[way].seconds("epoch"))
            for way, work in (("keras", "evaluate"), ("scorer", "evaluate"), ("scorer", "evaluate_raw")):
                note(seconds, f"{way} {work}", workers[way].seconds(work))


def measure_fits(seconds: Seconds, rounds: int, folder: Path) -> None:
    """Whole trainings, each in a process that has compiled nothing yet."""
    for turn in range(rounds):
        cache = str(folder / f"compiled-{turn}")
        for name, way in (("core fit", "fit"), ("core fit cached", "fit"), ("keras fit", "keras")):
            with Worker(way, NUMBA_CACHE_DIR=cache) as worker:
                note(seconds, name, worker.seconds("fit"))


def measure_jobs(seconds: Seconds, rounds: int, folder: Path) -> None:
    """The whole main job, from process start to registered version, its stages, and a plain script."""
    (source,) = (file for file in prepare.fetch("imdb", load_settings()).files if file.suffix == ".npz")
    own = machine.own_store(folder)
    job = [machine.SENTIFLOW, "train", "--recipe", "tutorial", "--force"]  # else an equal one is skipped
    script = [sys.executable, "-m", "benchmarks.plain_script", str(source)]
    store = open_store(Settings(tracking_uri=own["SENTIFLOW_TRACKING_URI"]))
    alone = {f"alone {name}": [sys.executable, "-c", code] for name, code in ALONE.items()}
    for _ in range(rounds):
        for name, command in {"job": job, "script": script, **alone}.items():
            started = time.perf_counter()
            subprocess.run(command, env={**os.environ, **own}, cwd=project_root(), check=True, capture_output=True)
            note(seconds, name, time.perf_counter() - started)
        newest = max(store.runs(), key=lambda run: run.started)
        for stage in STAGES:
            note(seconds, f"job {stage}", newest.seconds(stage))


def limits() -> tuple[float, float]:
    """Seconds of an epoch's recurrent products at the machine's rate: words alone, and with padding."""
    settings = load_settings()
    content = reviews.read(prepare.prepare(prepare.fetch("imdb", settings), settings).table)
    learnt, _ = content.learning_splits(TUTORIAL.validation_fraction)
    words = int(learnt.n_tokens.clip(max=TUTORIAL.sequence_length).sum())
    rate = machine.product_rate()
    machine.log(f"matrix products: {rate / 1e9:.0f} billion operations a second")
    all_steps = len(learnt) * TUTORIAL.sequence_length
    return tuple(machine.recurrence_operations(steps, TUTORIAL.units) / rate for steps in (words, all_steps))


def note(seconds: Seconds, name: str, value: float) -> None:
    seconds[name].append(value)
    machine.log(f"{name}: {value:.2f} s")


if __name__ == "__main__":
    main()
