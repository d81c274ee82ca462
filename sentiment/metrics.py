"""How good scores are."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.metrics import brier_score_loss, f1_score, log_loss, roc_auc_score

from sentiment.scoring import is_positive

_CLIP = 1e-7  # as Keras clips: a certain and wrong score costs 16.1 nats, not infinitely many


@dataclass(frozen=True)
class Measured:
    """Figures of a set of scores against labels.

    Attributes:
        loss: mean binary cross-entropy in nats.
        accuracy: fraction of right labels.
        accuracy_low: lower end of the accuracy's 95% Wilson interval.
        accuracy_high: its upper end.
        f1: harmonic mean of precision and recall of the positive reviews.
        auc: area under the ROC curve.
        brier: mean squared difference of score and label.
    """

    loss: float
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    f1: float
    auc: float
    brier: float


@dataclass(frozen=True)
class Spread:
    """How one figure differs from seed to seed.

    Attributes:
        mean: of all.
        sd: standard deviation of a sample (divided by their number less one).
        least: the lowest.
        most: the highest.
    """

    mean: float
    sd: float
    least: float
    most: float

    def as_metrics(self, name: str) -> dict[str, float]:
        """The four under the names of metrics.

        Example:
            >>> spread([1.0, 2.0, 6.0]).as_metrics("test/loss")["test/loss_max"]
            6.0
        """
        return {
            f"{name}_mean": self.mean,
            f"{name}_sd": self.sd,
            f"{name}_min": self.least,
            f"{name}_max": self.most,
        }


def spread(values: Sequence[float]) -> Spread:
    """Sum up two or more values.

    Example:
        >>> spread([1.0, 2.0, 6.0])
        Spread(mean=3.0, sd=2.6457513110645907, least=1.0, most=6.0)
    """
    return Spread(statistics.mean(values), statistics.stdev(values), min(values), max(values))


def measure(labels: NDArray[np.int8], scores: NDArray[np.float64]) -> Measured:
    """Measure scores (from 0 to 1, shape (n,)) against labels (0 or 1, both present, shape (n,)).

    Raises:
        ValueError: the labels hold one class only, or a score is not a number.
    """
    if len(np.unique(labels)) != 2:
        raise ValueError("labels of both classes are needed")
    predicted = is_positive(scores)
    right = int((predicted == labels).sum())
    low, high = wilson(right, len(labels))
    return Measured(
        loss=float(log_loss(labels, np.clip(scores, _CLIP, 1 - _CLIP))),
        accuracy=right / len(labels),
        accuracy_low=low,
        accuracy_high=high,
        f1=float(f1_score(labels, predicted)),
        auc=float(roc_auc_score(labels, scores)),
        brier=float(brier_score_loss(labels, scores)),
    )


def wilson(right: int, n: int) -> tuple[float, float]:
    """The 95% interval of a proportion by Wilson (1927): it holds near 0 and 1, too.

    Example:
        >>> [round(end, 4) for end in wilson(8, 10)]
        [0.4902, 0.9433]
    """
    interval = binomtest(right, n).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)
