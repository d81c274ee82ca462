"""Metrics of the test split: overall, spread over seeds, calibration, slices, and against the baseline."""

import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from sentiflow.evaluation.scores import BASELINE, ScoreTable, slices
from sentiflow.evaluation.statistics import compare, format_interval, format_points, newcombe, wilson
from sentiflow.scoring import is_positive

_BINS = 10
SLICES = {
    "short": "short: the shortest quarter",
    "middle": "middle: neither short nor long",
    "long": "long: the longest quarter",
    "whole": "read whole",
    "truncated": "truncated: longer than what is read",
}
"""Slices in the order of reports, with their labels."""

_SLICE_ACCURACY, _SLICE_REVIEWS = "test_slices/", "slice_reviews"
_UNBALANCED = 0.6  # share of one label
_CLEAR = 0.02  # between the shares of both labels that get one answer
_CLIP = 1e-7  # the largest loss of a review is 16.1 nats


@dataclass(frozen=True)
class Accuracy:
    """Figures of answers against labels."""

    accuracy: float  # fraction of correct labels, with its 95% Wilson interval
    accuracy_ci_low: float
    accuracy_ci_high: float
    balanced_accuracy: float  # mean of that of the negative and that of the positive reviews
    majority_share: float  # fraction of reviews that have the commoner label
    f1_negative: float  # harmonic mean of precision and recall of the negative reviews
    f1_positive: float  # the same of the positive ones

    @property
    def unbalanced(self) -> bool:
        """Whether one label is so much commoner that accuracy alone says little."""
        return self.majority_share > _UNBALANCED

    def text(self, names: Sequence[str] = ("label 0", "label 1"), on: str = "") -> str:
        """Such as ``88.60% (95% interval 88.20% to 88.99%)``; with unbalanced labels what says more follows.

        ``on`` says of which rows it is, if not of all.
        """
        accuracy = f"{self.accuracy:.2%} (95% interval {self.accuracy_ci_low:.2%} to {self.accuracy_ci_high:.2%})"
        accuracy += f" on {on}" if on else ""
        if self.majority_share == 1:
            return f"{accuracy}; all labels are the same"
        if not self.unbalanced:
            return accuracy
        return (
            f"{accuracy}; balanced accuracy {self.balanced_accuracy:.2%}, F1 {self.f1_negative:.2f} of {names[0]} "
            f"and {self.f1_positive:.2f} of {names[1]}; the commoner label alone gets {self.majority_share:.2%}"
        )


@dataclass(frozen=True)
class Measured(Accuracy):
    """Metrics of scores against labels."""

    loss: float  # mean binary cross-entropy in nats
    auc: float  # area under the ROC curve
    brier: float  # mean squared difference of score and label


def accuracy_of(confusion: Sequence[Sequence[int]]) -> Accuracy:
    """Figures of counts, a row for each label and a column for each answer; one label may be missing."""
    (zero, wrong), (missed, one) = confusion
    counts, right = (zero + wrong, missed + one), (zero, one)
    n = sum(counts)
    recalls = [got / count for got, count in zip(right, counts, strict=True) if count]
    f1 = [2 * got / (2 * got + wrong + missed) if got else 0.0 for got in right]
    return Accuracy(sum(right) / n, *wilson(sum(right), n), statistics.mean(recalls), max(counts) / n, *f1)


@dataclass(frozen=True)
class Spread:
    """Spread of a metric over seeds."""

    mean: float
    sd: float  # standard deviation of the sample (with n - 1)
    min: float
    max: float

    def as_metrics(self, name: str) -> dict[str, float]:
        return {f"{name}_{key}": value for key, value in asdict(self).items()}

    def text(self) -> str:
        """Deviation and range of an accuracy, such as ``standard deviation 1.41 points, 81.00% to 83.00%``."""
        return f"standard deviation {100 * self.sd:.2f} points, {self.min:.2%} to {self.max:.2%}"


def spread(values: Sequence[float]) -> Spread:
    """Spread of two or more values."""
    return Spread(statistics.mean(values), statistics.stdev(values), min(values), max(values))


def cross_entropy(labels: NDArray[np.int8], scores: NDArray[np.float64]) -> float:
    """Mean binary cross-entropy in nats; scores are clipped as Keras clips them."""
    from sklearn.metrics import log_loss

    return float(log_loss(labels, np.clip(scores, _CLIP, 1 - _CLIP), labels=[0, 1]))


def measure(labels: NDArray[np.int8], scores: NDArray[np.float64]) -> Measured:
    """Measure scores (from 0 to 1, shape (n,)) against labels (0 or 1, both present, shape (n,))."""
    from sklearn.metrics import brier_score_loss, roc_auc_score  # reports do without

    if len(np.unique(labels)) != 2:
        raise ValueError("labels of both classes are needed")
    return Measured(
        **asdict(accuracy_of(confusion(labels, scores))),
        loss=cross_entropy(labels, scores),
        auc=float(roc_auc_score(labels, scores)),
        brier=float(brier_score_loss(labels, scores)),
    )


def confusion(labels: NDArray[np.int8], scores: NDArray[np.float64]) -> list[list[int]]:
    """Numbers of reviews: a row for each label, a column for each answer."""
    answers = is_positive(scores)
    return [[int(((labels == one) & (answers == other)).sum()) for other in (0, 1)] for one in (0, 1)]


