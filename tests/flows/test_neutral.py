"""Neutral rows teach limits, and unsure texts are called neutral, by every way to ask."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from tests.sentiflow.serving import service
from tests.world import World

pytestmark = pytest.mark.story

WORDS = {"bad": ["awful", "dull", "poor", "boring"], "good": ["great", "lovely", "superb", "moving"]}
FILLER = ["film", "story", "plot", "cast", "scene", "music", "ending", "night", "hour", "year", "city", "house"]


def texts(label: str, n: int, seed: int) -> list[str]:
    """Texts with two words of their label; neutral ones with a word of each."""
    rng = np.random.default_rng(seed)
    of = [label, label] if label in WORDS else ["bad", "good"]
    return [
        " ".join(rng.permutation([*(rng.choice(WORDS[each]) for each in of), *rng.choice(FILLER, 8)]))
        for _ in range(n)
    ]


def write(path: Path, n: int, seed: int, column: str = "label") -> Path:
    with path.open("w", newline="") as stream:
        out = csv.writer(stream)
        out.writerow(["text", column])
        out.writerows([text, label] for label in ("bad", "so-so", "good") for text in texts(label, n, seed))
    return path


def test_neutral_rows_teach_when_to_answer_neutral(world: World) -> None:
    table = write(world.root / "mine.csv", 300, 0)
    trained = world.run("train", "--dataset", str(table), "--labels", "good=1,bad=0,so-so=between", "--promote")
    assert (trained.returncode, "With neutral as a third answer" in trained.stdout) == (0, True), trained
    asked = write(world.root / "asked.csv", 40, 1, "truth")
    world.run("score", str(asked), "-o", "out.csv", "--with-neutral", "--keep", "truth")
    with (world.root / "out.csv").open(newline="") as stream:
        rows = [(row["truth"], row["label"]) for row in csv.DictReader(stream)]
    right = {"bad": "bad", "so-so": "neutral", "good": "good"}
    assert sum(right[label] == said for label, said in rows) > 0.85 * len(rows)
    (unsure,) = texts("so-so", 1, 2)
    answers = json.loads(world.run("predict", "--with-neutral", "--json", unsure).stdout)["answers"]
    assert answers[0]["label"] == "neutral"
    assert json.loads(world.run("predict", "--json", unsure).stdout)["answers"][0]["label"] in WORDS
    with service.running(world) as running, running.client() as http:
        for asked_for, labels in ((True, {"neutral"}), (False, {*WORDS})):
            answer = http.post("/predict", params={"with_neutral": asked_for}, json={"text": unsure})
            assert answer.json()["predictions"][0]["label"] in labels
    refused = world.run("predict", "--dataset", "base", "--with-neutral", unsure)
    assert (refused.returncode, "--labels neutral=between" in refused.stderr) == (2, True)
    report = world.run("compare", "mine-sentiment@champion")
    assert "Three answers" in report.stdout
