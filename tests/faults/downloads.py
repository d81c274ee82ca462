"""SIGKILL: in a first training, which makes its store, and downloads and prepares the reviews."""

import hashlib
import json
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np

from sentiflow.store.client import connect
from tests import servers
from tests.faults.campaign import Case, Red
from tests.faults.kills import QUICK, Command, kill
from tests.faults.worlds import Worlds, all_runs, check_whole
from tests.world import World

_REVIEWS, _WORDS = 25_000, 500  # of each split, as IMDB has; known
_PARTS, _PAUSE = 20, 0.1  # of a file as it is sent; seconds after each


def _is_trained(world: World) -> None:
    found = check_whole(world, name="imdb-sentiment")
    finished = [run.info.status for run in all_runs(connect(world.settings))].count("FINISHED")
    assert (finished, found) == (1, 1), f"{finished} runs have finished, and {found} versions are registered"
    files = [path for path in (world.root / "data" / "downloads").rglob("*") if path.is_file()]
    left = sorted(path.name for path in files if path.suffix != ".lock")
    assert left == ["imdb.npz", "imdb_word_index.json"], f"files beside the downloads: {left}"


TRAINING = Command(
    lambda _: ("train", "--dataset", "imdb", "--recipe", "tutorial", *QUICK),
    lambda world: any((world.root / "data" / "downloads").rglob("*.*")), 8,
    {
        "sentiflow.store.client:_create_sqlite": 1, "sentiflow.data.imdb:_write": 2,
        "sentiflow.data.imdb:fetch_file": 2, "sentiflow.data.reviews:write": 1,
        "sentiflow.data.prepare:publish": 1,
    },
    _is_trained,
)  # fmt: skip


def first_training(worlds: Worlds, folder: Path, seed: int) -> dict[str, int]:
    """Kill the first training in an empty folder, while it downloads or at a named step; the next one works."""
    world, at_step = World(folder / "world"), seed % 2 == 1
    world.root.mkdir()
    with _mirror(folder / "mirror") as variables:
        gone = kill(world, "the training", TRAINING, random.Random(seed), at_step=at_step, **variables)
        again = world.run(*TRAINING.arguments(world), timeout=900, PREFECT_API_URL="", **variables)
    assert again.returncode == 0, f"the training again ended with {again.returncode}: {again.stderr[-1_500:]}"
    TRAINING.check(world)
    return {"kills in its work": int(gone and not at_step), "kills at a named step": int(at_step)}


@contextmanager
def _mirror(folder: Path) -> Iterator[dict[str, str]]:
    """Serve made reviews in the place of IMDB's, slowly; gives the variables that name it."""
    folder.mkdir()
    random_ = np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    for split in ("train", "test"):
        labels = np.arange(_REVIEWS) % 2
        arrays[f"y_{split}"] = labels
        arrays[f"x_{split}"] = np.empty(_REVIEWS, dtype=object)
        arrays[f"x_{split}"][:] = [
            (1 + 2 * random_.integers(0, _WORDS // 2, 8) + label).tolist() for label in labels
        ]
    np.savez(folder / "imdb.npz", **arrays)
    words = {f"word{rank}": rank for rank in range(1, _WORDS + 1)}
    (folder / "imdb_word_index.json").write_text(json.dumps(words))
    with servers.http(partial(_Slow, directory=str(folder))) as port:
        yield {
            f"SENTIFLOW_{setting}_{what}": value
            for setting, name in (("IMDB", "imdb.npz"), ("WORD_INDEX", "imdb_word_index.json"))
            for what, value in (
                ("URL", f"http://127.0.0.1:{port}/{name}"),
                ("SHA256", hashlib.sha256((folder / name).read_bytes()).hexdigest()),
            )
        }


class _Slow(SimpleHTTPRequestHandler):
    def copyfile(self, source: Any, outputfile: Any) -> None:
        content = source.read()
        size = -(-len(content) // _PARTS)
        for start in range(0, len(content), size):
            try:
                outputfile.write(content[start : start + size])
            except ConnectionError:  # the training was killed
                return
            time.sleep(_PAUSE)

    def log_message(self, *_line: object) -> None:
        pass


F1D = Case(
    "F1d",
    "A first training may be killed while it makes its store, or downloads and prepares the reviews.",
    "A try starts `sentiflow train` in an empty folder, with a server that sends made reviews in "
    f"{_PARTS * _PAUSE:g} s a file. It kills the training with SIGKILL, in turn within {TRAINING.seconds:g} s of "
    "the first byte and right before or after a call of a named step: the store made, a file written, checked and "
    "renamed, the table of reviews written, and noted. Then it runs the same command again. In the end there is "
    "one run and one version, both downloads are there, and nothing beside them. The rest is as in F1.",
    first_training,
    short=0,
    long=14,
    reds=(
        Red(
            "what a killed download left stays", "sentiflow/data/imdb.py",
            "                path.unlink()\n", "                pass\n", "files beside the downloads", seed=1,
        ),
    ),
)  # fmt: skip
