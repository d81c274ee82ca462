"""The loop of labels: the texts change, the monitor says so, labels win it back, and the gate guards the base."""

import csv
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import ttest_rel

from benchmarks import label_loop
from benchmarks.label_loop import Measured, Rows, cell, render, strange_words
from flows.train import train
from sentiflow.promotion import switch
from sentiflow.scoring import LABEL_NAMES
from sentiflow.settings import load_settings
from sentiflow.store.find import champion_of, open_store
from tests.world import World

SEEDS = 6  # of the 20 of docs/labels.md
LABELS = ("0 labels", "100 labels", "500 labels", "2,000 labels")

Found = list[dict[str, Measured]]


def words(rows: Rows) -> set[str]:
    return {word for text, _ in rows for word in re.findall(r"\w+", text.lower())}


def of(found: Found, name: str, key: str) -> NDArray[np.float64]:
    return np.array([each[name][key] for each in found], float)


def test_a_cell_is_a_share_or_a_mean_with_its_interval() -> None:
    assert cell([True, True, False, True]) == "3 of 4 (30% to 95%)"  # (3 + 1.92 -+ 1.96 * 1.31) / (4 + 3.84)
    assert cell([0.5, 0.6, 0.7]) == "60.0 (35.2 to 84.8)"  # 4.303 * 0.1 / sqrt(3) = 0.248


def test_only_words_that_judge_change_and_to_words_that_were_never_said(tmp_path: Path) -> None:
    made, strange = label_loop.World(3, tmp_path), strange_words(3)
    assert len(strange) == len(set(strange.values())) == 2 * 21  # three quarters of 28 each
    before, after = words([*made.base, *made.unchanged]), words([*made.changed, *made.fresh])
    assert before - after == set(strange)
    assert after - before == set(strange.values())


@pytest.fixture(scope="module")
def found() -> Found:
    return label_loop.run(SEEDS)


@pytest.mark.story
@pytest.mark.weekly
@pytest.mark.timeout(1_200)
class TestSeeds:
    def test_alarms_come_where_the_texts_changed(self, found: Found) -> None:
        assert of(found, "changed", "alarm").sum() >= SEEDS - 1
        assert of(found, "unchanged", "alarm").sum() <= 1
        assert of(found, "changed", "held").sum() + of(found, "unchanged", "held").sum() >= 2 * SEEDS - 3

    def test_more_labels_never_lose_beyond_chance(self, found: Found) -> None:
        for fewer, more in pairwise(LABELS):
            change = ttest_rel(of(found, more, "new"), of(found, fewer, "new"))
            assert change.confidence_interval(0.95).high > 0, (fewer, more)

    def test_a_hundred_win_something_back_and_two_thousand_most_without_losing_the_base(
        self, found: Found
    ) -> None:
        lost = (of(found, "unchanged", "accuracy") - of(found, "changed", "accuracy")).mean()
        assert 0.05 < lost < 0.15
        assert abs(of(found, "0 labels", "won").mean()) < 0.2 * lost < of(found, "100 labels", "won").mean()
        assert of(found, "2,000 labels", "won").mean() > 0.8 * lost
        assert of(found, "2,000 labels", "kept").mean() > -0.01

    def test_the_gate_refuses_what_loses_the_base(self, found: Found) -> None:
        assert of(found, "500 labels alone", "kept").mean() < -0.05
        for name in ("500 labels alone", "2,000 labels alone"):
            assert of(found, name, "passed").sum() == 0
        assert of(found, "2,000 labels", "better").sum() >= SEEDS - 1
        assert "| 500 labels alone |" in render(found)


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
