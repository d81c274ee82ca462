"""Compiled code on disk that is damaged, as a loss of power leaves it."""

import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.faults.campaign import Case, Red
from tests.faults.worlds import NAME, TRAIN, Worlds, check_whole, connect
from tests.mlflow_store import versions_of
from tests.world import ROOT, Registry, World

COMPILE = """
from sentiflow.training.network import kernels
from sentiflow.training.network.recurrence import compile_kernels
compile_kernels()
made = [each.stats for each in vars(kernels).values() if hasattr(each, "py_func")]
print(sum(sum(stats.cache_misses.values()) for stats in made))
"""


DAMAGE: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "cut": lambda content, random_: content[: random_.randrange(1, len(content))],
    "zeros": lambda content, _random: bytes(len(content)),
    "empty": lambda _content, _random: b"",
}
SUFFIXES = (".nbc", ".nbi")


def damaged_cache(worlds: Worlds, folder: Path, seed: int) -> dict[str, int]:
    """A training with damaged compiled code gives what it gave before, and leaves whole files."""
    world, random_ = worlds.copy(folder / "world"), random.Random(seed)
    cache = folder / "compiled"
    every = _compiled(cache)
    damage, suffix = list(DAMAGE)[seed % len(DAMAGE)], SUFFIXES[seed // len(DAMAGE) % 2]
    files = sorted(cache.rglob(f"*{suffix}"))
    for file in files:
        file.write_bytes(DAMAGE[damage](file.read_bytes(), random_))
    arguments = (*TRAIN, "--seed", "4", "--force")
    done = world.run(*arguments, timeout=900, PREFECT_API_URL="", NUMBA_CACHE_DIR=str(cache))
    assert done.returncode == 0, f"the training ended with {done.returncode}: {done.stderr[-2_000:]}"
    assert "it is compiled again" in done.stderr, f"nothing was said: {done.stderr[-2_000:]}"
    assert _digest(world, 4) == _digest(world, Registry.GOOD), "other weights than with whole files"
    assert _compiled(cache) < every, "the training kept nothing of what it compiled"  # it does not need all
    assert not _compiled(cache), "the damaged files were not made again"
    assert check_whole(world) == 4
    return {"damaged files": len(files)}


def _compiled(cache: Path) -> int:
    """Have all kernels ready in a new process; gives how many it did not find on disk."""
    environment = World(cache.parent).environment(NUMBA_CACHE_DIR=str(cache))
    done = subprocess.run(
        [sys.executable, "-c", COMPILE], env=environment, cwd=ROOT, capture_output=True, text=True, check=True
    )
    return int(done.stdout)


def _digest(world: World, number: int) -> str:
    return versions_of(connect(world.settings), NAME)[number].tags["mlflow.sentiflow.scorer.digest"]


F19 = Case(
    "F19",
    "Files of compiled code that cannot be read are made again; the training gives the same weights.",
    f"A try spoils all files of one kind ({', '.join(SUFFIXES)}) in turn so: {', '.join(DAMAGE)}. Then it trains "
    "with the recipe and the seed of a version: the training must say that it compiles again, and give the "
    "version's weights; the next process must find the files.",
    damaged_cache,
    short=1,
    long=6,
    reds=(
        Red(
            "a file that cannot be read ends the training", "sentiflow/training/network/kernels.py",
            "        except Exception:  # noqa: BLE001\n            _warn(",
            "        except LookupError:\n            _warn(", "the training ended with 1",
        ),
        Red(
            "a damaged index stays", "sentiflow/training/network/kernels.py",
            "                self.flush()", "                pass", "the training kept nothing", seed=3,
        ),
    ),
)  # fmt: skip
