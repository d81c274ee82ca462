"""The benchmark of the loop of labels: the gate guards the base."""

import csv
from pathlib import Path

import pytest

from benchmarks import label_loop
from benchmarks.label_loop import Rows
from flows.train import train
from sentiflow.promotion import switch
from sentiflow.scoring import LABEL_NAMES
from sentiflow.settings import load_settings
from sentiflow.store.find import champion_of, open_store
from tests.world import World


@pytest.mark.story
def test_a_promotion_keeps_the_champion_where_labels_alone_would_lose_the_base(
    world: World, prefect_server: None, tmp_path: Path
) -> None:
    made, folder, settings = label_loop.World(0, tmp_path), tmp_path / "reviews", load_settings()
    folder.mkdir()
    write(folder / "base.csv", made.base)
    train(label_loop.RECIPE, str(folder), 0)
    switch.promote("reviews-sentiment", 1, settings, force=True, reason="a test")
    (folder / "base.csv").unlink()
    write(folder / "labelled-1.csv", made.changed[:2_000])
    promotion = train(label_loop.RECIPE, str(folder), 0, promote=True, start_from="none").promotion
    assert promotion is not None and promotion.answer == "refused"
    passed = {rule.name: rule.passed for rule in promotion.decision.rules}
    assert passed["better"] and not passed["slice champion's test"]
    assert champion_of(open_store(settings), "reviews-sentiment") == 1


def write(file: Path, rows: Rows) -> None:
    with file.open("w", newline="") as lines:
        csv.writer(lines).writerows([("text", "label"), *((text, LABEL_NAMES[label]) for text, label in rows)])
