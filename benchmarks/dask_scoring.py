"""How far `sentiflow score` scales with Dask's workers: ``python -m benchmarks.dask_scoring [--write]``.

It scores the real test reviews, many times over, by clusters of this machine whose workers have one thread each.
What the command and the scheduler compute for a chunk, each in one thread, limits how many workers they can keep
busy, on whatever machines these are.
"""

import argparse
import os
import resource
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from distributed import Client, LocalCluster, get_task_stream

from benchmarks import machine, table
from benchmarks.scoring import MANY, command_for, tables
from sentiflow.data.rows import CHUNK_ROWS
from sentiflow.settings import load_settings
from sentiflow.store.find import find_version

BEGIN = "<!-- make bench-use writes the Dask table from here -->"
END = "<!-- to here, the Dask table -->"
WORKERS = 1, 2, 4
MODELLED = 100


@dataclass(frozen=True)
class Measured:
    """One table scored; all in seconds.

    Attributes:
        spans: of each chunk, when its scoring began and when it ended, in whichever worker.
        command: processor time of `sentiflow score`, its start included.
        scheduler: processor time of Dask's scheduler.
    """

    workers: int
    spans: Sequence[tuple[float, float]]
    command: float
    scheduler: float

    @property
    def seconds(self) -> float:
        """From the first chunk's beginning to the last one's end."""
        return max(end for _, end in self.spans) - min(begin for begin, _ in self.spans)

    @property
    def scoring(self) -> float:
        """Of all workers together."""
        return sum(end - begin for begin, end in self.spans)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dask_scoring", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the table in docs/speed.md")
    chosen = parser.parse_args()
    settings = load_settings()
    version = find_version(settings, "imdb-sentiment", None)
    with tables(settings) as (texts, once, many):
        short = measure(1, command_for(once, version))
        long = [measure(workers, command_for(many, version)) for workers in WORKERS]
        size = many.stat().st_size
    text = render(short, long, MANY * len(texts), size, machine.describe(), f"{datetime.now(UTC):%Y-%m-%d}")
    machine.log(text)
    if chosen.write:
        table.put_into(table.SPEED_PAGE, text, BEGIN, END)


def measure(workers: int, command: Sequence[str]) -> Measured:
    """Score by a cluster of its own, whose scheduler is a thread of this process."""
    with (
        LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        dask = {"SENTIFLOW_TASK_RUNNER": "dask", "SENTIFLOW_DASK_ADDRESS": cluster.scheduler_address}
        with get_task_stream(client) as stream:
            before, began = _children(), time.process_time()
            subprocess.run(command, env={**os.environ, **dask}, check=True, stdout=subprocess.DEVNULL)
            ended, after = time.process_time(), _children()
        spans = [
            (span["start"], span["stop"])
            for task in stream.data
            for span in task["startstops"]
            if span["action"] == "compute"
        ]
    done = Measured(workers, spans, after - before, ended - began)
    machine.log(f"{workers} workers, {len(spans)} chunks: {done.seconds:.2f} s, {done.scoring:.2f} s of scoring")
    return done


def _children() -> float:
    """Processor time of the processes that have ended; a cluster's end with it."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def render(short: Measured, long: Sequence[Measured], reviews: int, size: int, machine: str, date: str) -> str:
    """Markdown of the rates, and of what limits more workers.

    Args:
        short: a smaller table; what a chunk costs is the difference.
        long: with more and more workers; the first with one.
        reviews: that each of ``long`` scored.
        size: of their table, in bytes.
    """
    one = long[0]
    more = len(one.spans) - len(short.spans)
    command, scheduler = ((getattr(one, name) - getattr(short, name)) / more for name in ("command", "scheduler"))
    chunk = one.scoring / len(one.spans)
    busy = chunk / max(command, scheduler)
    lines = [
        f"| Dask workers, a thread each | seconds for {reviews:,} reviews | a second | of their time lost |",
        "|---:|---:|---:|---:|",
        *(
            f"| {each.workers} | {each.seconds:.1f} | {reviews / each.seconds:,.0f} "
            f"| {1 - each.scoring / each.workers / each.seconds:.0%} |"
            for each in long
        ),
        "",
        f"For a chunk of {CHUNK_ROWS:,} reviews ({size / len(one.spans) / 1e6:.1f} MB) one worker computes "
        f"{1000 * chunk:.0f} ms, the command {1000 * command:.0f} ms and the scheduler {1000 * scheduler:.1f} ms. "
        f"So a command keeps at most {busy:.0f} such workers busy, at {CHUNK_ROWS / max(command, scheduler):,.0f} "
        f"reviews a second; {MODELLED} of them would wait for it {max(0, 1 - busy / MODELLED):.0%} of their time. "
        f"Measured once, on {date}, the workers on the same cores as all else. {machine}.",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
