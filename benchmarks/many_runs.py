"""Measure what finding runs takes among a thousand: the commands, and the table of MLflow's UI in Chromium.

The commands read the local store, then ask a server over it.

    python -m benchmarks.many_runs [--runs 1000] [--rounds 5] [--keep FOLDER]

The runs are made by SQL in a store of their own: as many parameters, metrics, epochs and tags as a training logs.
"""

import argparse
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

from playwright.sync_api import Page

from benchmarks import machine
from benchmarks.made_runs import fill
from sentiflow.settings import Settings
from sentiflow.store.client import connect, experiment_id
from sentiflow.store.find import open_store
from tests import browsers, servers

WORKERS = "1"  # the least that a team may have


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.many_runs", description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--keep", type=Path, help="make the store here, and leave it")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = chosen.keep or Path(folder)
        settings = Settings(_env_file=None, tracking_uri=f"sqlite:///{place / 'mlruns' / 'mlflow.db'}")
        if not open_store(settings).runs():
            fill(settings.sqlite_file, experiment_id(connect(settings), settings), chosen.runs)
        scored = [run.run_id for run in open_store(settings).runs() if "scored" in run.tags]
        measure_commands(settings.tracking_uri, scored, chosen.rounds)
        arguments = ["server", "--workers", WORKERS, "--backend-store-uri", settings.tracking_uri]
        with servers.mlflow(arguments, place, "/health") as address:
            machine.log(f"on a server with {WORKERS} worker:")
            measure_commands(address, scored, chosen.rounds)
        machine.log(f"{'MLflow, the table':<40} {seconds_to_table(settings, chosen.rounds)}")
    machine.log(machine.describe())


def measure_commands(uri: str, scored: list[str], rounds: int) -> None:
    """Print wall and user seconds of whole commands, medians over rounds."""
    commands = {
        "runs": ("runs",),
        "runs, filtered and sorted": ("runs", "--since", "30d", "--sort", "-accuracy"),
        "runs, all of them as JSON": ("runs", "--json", "--children", "--limit", "100000"),
        "compare, two runs": ("compare", *scored[:2]),
        "compare, two beginnings of ids": ("compare", *(run_id[:8] for run_id in scored[:2])),
        "compare, twenty runs": ("compare", *scored[:20]),
    }
    took = {name: [measure(arguments, uri) for _ in range(rounds)] for name, arguments in commands.items()}
    for name, rows in took.items():
        wall, user = (statistics.median(column) for column in zip(*rows, strict=True))
        machine.log(f"{name:<40} {wall:.2f} s, {user:.2f} s of it user time")


def measure(arguments: tuple[str, ...], uri: str) -> tuple[float, float]:
    """Wall and user seconds of one command."""
    command = [machine.SENTIFLOW, *arguments]
    environment = {**os.environ, "SENTIFLOW_TRACKING_URI": uri}
    started = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    return time.perf_counter() - started, used.ru_utime


def seconds_to_table(settings: Settings, rounds: int) -> str:
    """Seconds from opening the page to the first rows, in words: the median over rounds, each in a new context."""
    experiment = experiment_id(connect(settings), settings)
    store = ["server", "--workers", "1", "--backend-store-uri", settings.tracking_uri]
    with (
        tempfile.TemporaryDirectory() as folder,
        servers.mlflow(store, Path(folder), "/health") as address,
        browsers.chromium() as browser,
    ):
        page = f"{address}/#/experiments/{experiment}/runs"
        took = [_open(browser.new_page(), page) for _ in range(rounds)]
    return f"{statistics.median(took):.2f} s to the first rows, {max(took):.2f} s the longest"


def _open(page: Page, address: str) -> float:
    started = time.perf_counter()
    page.goto(address)
    page.get_by_text("-made0").first.wait_for(timeout=60_000)
    took = time.perf_counter() - started
    page.close()
    return took


if __name__ == "__main__":
    main()
