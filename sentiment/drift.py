"""Whether the texts of late are still like the reviews that a model learned from.

A figure has drifted when the population stability index says that it moved far, and a two-sample test that this
is no chance: with few texts the index alone alarms easily, with many the test finds differences of no matter.

Shapes: n texts.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ks_2samp

Floats = NDArray[np.float64]

FIGURES = {
    "oov": "out-of-vocabulary share",
    "length": "length in words",
    "score": "score",
}
"""What is compared, by name: what people call it."""

_BINS = 10  # deciles of the reference, as is usual


@dataclass(frozen=True)
class Limits:
    """From where on a figure has drifted.

    Attributes:
        psi: population stability index, reached or passed.
        alpha: chance that the test must fall below.
    """

    psi: float
    alpha: float


@dataclass(frozen=True)
class Compared:
    """One figure, now and in the reference.

    Attributes:
        name: one of ``FIGURES``.
        reference: its median in the reference.
        now: its median of late.
        psi: population stability index; 0 when both are alike.
        p: chance of such a difference if nothing changed, for all figures together (Holm).
        drifted: whether both limits are passed.
    """

    name: str
    reference: float
    now: float
    psi: float
    p: float
    drifted: bool

    @property
    def label(self) -> str:
        """What people call it."""
        return FIGURES[self.name]


def compare(reference: Mapping[str, Floats], now: Mapping[str, Floats], limits: Limits) -> tuple[Compared, ...]:
    """Compare every figure.

    Args:
        reference: values by figure; shape (n,), as many as that figure has.
        now: likewise.
        limits: from where on a figure has drifted.
    """
    chances = holm({name: chance(reference[name], now[name]) for name in FIGURES})
    compared = []
    for name, p in chances.items():
        before, late = reference[name], now[name]
        index = psi(before, late)
        drifted = index >= limits.psi and p < limits.alpha
        compared.append(Compared(name, float(np.median(before)), float(np.median(late)), index, p, drifted))
    return tuple(compared)


def psi(reference: Floats, now: Floats) -> float:
    """Population stability index: the sum over bins of (now - reference) * ln(now / reference), shares of each.

    The bins are deciles of the reference. Where one side of a bin is empty, half a text stands in: a share of zero
    would make the index infinite.

    Example:
        >>> round(psi(np.array([0.0, 0, 1, 1]), np.array([0.0, 1, 1, 1])), 4)  # 0.25 * ln 1.5 + 0.25 * ln 2
        0.2747
    """
    cuts = edges(reference)
    before, late = (
        np.bincount(np.searchsorted(cuts, values), minlength=len(cuts) + 1) for values in (reference, now)
    )
    there = (before > 0) | (late > 0)
    p, q = np.maximum(before[there], 0.5) / len(reference), np.maximum(late[there], 0.5) / len(now)
    return float(np.sum((q - p) * np.log(q / p)))


def edges(reference: Floats) -> Floats:
    """Upper ends, included, of all bins but the last: deciles, and a bin of its own for a value that many share.

    Example:
        >>> edges(np.array([0.0] * 8 + [1.0, 2.0])).tolist()
        [-5e-324, 0.0, 1.0]
    """
    deciles = np.unique(np.quantile(reference, np.arange(1, _BINS) / _BINS, method="inverted_cdf"))
    heavy = deciles[[np.mean(reference == value) > 1 / _BINS for value in deciles]]
    return np.unique(np.concatenate([deciles, np.nextafter(heavy, -np.inf)]))


def chance(reference: Floats, now: Floats) -> float:
    """Chance of two samples so different if they came from one population: Kolmogorov and Smirnov's test.

    With values that many texts share it errs on the side of no difference.
    """
    return float(ks_2samp(reference, now, method="asymp").pvalue)


def holm(chances: Mapping[str, float]) -> dict[str, float]:
    """Chances made so that all of them together alarm no more often than one alone (Holm).

    Example:
        >>> holm({"a": 0.5, "b": 0.25, "c": 0.125})
        {'a': 0.5, 'b': 0.5, 'c': 0.375}
    """
    corrected: dict[str, float] = {}
    largest = 0.0
    for rank, name in enumerate(sorted(chances, key=lambda name: chances[name])):
        largest = max(largest, min(1.0, (len(chances) - rank) * chances[name]))
        corrected[name] = largest
    return {name: corrected[name] for name in chances}


def surprise(reference: Floats, now: Floats) -> Floats:
    """How far out in the reference each value lies, in nats: minus the logarithm of its two tails; shape (n,).

    Example:
        >>> surprise(np.array([1.0, 2, 3, 4]), np.array([2.0, 4, 9])).round(2).tolist()  # 2/2, 2/4, and 0.5/4
        [0.0, 0.69, 2.08]
    """
    ordered, n = np.sort(reference), len(reference)
    below = np.searchsorted(ordered, now, side="right") / n  # share that is as small
    above = 1 - np.searchsorted(ordered, now, side="left") / n  # share that is as large
    tails: Floats = np.clip(2 * np.minimum(below, above), 0.5 / n, 1)
    far: Floats = np.log(1 / tails)
    return far
