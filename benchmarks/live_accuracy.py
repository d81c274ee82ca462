"""How well the accuracy in use is measured: ``python -m benchmarks.live_accuracy RUN``.

The run's test scores stand for a month's texts: 5,000 of them are drawn, so that the version is as sure as on its
test split, surer, or less sure, and some answers are turned round. Of each month a sample is labelled truly.
Printed is, of 2,000 months, how many intervals hold the truth, and in how many the alarm comes.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from benchmarks.machine import log
from sentiflow.evaluation.statistics import wilson
from sentiflow.monitoring.accuracy import CHANCE, Tested, chance, interval, stratified
from sentiflow.monitoring.sample import allocated, divided
from sentiflow.settings import load_settings
from sentiflow.store.find import find_run, open_store, score_table

MONTHS, TEXTS, LOST = 2_000, 5_000, 0.05
Scores = NDArray[np.float64]
Right = NDArray[np.bool_]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run")
    store = open_store(load_settings())
    with tempfile.TemporaryDirectory() as folder:
        table = score_table(store, find_run(store, parser.parse_args().run), Path(folder))
    assert table is not None
    scores, right = np.asarray(table.score, float), table.right
    accuracy = float(right.mean())
    turned = LOST / (2 * accuracy - 1)
    unsure = brentq(lambda tilt: right @ shares(scores, tilt) - (accuracy - LOST), 0, 50)
    kinds: dict[str, tuple[float, float, bool]] = {
        "as on the test": (0, 0, False),
        "surer, 5% turned round, as accurate": (-3, 0.05, True),
        "less sure, as accurate": (2, 0, True),
        "less sure, 5 points lost": (unsure, 0, False),
        "turned round, 5 points lost": (0, turned, False),
        "less sure, 10% turned round": (1.5, 0.1, False),
    }
    for name, (tilt, flipped, kept) in kinds.items():
        for size in (200, 300, 400):
            log(f"{name}, {size} labels: {months(scores, right, tilt, flipped, kept, size)}")


def shares(scores: Scores, tilt: float) -> Scores:
    """How likely each text is drawn: less where the version is sure, by the tilt."""
    weights: Scores = np.exp(-tilt * np.abs(scores - 0.5) * 2)
    return weights / weights.sum()


def months(scores: Scores, right: Right, tilt: float, flipped: float, kept: bool, size: int) -> str:
    rng, chances, accuracy = np.random.default_rng(0), shares(scores, tilt), right.mean()
    tested = Tested(accuracy, wilson(int(right.sum()), len(right))[0])
    held = alarms = 0
    width, truth = 0.0, 0.0
    for _ in range(MONTHS):
        texts = rng.choice(len(scores), TEXTS, p=chances)
        is_right = right[texts] ^ (rng.random(TEXTS) < flipped)
        if kept:  # answers are turned round until the accuracy is that of the test
            surplus = int(is_right.sum() - accuracy * TEXTS)
            is_right[rng.choice(np.flatnonzero(is_right == (surplus > 0)), abs(surplus), replace=False)] ^= True
        strata = divided(scores[texts])
        counts = allocated([len(part) for part in strata], size)
        hits = [
            int(is_right[rng.choice(part, n, replace=False)].sum()) for part, n in zip(strata, counts, strict=True)
        ]
        value, doubt, _ = stratified([len(part) for part in strata], hits, counts)
        low, high = interval(value, doubt)
        held += low <= is_right.mean() <= high
        alarms += chance(value, doubt, tested, 0) < CHANCE
        width += (high - low) / MONTHS
        truth += is_right.mean() / MONTHS
    return (
        f"accuracy {truth:.1%} ({100 * (truth - accuracy):+.1f}), held by {held / MONTHS:.1%}, "
        f"half the width {50 * width:.1f}, alarm in {alarms / MONTHS:.1%}"
    )


if __name__ == "__main__":
    main()
