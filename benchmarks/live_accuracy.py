"""How well intervals of the accuracy in use hold: ``python -m benchmarks.live_accuracy RUN``.

The run's test scores stand for a month's texts: 5,000 of them are drawn, so that the version is as sure as on its
test split, surer, or less sure, and some answers are turned round. Of each month a sample is labelled truly. Told
are, of 2,000 months, how many intervals hold the truth, and in how many a drop is told.
"""

import argparse
import math
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.machine import log
from sentiflow.evaluation.statistics import wilson
from sentiflow.monitoring.accuracy import stratified
from sentiflow.monitoring.sample import allocated, divided
from sentiflow.scoring import is_positive
from sentiflow.settings import load_settings
from sentiflow.store.find import find_run, open_store, score_table

MONTHS, TEXTS, DROP = 2_000, 5_000, 0.005
KINDS = {
    "as on the test": (0.0, 0.0), "surer": (-3.0, 0.0), "less sure": (2.0, 0.0), "much less sure": (4.0, 0.0),
    "5% turned round": (0.0, 0.05), "less sure, 10% turned round": (1.5, 0.1),
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run")
    store = open_store(load_settings())
    with tempfile.TemporaryDirectory() as folder:
        table = score_table(store, find_run(store, parser.parse_args().run), Path(folder))
    assert table is not None
    scores = np.asarray(table.score, float)
    right = is_positive(scores) == (np.asarray(table.label) == 1)
    accuracy, low = right.mean(), wilson(int(right.sum()), len(right))[0]
    turned = 0.05 / (2 * accuracy - 1)
    for name, (tilt, flipped) in (KINDS | {"a drop of 5 points": (0.0, turned)}).items():
        for size in (200, 300, 400):
            log(f"{name}, {size} labels: {months(scores, right, tilt, flipped, size, accuracy, low)}")


def months(
    scores: np.ndarray, right: np.ndarray, tilt: float, flipped: float, size: int, accuracy: float, low: float
) -> str:
    rng = np.random.default_rng(0)
    weights = np.exp(-tilt * np.abs(scores - 0.5) * 2)
    held = told = 0
    width, truth = 0.0, 0.0
    for _ in range(MONTHS):
        texts = rng.choice(len(scores), TEXTS, p=weights / weights.sum())
        is_right = right[texts] ^ (rng.random(TEXTS) < flipped)
        strata = divided(scores[texts])
        counts = allocated(scores[texts], strata, size)
        hits = [
            int(is_right[rng.choice(part, n, replace=False)].sum()) for part, n in zip(strata, counts, strict=True)
        ]
        value, lowest, highest, _ = stratified([len(part) for part in strata], hits, counts)
        held += lowest <= is_right.mean() <= highest
        told += value - accuracy + math.hypot(highest - value, accuracy - low) < -DROP
        width += (highest - lowest) / MONTHS
        truth += is_right.mean() / MONTHS
    return (
        f"accuracy {truth:.1%} ({100 * (truth - accuracy):+.1f}), held by {held / MONTHS:.1%}, "
        f"half the width {50 * width:.1f}, drop told {told / MONTHS:.1%}"
    )


if __name__ == "__main__":
    main()
