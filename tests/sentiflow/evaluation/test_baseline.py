"""What the network gains or loses on the baseline, in figures and words."""

import numpy as np
import pytest

from sentiflow.evaluation.metrics import Baseline, baseline_metrics
from sentiflow.evaluation.scores import ScoreTable
from sentiflow.evaluation.statistics import tango

LABELS = np.arange(100) % 2


def scores(wrong: set[int]) -> np.ndarray:
    """Scores of 100 reviews that are right but for these."""
    right = np.array([row not in wrong for row in range(100)])
    return np.where(right == (LABELS == 1), 0.9, 0.1)


def network(wrong: set[int]) -> ScoreTable:
    ids = np.array([f"row-{row}" for row in range(100)])
    return ScoreTable(ids, LABELS.astype(np.int8), scores(wrong), np.full(100, 5, np.int32), 80)


def test_metrics_are_of_the_baseline_and_the_difference_is_the_network_less_it() -> None:
    # The network is wrong about 0 to 9, the baseline about the odd ones below 40: 5 in common.
    found = baseline_metrics(network(set(range(10))), scores({row for row in range(40) if row % 2}))
    assert found["baseline/accuracy"] == 0.8
    assert found["baseline/balanced_accuracy"] == pytest.approx((50 / 50 + 30 / 50) / 2)
    assert found["baseline/difference"] == pytest.approx(0.1)
    ends = found["baseline/difference_ci_low"], found["baseline/difference_ci_high"]
    assert ends == tango(15, 5, 100)
    assert "baseline/majority_share" not in found
    assert Baseline.logged(found) == Baseline(0.8, pytest.approx(0.1), *ends)


def test_a_run_without_a_baseline_has_none() -> None:
    assert Baseline.logged({"test/accuracy": 0.9}) is None


@pytest.mark.parametrize(
    ("difference", "low", "high", "text"),
    [
        (0.012, 0.004, 0.028, "the network gains 1.20 points (95% interval +0.40 to +2.80)"),
        (-0.021, -0.03, -0.0115, "the network loses 2.10 points (95% interval -3.00 to -1.15)"),
        (0.012, -0.004, 0.028, "no difference beyond chance (+1.20 points, 95% interval -0.40 to +2.80)"),
        (-0.01, -0.02, 0.0, "no difference beyond chance (-1.00 points, 95% interval -2.00 to +0.00)"),
    ],
)
def test_words_say_gain_loss_or_neither(difference: float, low: float, high: float, text: str) -> None:
    assert Baseline(0.83, difference, low, high).text == f"nb-ngrams reaches 83.00%: {text}"
