"""Neutral as a third answer: between which scores it is given, and what that costs."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sentiflow.scoring import THRESHOLD

LEAST = 20  # neutral reviews to choose limits by, and to test them on

Limits = tuple[float, float]
"""Neutral is what has a score above the first and up to the second; ``THRESHOLD`` lies between them."""


def choose_limits(labels: NDArray[np.int8], scores: NDArray[np.float64], neutral: NDArray[np.float64]) -> Limits:
    """The limits with the highest mean of three recalls: of label 0, of label 1, and of neutral.

    Args:
        labels: 0 or 1, shape (v,), of reviews that the scores were not learnt from.
        scores: Of these, shape (v,).
        neutral: Scores of neutral reviews, shape (m,).
    """
    every = np.unique(np.concatenate([scores, neutral, [THRESHOLD]]))
    # Each limit has a part of its own in the sum of recalls. Of equal ones that nearest to the threshold counts.
    below, above = every[every <= THRESHOLD][::-1], every[every >= THRESHOLD]
    low = below[np.argmax(_share(scores[labels == 0], below) - _share(neutral, below))]
    high = above[np.argmax(_share(neutral, above) - _share(scores[labels == 1], above))]
    return float(low), float(high)


def _share(scores: NDArray[np.float64], limits: NDArray[np.float64]) -> NDArray[np.float64]:
    """The share of scores up to each limit, shape (limits,)."""
    return np.searchsorted(np.sort(scores), limits, "right") / len(scores)


def confusion_of_three(
    limits: Limits, labels: NDArray[np.int8], scores: NDArray[np.float64], neutral: NDArray[np.float64]
) -> list[list[int]]:
    """Numbers of test reviews: a row for label 0, neutral and label 1, a column for each of these answers."""
    truth = scores[labels == 0], neutral, scores[labels == 1]
    return [np.bincount(np.digitize(each, limits, right=True), minlength=3).tolist() for each in truth]


def cost_of_three(counts: Sequence[Sequence[int]]) -> str:
    """What the third answer costs and brings, as a sentence without its full stop."""
    (zero, unsure, _), (first, held, last), (_, missed, one) = counts
    answered, apart = sum(map(sum, (counts[0], counts[2]))), first + held + last
    left = answered - unsure - missed
    right = f"{(zero + one) / left:.1%}" if left else "none"
    return (
        f"With neutral as a third answer {held / apart:.1%} of {apart:,} neutral texts get it, and "
        f"{(unsure + missed) / answered:.1%} of {answered:,} others; of the rest of these {right} are right, and "
        f"of all texts {(zero + held + one) / (answered + apart):.1%}"
    )
