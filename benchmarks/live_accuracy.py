"""How well the accuracy in use is measured: ``python -m benchmarks.live_accuracy [MONTHS]``.

Each month is drawn anew: texts of a model of a known accuracy, and the test split that it was tested on. The
months are of three kinds: errors are where the model is unsure (calibrated); half of them are anywhere (half); all
of them are (anywhere). A sample of each month is labelled truly. Printed is a table: how often the alarm comes
although nothing was lost, how often it comes where 5 points were lost, and how often the interval holds the
truth; each as the least and the most of the accuracies, kinds and, for alarms, sizes of the test split.
"""

import argparse
from functools import cache

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import log
from sentiflow.evaluation.statistics import wilson
from sentiflow.monitoring.accuracy import CHANCE, Tested, chance, interval, stratified
from sentiflow.monitoring.sample import allocated, divided

KINDS = ("calibrated", "half", "anywhere")
ACCURACIES, LOST = (0.75, 0.88, 0.95, 0.97), 0.05
TEXTS, LABELS, TESTS = (20, 100, 220, 1_000, 20_000), (20, 40, 80, 200, 400), (100, 1_000, 25_000)
Right = NDArray[np.bool_]
Cell = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("months", nargs="?", type=int, default=1_000)
    months, cells = parser.parse_args().months, dict[tuple[int, int, float, str], Cell]()
    for texts in TEXTS:
        sizes = [size for size in LABELS if size < texts] + [texts] * (texts <= LABELS[-1])
        for accuracy in ACCURACIES:
            for kind in KINDS:
                rng = np.random.default_rng(0)
                for size in sizes:
                    cells[texts, size, accuracy, kind] = dict.fromkeys(measures(), 0.0)
                for _ in range(months):
                    month(rng, texts, sizes, accuracy, kind, cells, months)
    log("| texts | labels | false alarms | on texts like these | 5 points lost |")
    log("|---:|---:|---:|---:|---:|")
    for texts, size in dict.fromkeys((texts, size) for texts, size, _, _ in cells):
        found = [cell for (one, other, _, _), cell in cells.items() if (one, other) == (texts, size)]
        log(f"| {texts:,} | {size:,} | {' | '.join(spans(found))} |")


def measures() -> list[str]:
    return ["like", *(f"{what} {reviews}" for what in ("false", "true") for reviews in TESTS)]


def spans(found: list[Cell]) -> list[str]:
    """The least and the most of the cells: of false alarms, coverages, and of true alarms."""
    groups = [[name for name in measures() if name.startswith(start)] for start in ("false", "like", "true")]
    values = [[cell[name] for cell in found for name in group] for group in groups]
    return [f"{min(each):.1%} to {max(each):.1%}" for each in values]


def month(
    rng: np.random.Generator, texts: int, sizes: list[int], accuracy: float, kind: str,
    cells: dict[tuple[int, int, float, str], Cell], months: int,
) -> None:  # fmt: skip
    """Draw a month and add its share to its cells."""
    scores, right = world(rng, texts, accuracy, kind)
    strata = divided(scores)
    population = [len(part) for part in strata]
    shares = {"false": accuracy, "true": accuracy + LOST}
    tests = {
        f"{name} {reviews}": tested(int(rng.binomial(reviews, min(share, 0.999))), reviews)
        for name, share in shares.items()
        for reviews in TESTS
    }
    for size in sizes:
        counts = allocated(population, size)
        hits = [
            int(right[rng.choice(part, n, replace=False)].sum()) for part, n in zip(strata, counts, strict=True)
        ]
        value, doubt = stratified(population, hits, counts)
        cell = cells[texts, size, accuracy, kind]
        low, high = interval(value, doubt + 1 / texts)
        cell["like"] += (low <= accuracy <= high) / months
        for name, test in tests.items():
            cell[name] += (chance(value, doubt + 1 / texts, test, 0) < CHANCE) / months


def world(rng: np.random.Generator, texts: int, accuracy: float, kind: str) -> tuple[NDArray[np.float64], Right]:
    """Scores of texts, and which answers are right."""
    if kind == "anywhere":
        return 0.5 + 0.5 * rng.beta(2.46, 0.4, texts), rng.random(texts) < accuracy
    turned = (1 - accuracy) / 2 if kind == "half" else 0.0
    sure = (accuracy - turned) / (1 - 2 * turned)
    scores = 0.5 + 0.5 * rng.beta(0.4 * (2 * sure - 1) / (2 - 2 * sure), 0.4, texts)
    return scores, (rng.random(texts) < scores) ^ (rng.random(texts) < turned)


@cache
def tested(right: int, reviews: int) -> Tested:
    return Tested(right / reviews, wilson(right, reviews)[0])


if __name__ == "__main__":
    main()
