"""Whether a score of 0.8 means that four of five such reviews are positive."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 10


@dataclass(frozen=True)
class Reliability:
    """Reviews of like score together; bins without reviews are left out.

    Attributes:
        score: mean of each bin.
        positive: share of positive reviews in it.
        reviews: how many it holds.
    """

    score: NDArray[np.float64]
    positive: NDArray[np.float64]
    reviews: NDArray[np.int64]

    @property
    def error(self) -> float:
        """Expected calibration error: mean distance of score and share over bins, weighted by their reviews."""
        return float(np.average(np.abs(self.positive - self.score), weights=self.reviews))


def reliability(labels: NDArray[np.int8], scores: NDArray[np.float64], bins: int = BINS) -> Reliability:
    """Put scores into bins of equal width; one on an edge belongs to the bin above it, 1 to the last.

    Args:
        labels: shape (n,), 0 or 1.
        scores: shape (n,), 0 to 1.
        bins: how many.

    Example:
        >>> reliability(np.array([0, 1], np.int8), np.array([0.25, 0.25])).error
        0.25
    """
    number = np.minimum((scores * bins).astype(int), bins - 1)
    counts = np.bincount(number, minlength=bins)
    some = counts > 0
    score, positive = (np.bincount(number, values, bins)[some] / counts[some] for values in (scores, labels))
    return Reliability(score, positive, counts[some])
