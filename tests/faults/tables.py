"""Two tables trained at once."""

import random
import time
from pathlib import Path

import pandas as pd

from benchmarks.sample import sample_rows
from sentiflow.store.client import connect
from tests.faults.kills import run_open, start
from tests.faults.worlds import Worlds, check_whole
from tests.mlflow_store import versions_of
from tests.polling import until
from tests.world import World

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