def at_chance(labels: NDArray[np.int8], scores: NDArray[np.float64]) -> str:
    """What to say of scores that are not clearly better than one answer for all; empty if they are.

    Clearly: the accuracy is not below that answer's beyond chance, and what is answered depends on the label: the
    shares of both labels that are called 1 differ by more than 2 points, at the lower end of their interval.
    """
    (others, false), (missed, hits) = counts = confusion(labels, scores)
    figures = accuracy_of(counts)
    low, _ = newcombe(hits, hits + missed, false, false + others)
    if low > _CLEAR and figures.accuracy_ci_high >= figures.majority_share:
        return ""
    return f"Not clearly better than one answer for all, which gets {figures.majority_share:.2%}."


@dataclass(frozen=True)
class Reliability:
    """Bins of scores; those without reviews are left out."""

    score: NDArray[np.float64]  # mean of each bin, shape (b,)
    positive: NDArray[np.float64]  # share of positive reviews in each bin
    reviews: NDArray[np.int64]

    @property
    def error(self) -> float:
        """Expected calibration error: mean distance of score and share over bins, weighted by their reviews."""
        return float(np.average(np.abs(self.positive - self.score), weights=self.reviews))


def reliability(labels: NDArray[np.int8], scores: NDArray[np.float64]) -> Reliability:
    """Put scores, (n,), into ten bins of equal width; one on an edge belongs to the bin above, 1 to the last."""
    number = np.minimum((scores * _BINS).astype(int), _BINS - 1)
    counts = np.bincount(number, minlength=_BINS)
    some = counts > 0
    score, positive = (np.bincount(number, values, _BINS)[some] / counts[some] for values in (scores, labels))
    return Reliability(score, positive, counts[some])


@dataclass(frozen=True)
class Slice:
    """Accuracy on some of the reviews."""

    name: str  # a key of ``SLICES``
    reviews: int
    accuracy: float
    low: float  # end of the accuracy's 95% Wilson interval
    high: float


def slice_rows(table: ScoreTable) -> dict[str, NDArray[np.bool_]]:
    """Reviews of each slice, shape (n,) each; slices of no review or of all are left out.

    Those of the gate, and what is between. A quarter holds all reviews that share its limit.
    """
    found = slices(table, table)
    found["middle"] = ~(found["short"] | found["long"])
    found["whole"] = ~found["truncated"]
    return {name: found[name] for name in SLICES if name in found and 0 < found[name].sum() < len(found[name])}


def measure_slices(table: ScoreTable) -> list[Slice]:
    right = table.right
    rows = slice_rows(table)
    return [_slice(name, int(right[chosen].sum()), int(chosen.sum())) for name, chosen in rows.items()]


def slice_metrics(slices: list[Slice]) -> dict[str, float]:
    return {f"{_SLICE_ACCURACY}{each.name}": each.accuracy for each in slices}


def slice_tags(slices: list[Slice]) -> dict[str, str]:
    return {_SLICE_REVIEWS: ", ".join(f"{each.name} {each.reviews}" for each in slices)}


def slices_logged(metrics: Mapping[str, float], tags: Mapping[str, str]) -> list[Slice]:
    """The slices that ``slice_metrics`` and ``slice_tags`` wrote, with their intervals."""
    counts = {name: int(count) for name, count in re.findall(r"(\w+) (\d{1,18})\b", tags.get(_SLICE_REVIEWS, ""))}
    return [
        _slice(name, round(metrics[f"{_SLICE_ACCURACY}{name}"] * counts[name]), counts[name])
        for name in SLICES
        if counts.get(name) and 0 <= metrics.get(f"{_SLICE_ACCURACY}{name}", -1) <= 1
    ]


def _slice(name: str, right: int, n: int) -> Slice:
    return Slice(name, n, right / n, *wilson(right, n))


BASELINE_METRICS = "baseline/"  # begins metrics of the baseline, and of the network against it


@dataclass(frozen=True)
class Baseline:
    """The baseline's accuracy on the test reviews, and the network's less that."""

    accuracy: float
    difference: float  # a fraction
    low: float  # end of its 95% interval
    high: float

    @classmethod
    def logged(cls, metrics: Mapping[str, float]) -> Self | None:
        """What ``baseline_metrics`` wrote; None if a run has no baseline."""
        names = ("accuracy", "difference", "difference_ci_low", "difference_ci_high")
        found = [metrics[BASELINE_METRICS + name] for name in names if BASELINE_METRICS + name in metrics]
        return cls(*found) if len(found) == len(names) else None

    @property
    def text(self) -> str:
        """What both reach, as a sentence without its full stop.

        Example:
            >>> Baseline(0.83, 0.012, -0.004, 0.028).text
            'nb-ngrams reaches 83.00%: no difference beyond chance (+1.20 points, 95% interval -0.40 to +2.80)'
        """
        interval = f"95% interval {format_interval(self.low, self.high)}"
        points = f"{100 * abs(self.difference):.2f} points ({interval})"
        if self.low > 0:
            outcome = f"the network gains {points}"
        elif self.high < 0:
            outcome = f"the network loses {points}"
        else:
            outcome = f"no difference beyond chance ({format_points(self.difference)}, {interval})"
        return f"{BASELINE} reaches {self.accuracy:.2%}: {outcome}"


def baseline_metrics(network: ScoreTable, scores: NDArray[np.float64]) -> dict[str, float]:
    """Metrics of the baseline's scores of the same reviews, (n,), and of the network less the baseline."""
    measured = asdict(measure(network.label, scores))
    del measured["majority_share"]  # the network's
    found = compare(network.right, is_positive(scores) == (network.label == 1))
    measured |= {"difference": found.difference, "difference_ci_low": found.low, "difference_ci_high": found.high}
    return {BASELINE_METRICS + name: value for name, value in measured.items()}
