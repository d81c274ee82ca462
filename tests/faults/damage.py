"""Files that change without a sign of it: wrong bits in prepared reviews, other rows in a table of equal size."""

import os
import random
import shutil
import subprocess
import time
from pathlib import Path

from sentiflow.data import reviews
from sentiflow.data.prepare import Prepared, fetch, find_prepared, prepare
from sentiflow.store.client import connect
from tests.faults.kills import QUICK
from tests.faults.worlds import SAMPLE, TRAIN, Worlds, check_whole, put_in_use, scorer_of
from tests.mlflow_store import versions_of
from tests.world import Registry, command

FLIPS = 60  # of each file
ROWS = 60_000  # of the table


def flip(path: Path, random_: random.Random) -> None:
    """Turn one bit of a file round."""
    content = bytearray(path.read_bytes())
    content[random_.randrange(len(content))] ^= 1 << random_.randrange(8)
    path.write_bytes(content)


def _digest_of(prepared: Prepared) -> str:
    """Of what a training would read now."""
    reviews._load.cache_clear()  # as in another process
    return reviews.digest(reviews.read(prepared.table), reviews.read_vocabulary(prepared.table))


def prepared_reviews(worlds: Worlds, folder: Path, seed: int) -> None:
    """Flip bits of prepared reviews, their words and their note; then let a command train on damaged words."""
    world, random_ = worlds.copy(folder / "world"), random.Random(seed)
    shutil.rmtree(world.root / "data" / "datasets", ignore_errors=True)  # also with what other code has prepared
    right = prepare(fetch("sample", world.settings), world.settings)
    words = reviews.vocabulary_file(right.table)
    [note] = right.table.parent.glob(".*.json")
    noticed = 0
    for path in (right.table, words, note):
        content = path.read_bytes()
        for _ in range(FLIPS):
            flip(path, random_)
            reviews._load.cache_clear()
            found = find_prepared("sample", world.settings)
            found = found if found is not None and reviews.find(found.table) else None
            noticed += found is None
            assert found is None or found.digest == right.digest, f"{path.name}: another digest"
            assert found is None or found.left_out == {}, f"{path.name}: another note"
            assert found is None or _digest_of(found) == right.digest, f"{path.name}: other reviews, by their name"
            path.write_bytes(content)
    words.write_text(words.read_text().replace('"charming"', '"bharming"'))
    training = (*TRAIN, *QUICK, "--seed", str(100 + seed))
    done = world.run(*training, timeout=900, PREFECT_API_URL="")
    assert done.returncode == 0, f"the training ended with {done.returncode}: {done.stderr[-1_500:]}"
    assert done.stderr.count("Damaged: ") == 1, f"the damage is not told once: {done.stderr}"
    client, number = connect(world.settings), Registry.NEWEST + 1
    assert sorted(versions_of(client, "sample-sentiment"))[-1] == number
    assert "charming" in scorer_of(client, number).vocabulary.words, "the damaged words were registered"
    assert _digest_of(right) == right.digest, "the reviews were not made again"
    again = world.run(*training, timeout=900, PREFECT_API_URL="")
    assert "Nothing to train" in again.stdout + again.stderr, "the same recipe was trained again"
    check_whole(world)


def _write_table(path: Path, changed: range) -> None:
    """A table whose rows of some numbers are others, of the same size, and whose time is always the same."""
    words = ("the film was fine but the ending was dull", "the ending was fine but the film was good")
    rows = (f"row {k:06} {words[k in changed]} and touching {'again ' * 12}\n" for k in range(ROWS))
    path.write_text("text\n" + "".join(rows))
    os.utime(path, (1_700_000_000, 1_700_000_000))


def changed_table(worlds: Worlds, folder: Path, seed: int) -> None:
    """Kill the scoring of a table, change its middle, and run the same command again."""
    world, random_ = worlds.copy(folder / "world"), random.Random(seed)
    put_in_use(world, Registry.GOOD)
    table = world.root / "in.csv"
    _write_table(table, range(0))
    scoring = ("score", str(table), *SAMPLE, "--workers", "1", "-o")
    with subprocess.Popen([command(), *scoring, "out.csv"], cwd=world.root, env=world.environment()) as killed:
        while not any(world.root.glob(".out.csv.*.partial")):
            assert killed.poll() is None, "the scoring ended before it could be killed"
            time.sleep(0.01)
        time.sleep(random_.random() / 2)
        killed.kill()
    first = random_.randrange(10_000, 15_000)
    _write_table(table, range(first, first + 3_000))
    for output in ("out.csv", "fresh.csv"):
        done = world.run(*scoring, output, timeout=600)
        assert done.returncode == 0, f"scoring ended with {done.returncode}: {done.stderr[-1_500:]}"
    lines = [(world.root / name).read_text().splitlines() for name in ("out.csv", "fresh.csv")]
    wrong = sum(one != other for one, other in zip(*lines, strict=True))
    assert wrong == 0, f"{wrong} rows are not those of the table"
    left = sorted(path.name for path in world.root.glob(".out.csv*"))
    assert not left, f"files left: {left}"
