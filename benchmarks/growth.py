"""Measure how time and memory grow, and write the tables and pictures of docs/growth.md: ``make bench-growth``.

    python -m benchmarks.growth [--only training scoring serving listing] [--write]

Every point is the median of some processes of their own; all data are made. An exponent is the slope of a straight
line through the logarithms: 1 means that twice as much takes twice as long.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

import numpy as np
import pandas as pd

from benchmarks import machine, scoring, serving, table
from benchmarks.made_runs import fill
from sentiflow.settings import Settings, load_settings, project_root
from sentiflow.store.client import connect, experiment_id
from sentiflow.store.find import find_version

PAGE = project_root() / "docs" / "growth.md"
ROUNDS = 3
BASE = {"reviews": 10_000, "length": 250, "vocabulary": 10_000, "units": 32, "members": 1}
TRAINING = {
    "reviews": (5_000, 10_000, 20_000, 40_000),
    "length": (125, 250, 500, 1_000),
    "vocabulary": (5_000, 10_000, 20_000, 40_000),
    "units": (16, 32, 64, 128),
    "members": (1, 2, 4, 8),
}
ROWS, ROW_WORDS = (25_000, 100_000, 400_000), 200
WORDS, WORD_ROWS = (50, 200, 800, 3_200), 25_000
TEXT_WORDS, CONNECTIONS = (50, 200, 800, 3_200), (1, 8, 64, 512)
RUNS = (300, 1_000, 3_000, 10_000)


@dataclass(frozen=True)
class Line:
    """One thing that grows, and what it takes at each size: seconds and megabytes."""

    name: str
    sizes: Sequence[int]
    seconds: Sequence[float]
    megabytes: Sequence[float]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--write", action="store_true", help="write the tables and pictures of docs/growth.md")
    parser.add_argument("--train", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.train:
        machine.log(json.dumps(train(**json.loads(chosen.train))))
        return
    for name in chosen.only:
        with tempfile.TemporaryDirectory() as folder:
            lines = list(PARTS[name](Path(folder)))
        text = render(lines)
        machine.log(text)
        if chosen.write:
            begin, end = f"<!-- make bench-growth writes {name} from here -->", f"<!-- to here, {name} -->"
            table.put_into(PAGE, text, begin, end)
            draw(lines, PAGE.with_name("images") / f"growth-{name}.png")


def training(_folder: Path) -> Iterator[Line]:
    """An epoch, once all is compiled; the memory is the process's."""
    for name, sizes in TRAINING.items():
        yield line(name, sizes, lambda size, name=name: _trained({**BASE, name: size}))


def _trained(sizes: dict[str, int]) -> tuple[float, float]:
    command = [sys.executable, "-m", "benchmarks.growth", "--train", json.dumps(sizes)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=project_root())
    seconds, megabytes = json.loads(done.stdout.splitlines()[-1])
    return seconds, megabytes


def train(*, reviews: int, length: int, vocabulary: int, units: int, members: int) -> tuple[float, float]:
    """Seconds of the second epoch, and the most megabytes of this process."""
    from sentiflow.data.reviews import Reviews
    from sentiflow.training.network import loop as network
    from sentiflow.training.recipes import load_recipe

    rng = np.random.default_rng(0)
    total = reviews + 500
    ids = np.minimum(3 + rng.zipf(1.3, total * length), vocabulary - 1).astype(np.int32)
    made = Reviews(
        np.arange(total), np.zeros(total, "U1"), rng.integers(0, 2, total).astype(np.int8),
        [*ids.reshape(total, length)],
    )  # fmt: skip
    changes = {
        "sequence_length": length, "vocabulary_size": vocabulary, "units": units, "ensemble_size": members,
        "epochs": 2, "early_stopping_patience": 0,
    }  # fmt: skip
    config = load_recipe("tuned", [f"{key}={value}" for key, value in changes.items()])
    trained = network.train(made.take(np.arange(reviews)), made.take(np.arange(reviews, total)), config, seed=0)
    return trained.history[-1].seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def scored(folder: Path) -> Iterator[Line]:
    """`sentiflow score`, from the start of its process to its end; the memory is that of all its processes."""
    version = find_version(load_settings(), "imdb-sentiment", None)

    def score(rows: int, words: int) -> tuple[float, float]:
        pd.DataFrame({"text": texts(rows, words)}).to_csv(folder / "in.csv", index=False)
        seconds, _, megabytes = scoring.score(folder / "in.csv", version)
        return seconds, megabytes

    yield line(f"rows of {ROW_WORDS} words", ROWS, lambda rows: score(rows, ROW_WORDS))
    yield line(f"words a row, {WORD_ROWS:,} rows", WORDS, lambda words: score(WORD_ROWS, words))


