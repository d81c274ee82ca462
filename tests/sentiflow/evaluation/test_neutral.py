"""Neutral as a third answer: limits by a search over all of them, and counts by hand."""

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from sentiflow.evaluation.neutral import choose_limits, confusion_of_three, cost_of_three


def recalls(
    low: float, high: float, labels: NDArray[np.int8], scores: NDArray[np.float64], neutral: NDArray[np.float64]
) -> float:
    held = ((neutral > low) & (neutral <= high)).mean()
    return float((scores[labels == 0] <= low).mean() + held + (scores[labels == 1] > high).mean())


@pytest.mark.parametrize("seed", range(5))
def test_no_other_limits_have_a_higher_sum_of_recalls(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.array([0, 1], np.int8), 40)
    scores, neutral = rng.beta(np.where(labels, 4, 1), np.where(labels, 1, 4)), rng.beta(3, 2, 30)
    low, high = choose_limits(labels, scores, neutral)
    assert 0 <= low <= 0.5 <= high <= 1
    tried = itertools.product(np.linspace(0, 0.5, 101), np.linspace(0.5, 1, 101))
    best = max(recalls(*each, labels, scores, neutral) for each in tried)
    assert recalls(low, high, labels, scores, neutral) >= best - 1e-12


def test_where_neutral_texts_score_as_others_nothing_is_called_so() -> None:
    labels, scores = np.array([0, 0, 1, 1], np.int8), np.array([0.1, 0.2, 0.8, 0.9])
    assert choose_limits(labels, scores, np.array([0.05, 0.95])) == (0.5, 0.5)


def test_answers_are_counted_by_what_texts_are() -> None:
    labels, scores = np.array([0, 0, 0, 1, 1], np.int8), np.array([0.1, 0.4, 0.9, 0.6, 0.7])
    neutral = np.array([0.3, 0.30001, 0.6, 0.61])  # a score on the upper limit is neutral, on the lower one not
    counts = confusion_of_three((0.3, 0.6), labels, scores, neutral)
    assert counts == [[1, 1, 1], [1, 2, 1], [0, 1, 1]]
    assert cost_of_three(counts) == (
        "With neutral as a third answer 50.0% of 4 neutral texts get it, and 40.0% of 5 others; of the rest of "
        "these 66.7% are right, and of all texts 44.4%"
    )
