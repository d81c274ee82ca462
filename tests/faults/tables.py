"""Two tables trained at once, and a table that is larger than what memory may take."""

import random
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pyarrow.csv

from benchmarks.sample import sample_rows
from sentiflow.store.client import connect
from tests.faults.kills import run_open, start
from tests.faults.worlds import SAMPLE, Worlds, check_whole, put_in_use, scorer_of
from tests.mlflow_store import versions_of
from tests.polling import until
from tests.world import Registry, World

TABLES = {"hotels": 21, "films": 22}  # and the seeds of their rows
LABELS = ("negative", "positive")
ROWS = 600


def _train(name: str) -> tuple[str, ...]:
    fields = ("--set", "epochs=2", "--set", "sequence_length=40")
    return "train", "--dataset", f"{name}.csv", "--recipe", "tutorial", "--start-from", "none", *fields


def _with_tables(world: World) -> World:
    for name, seed in TABLES.items():
        rows = [(text, LABELS[label]) for text, label, _ in sample_rows(ROWS, 2, seed)]
        pd.DataFrame(rows, columns=["text", "label"]).to_csv(world.root / f"{name}.csv", index=False)
    return world


def _digests(world: World) -> dict[str, str]:
    """What the only version of each table scores with."""
    found = {name: versions_of(connect(world.settings), f"{name}-sentiment") for name in TABLES}
    assert all([*versions] == [1] for versions in found.values()), found


def at_once(worlds: Worlds, folder: Path, seed: int) -> None:
    """Train two tables at once, in every second try with one of them killed and trained again: as one by one."""
    alone, world = (_with_tables(worlds.copy(folder / name)) for name in ("alone", "world"))
    for name in TABLES:
        done = alone.run(*_train(name), timeout=600, PREFECT_API_URL="")
        assert done.returncode == 0, done.stderr
    trainings = {name: start(world, "sentiflow", *_train(name)) for name in TABLES}
    if seed % 2:
        name = random.Random(seed).choice([*TABLES])
        until(lambda: run_open(world), "a run in MLflow", 300)
        time.sleep(random.Random(seed).uniform(0, 5))
        trainings[name].kill()
        trainings.pop(name).wait()
    for name, training in trainings.items():
        assert training.wait(600) == 0, f"{name}: {(world.root / 'output.txt').read_text()[-3_000:]}"
    for name in TABLES.keys() - trainings.keys():
        again = world.run(*_train(name), timeout=600, PREFECT_API_URL="")
        assert again.returncode == 0, again.stderr
    assert _digests(world) == _digests(alone), "other weights than trained alone"
    for name in TABLES:
        check_whole(world, name=f"{name}-sentiment")


SIZE = 1_000_000_000  # bytes of the table
DISTINCT = 997  # of its texts, each as long as a review of IMDB
MOST_GROWTH = 150_000_000  # bytes of all processes together, from the first fifth of the rows on


def large(worlds: Worlds, folder: Path, seed: int) -> None:
    """Score 1 GB to its end: each row has the score of its text, and memory stays flat."""
    world = worlds.copy(folder / "world")
    client, table, output = put_in_use(world, Registry.GOOD), world.root / "in.csv", world.root / "out.csv"
    short = [text for text, _, _ in sample_rows(DISTINCT * 8, 2, seed)]
    texts = [" ".join(short[row * 8 : row * 8 + 8]).replace('"', "") for row in range(DISTINCT)]
    every = "".join(f'"{text}"\n' for text in texts)
    with table.open("w") as file:
        file.write("text\n")
        file.writelines(every for _ in range(-(-SIZE // len(every))))
    rows = -(-SIZE // len(every)) * DISTINCT
    process = start(world, "sentiflow", "score", str(table), "-o", str(output), *SAMPLE)
    used: list[int] = []
    while process.poll() is None:
        used.append(sum(map(_memory, world.processes())))
        time.sleep(1)
    assert process.returncode == 0, (world.root / "output.txt").read_text()[-3_000:]
    early, most = max(used[: len(used) // 5]), max(used)
    assert most < early + MOST_GROWTH, f"{early / 1e6:,.0f} MB at first, {most / 1e6:,.0f} MB later"
    expected, done = scorer_of(client, Registry.GOOD).score(texts), 0
    for batch in pyarrow.csv.open_csv(output):
        numbers, scores = batch["row"].to_numpy(), batch["score"].to_numpy()
        assert np.array_equal(numbers, np.arange(done, done + len(numbers)) + 1), "a row is lost or out of order"
        assert np.abs(scores - expected[(numbers - 1) % DISTINCT]).max() < 1e-6, "another score"
        done += len(numbers)
    left = [path.name for path in world.root.glob(".out.csv*")]
    assert (done, left) == (rows, []), f"{done:,} rows of {rows:,}, files left: {left}"


def _memory(process: int) -> int:
    try:
        return int(psutil.Process(process).memory_info().rss)
    except psutil.NoSuchProcess:
        return 0
