"""The loop: labels become rows, the next training learns from them, and the gate says what it judged."""

import csv
import json
import re
from hashlib import sha256
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from benchmarks.sample import sample_rows
from sentiflow.data.division import text_id
from sentiflow.data.prepare import fetch, prepare
from sentiflow.data.table import TableOptions
from sentiflow.monitoring.log import SERVED, Entry, TextLog
from sentiflow.store.client import connect
from tests.world import Trained, World, copy_world

pytestmark = pytest.mark.story

MODEL = "reviews-sentiment"
RECIPE = ("--recipe", "tutorial", "--set", "sequence_length=80", "--set", "epochs=2")
LABELS = "good=1,bad=0,so-so=1"
NAMES = {0: "bad", 1: "good"}


def write(file: Path, seed: int, names: dict[int, str]) -> dict[str, int]:
    found = {text: label for text, label, _ in sample_rows(2, 400, seed)}
    with file.open("w", newline="") as lines:
        csv.writer(lines).writerows([("text", "label"), *((text, names[label]) for text, label in found.items())])
    return found


@pytest.fixture
def world(trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = copy_world(tmp_path, trained.world)
    made.enter(monkeypatch)
    return made


def run(world: World, *arguments: str) -> str:
    more = {"PREDICTION_LOG_DIR": str(world.root / "log"), "GATE_BASELINE": "false", "GATE_MIN_ACCURACY": "0"}
    done = world.run(*arguments, **{f"SENTIFLOW_{name}": value for name, value in more.items()})
    assert done.returncode in (0, 4), done.stderr
    return done.stdout + done.stderr


def test_labels_become_rows_of_the_next_training_and_the_gate_tells_how_many_it_judged(world: World) -> None:
    folder = world.root / "reviews"
    folder.mkdir()
    write(folder / "base.csv", 3, NAMES)
    train = ("train", "--dataset", "reviews", "--labels", LABELS, "--promote", *RECIPE)
    run(world, *(word for word in train if word != "--promote"))
    told = run(world, "promote", "1", "--dataset", "reviews", "--reason", "the first one")
    assert "version 1 is now the champion" in told
    truth = {text: label for text, label, _ in sample_rows(2, 60, 5)}
    log = TextLog(world.root / "log", 10_000_000)
    log.append([Entry("2026-01-01T00:00:00", SERVED, MODEL, 1, 0.5, text) for text in truth])
    settings = world.settings.model_copy(update={"prediction_log_dir": world.root / "log"})

    run(world, "label", "--texts", "50", "--dataset", "reviews")
    run(world, "label", "--dataset", "reviews", "--export", "texts.csv")
    with (world.root / "texts.csv").open(newline="") as lines, (world.root / "done.csv").open("w") as out:
        csv.writer(out).writerow(("id", "label"))
        csv.writer(out).writerows((row["id"], NAMES[truth[row["text"]]]) for row in csv.DictReader(lines))
    run(world, "label", "--dataset", "reviews", "--import", "done.csv", "--by", "anna")

    told = run(world, "data", "--dataset", "reviews", "--from-labels", "--labels", LABELS)
    assert (
        f"Labels: {folder}/labelled-reviews-1.jsonl" in told
        and "The next training of reviews learns from them." in told
    )
    rows = [json.loads(line) for line in (folder / "labelled-reviews-1.jsonl").open()]
    assert len(rows) == 50 and all(truth[row["text"]] == (row["label"] == "good") for row in rows)

    told = run(world, *train)
    tests = sum(is_test(row["text"]) for row in rows)
    assert 0 < tests < 50 and f"Texts in use not judged ({tests} of 400 labelled test texts)." in told

    def digest() -> str:
        options = TableOptions(labels={"good": 1, "bad": 0})
        return prepare(fetch(str(folder), settings, options=options), settings).digest

    before, gone = digest(), next(row["text"] for row in rows if is_test(row["text"]))
    told = run(world, "label", "--dataset", "reviews", "--delete", text_id(gone))
    assert gone not in (folder / "labelled-reviews-1.jsonl").read_text()
    second = connect(settings).get_model_version(MODEL, "2").run_id
    assert second[:8] in told and connect(settings).get_model_version(MODEL, "1").run_id[:8] not in told
    kept = [
        pq.read_table(table)["review_id"].to_pylist() for table in world.root.rglob("datasets/reviews/*.parquet")
    ]
    assert kept and not any(text_id(gone) in ids for ids in kept)
    assert digest() != before


def is_test(text: str) -> bool:
    words = " ".join(word for word in re.findall(r"[a-z0-9']+", text.lower()) if word not in ("a", "i"))
    return int(sha256(words.encode()).hexdigest()[:16], 16) < 0.2 * 2**64


@pytest.mark.weekly
def test_labels_are_called_as_the_table_has_them(world: World) -> None:
    """Red if a model that answers `good or so-so` makes rows that no training can read."""
    folder = world.root / "reviews"
    folder.mkdir()
    texts = list(write(folder / "base.csv", 3, NAMES))
    write(folder / "more.csv", 4, {0: "bad", 1: "so-so"})
    run(world, "train", "--dataset", "reviews", "--labels", LABELS, *RECIPE)
    log = TextLog(world.root / "log", 10_000_000)
    log.append([Entry("2026-01-01T00:00:00", SERVED, MODEL, 1, 0.5, f"{text} now") for text in texts[:20]])
    run(world, "label", "--texts", "20", "--dataset", "reviews")
    run(world, "label", "--dataset", "reviews", "--export", "texts.csv")
    with (world.root / "texts.csv").open(newline="") as lines, (world.root / "done.csv").open("w") as out:
        csv.writer(out).writerow(("id", "label"))
        csv.writer(out).writerows((row["id"], "good or so-so") for row in csv.DictReader(lines))
    run(world, "label", "--dataset", "reviews", "--import", "done.csv", "--by", "anna")
    told = run(world, "data", "--dataset", "reviews", "--from-labels", "--labels", LABELS)
    assert "rejected" not in told
    rows = [json.loads(line) for line in (folder / "labelled-reviews-1.jsonl").open()]
    assert {row["label"] for row in rows} == {"good"}
