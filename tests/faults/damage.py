"""Files that change without a sign of it: wrong bits in prepared reviews, other rows in a table of equal size."""

import os
import random
import shutil
import subprocess
import time
from pathlib import Path

from sentiflow.data import reviews
from sentiflow.data.prepare import Prepared, fetch, find_prepared, prepare
from sentiflow.tracking.client import connect
from tests.faults.campaign import Case, Red
from tests.faults.kills import QUICK
from tests.faults.worlds import SAMPLE, TRAIN, Worlds, check_whole, put_in_use, scorer_of
from tests.mlflow_store import versions_of
from tests.world import Registry, World, command

FLIPS = 60  # of each file
ROWS, KILLED_AT = 60_000, 8  # of the table; parts that are finished at the kill


def flip(path: Path, random_: random.Random) -> None:
    """Turn one bit of a file round."""
    content = bytearray(path.read_bytes())
    content[random_.randrange(len(content))] ^= 1 << random_.randrange(8)
    path.write_bytes(content)


def _digest_of(prepared: Prepared) -> str:
    """Of what a training would read now."""
    reviews._load.cache_clear()  # as in another process
    return reviews.digest(reviews.read(prepared.table), reviews.read_vocabulary(prepared.table))


def prepared_reviews(worlds: Worlds, folder: Path, seed: int) -> dict[str, int]:
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
            found = found if found is not None and reviews.is_whole(found.table) else None
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
    return {"bits": 3 * FLIPS, "of them noticed": noticed, "trainings": 1}


F16 = Case(
    "F16",
    "Nothing is trained on prepared reviews that are not what they were: they are made again.",
    f"A try flips {FLIPS} single bits each of the prepared reviews, of their words and of their note: a table "
    "that is still found must hold the same reviews. Then it changes a word and runs `sentiflow train`: that must "
    "say that the file is damaged, and register the right words; the same command again finds nothing to train.",
    prepared_reviews,
    short=1,
    long=5,
    reds=(
        Red(
            "a prepared table is trusted by its name", "sentiflow/data/reviews.py",
            "if (found := digest(content, words)) != table.stem:",
            'if (found := digest(content, words)) == "":', "other reviews, by their name",
        ),
        Red(
            "a damaged note is believed", "sentiflow/data/prepare.py",
            '        if noted.pop("sha256") != _signature(noted):\n            return None\n',
            '        noted.pop("sha256")\n', "another note | another digest | KeyError",
        ),
    ),
)  # fmt: skip


def _write_table(path: Path, changed: range) -> None:
    """A table whose rows of some numbers are others, of the same size, and whose time is always the same."""
    words = ("the film was fine but the ending was dull", "the ending was fine but the film was good")
    rows = (f"row {k:06} {words[k in changed]} and touching {'again ' * 12}\n" for k in range(ROWS))
    path.write_text("text\n" + "".join(rows))
    os.utime(path, (1_700_000_000, 1_700_000_000))


def changed_table(worlds: Worlds, folder: Path, seed: int) -> dict[str, int]:
    """Kill the scoring of a table, change its middle or a finished part, and run the same command again."""
    world, random_ = worlds.copy(folder / "world"), random.Random(seed)
    put_in_use(world, Registry.GOOD)
    table, what = world.root / "in.csv", ("rows", "a part", "both")[seed % 3]
    _write_table(table, range(0))
    scoring = ("score", str(table), *SAMPLE, "--workers", "1", "-o")
    parts = _kill(world, [*scoring, "out.csv"])
    if what != "rows":
        flip(random_.choice(parts), random_)
    first = random_.randrange(10_000, 15_000)
    changed = range(first, first + 3_000) if what != "a part" else range(0)
    _write_table(table, changed)
    for output in ("out.csv", "fresh.csv"):
        done = world.run(*scoring, output, timeout=600)
        assert done.returncode == 0, f"scoring ended with {done.returncode}: {done.stderr[-1_500:]}"
        assert ("Resuming" in done.stderr) == (output == "out.csv"), f"the run did not go on: {done.stderr}"
    lines = [(world.root / name).read_text().splitlines() for name in ("out.csv", "fresh.csv")]
    wrong = sum(one != other for one, other in zip(*lines, strict=True))
    assert wrong == 0, f"{wrong} rows are not those of the table"
    return {"kills": 1, "rows changed": len(changed), "parts damaged": int(what != "rows")}


def _kill(world: World, arguments: list[str]) -> list[Path]:
    """Kill a scoring once so many parts are finished; gives those there are."""
    folder = world.root / ".out.csv.parts"
    with subprocess.Popen([command(), *arguments], cwd=world.root, env=world.environment()) as scoring:
        while len([*folder.glob("*.arrow")]) < KILLED_AT:
            assert scoring.poll() is None, "the scoring ended before it could be killed"
            time.sleep(0.01)
        scoring.kill()
    return sorted(folder.glob("*.arrow"))


F17 = Case(
    "F17",
    "Scoring that was killed goes on with what is the same as before, and scores the rest again.",
    f"A try kills `sentiflow score` on a table of {ROWS:,} rows once {KILLED_AT} parts are finished. In turn it "
    "changes 3,000 rows in the middle, and leaves the file's size and time as they were, flips a bit of a "
    "finished part, or does both. The same command must go on, and write what a scoring of the table as it is now "
    "writes.",
    changed_table,
    short=2,
    long=12,
    reds=(
        Red(
            "a part counts by its number of rows", "sentiflow/batch/output.py",
            "same = self._kept[chunk.number][0] == chunk.digest",
            "same = self.rows[chunk.number] == len(chunk)", "rows are not those of the table",
        ),
        Red(
            "a part is believed", "sentiflow/batch/output.py",
            'if path.name.split(".")[1] != _digest(content):',
            "if not content:", "rows are not those of the table | scoring ended with", seed=1,
        ),
    ),
)  # fmt: skip
