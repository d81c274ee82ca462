"""The benchmark of the loop of labels: its texts, and the gate that guards the base."""

import csv
import re
from pathlib import Path

import pytest

from benchmarks import label_loop
from benchmarks.label_loop import Rows, strange_words
from flows.train import train
from sentiflow.promotion import switch
from sentiflow.scoring import LABEL_NAMES
from sentiflow.settings import load_settings
from sentiflow.store.find import champion_of, open_store
from tests.world import World


def words(rows: Rows) -> set[str]:
    return {word for text, _ in rows for word in re.findall(r"\w+", text.lower())}


def test_only_words_that_judge_change_and_to_words_that_were_never_said(tmp_path: Path) -> None:
    made, strange = label_loop.World(3, tmp_path), strange_words(3)
    assert len(strange) == len(set(strange.values())) == 2 * 21  # three quarters of 28 each
    before, after = words([*made.base, *made.unchanged]), words([*made.changed, *made.fresh])
    assert before - after == set(strange)
    assert after - before == set(strange.values())


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