def served(folder: Path) -> Iterator[Line]:
    """`sentiflow serve`, asked by wrk: the median time of an answer; the memory is the service's peak."""
    version = find_version(load_settings(), "imdb-sentiment", None)
    contender, *_ = serving.contenders(version, serving.copied_registry(folder, version))

    def ask(words: int, connections: int) -> tuple[float, float]:
        found = serving.measure(contender, folder, texts(100, words), 4, (connections,))
        return found.loads["/predict", connections].p50 / 1000, found.megabytes

    yield line("words of a text, 1 connection", TEXT_WORDS, lambda words: ask(words, 1))
    yield line("connections, 200 words", CONNECTIONS, lambda connections: ask(200, connections))


def listed(folder: Path) -> Iterator[Line]:
    """`sentiflow runs`, from the start of its process to its end, on a local store."""
    stores = {}
    for count in RUNS:
        settings = Settings(_env_file=None, tracking_uri=f"sqlite:///{folder / str(count) / 'mlflow.db'}")
        fill(settings.sqlite_file, experiment_id(connect(settings), settings), count)
        stores[count] = settings.tracking_uri
    sorted_ = ("--since", "30d", "--sort", "-accuracy")
    for name, more in (("runs", ()), ("runs, filtered and sorted", sorted_)):
        yield line(name, RUNS, lambda count, more=more: _listed(stores[count], more))


def _listed(uri: str, more: Sequence[str]) -> tuple[float, float]:
    seconds, megabytes, _ = scoring.watch((machine.SENTIFLOW, "runs", *more), SENTIFLOW_TRACKING_URI=uri)
    return seconds, megabytes


PARTS: dict[str, Callable[[Path], Iterator[Line]]] = {
    "training": training, "scoring": scored, "serving": served, "listing": listed,
}  # fmt: skip


def line(name: str, sizes: Sequence[int], measure: Callable[[int], tuple[float, float]]) -> Line:
    """The medians at each size, all sizes in turns."""
    rounds = [[measure(size) for size in sizes] for _ in range(ROUNDS)]
    medians = [
        [statistics.median(values) for values in zip(*of_size, strict=True)]
        for of_size in zip(*rounds, strict=True)
    ]
    found = Line(name, sizes, *zip(*medians, strict=True))
    machine.log(str(found))
    return found


def texts(rows: int, words: int) -> list[str]:
    """Made texts of common words."""
    rng = np.random.default_rng(0)
    known = np.array(["the", "a", "film", "plot", "acting", "was", "is", "not", "very", "good", "bad", "dull"])
    return [" ".join(row) for row in known[rng.integers(0, len(known), (rows, words))]]


def exponent(sizes: Sequence[int], values: Sequence[float]) -> float:
    """The power with which the values grow."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def render(lines: Sequence[Line]) -> str:
    """Markdown of the lines, and of machine and day."""
    rows = ["| more | from, to | time | exponent | MB | exponent |", "|---|---|---|---:|---|---:|"]
    for each in lines:
        in_ms = max(each.seconds) < 1
        took = " → ".join(f"{value * 1_000 if in_ms else value:.3g}" for value in each.seconds)
        megabytes = " → ".join(f"{value:,.0f}" for value in each.megabytes)
        sizes = " → ".join(f"{size:,}" for size in each.sizes)
        powers = [exponent(each.sizes, values) for values in (each.seconds, each.megabytes)]
        took += " ms" if in_ms else " s"
        rows.append(f"| {each.name} | {sizes} | {took} | {powers[0]:.2f} | {megabytes} | {powers[1]:.2f} |")
    note = f"Medians of {ROUNDS} rounds on {datetime.now(UTC):%Y-%m-%d}. {machine.describe()}."
    return "\n".join([*rows, "", note])


def draw(lines: Sequence[Line], file: Path) -> None:
    """Of each line the seconds, as multiples of the first, and the megabytes, against the multiple of the size."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for each in lines:
        times = [size / each.sizes[0] for size in each.sizes]
        left.plot(times, [value / each.seconds[0] for value in each.seconds], marker="o", label=each.name)
        right.plot(times, each.megabytes, marker="o")
    left.set_yscale("log", base=2)
    left.yaxis.set_major_formatter("{x:g}")
    for axes, what in ((left, "times the seconds"), (right, "megabytes")):
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set(xlabel="times as much", ylabel=what)
        axes.grid(visible=True, alpha=0.3)
    right.set_ylim(0, 1.1 * max(max(each.megabytes) for each in lines))
    left.legend(fontsize=8)
    figure.savefig(file, dpi=110)


if __name__ == "__main__":
    main()
