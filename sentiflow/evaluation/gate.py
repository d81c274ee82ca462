"""The gate: may a candidate replace the champion?

A pure function of two tables of scores and a few measurements. Both models have scored the same test reviews, so
that their accuracies are compared review by review (McNemar's test) and not as two separate figures.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentiflow.evaluation.statistics import Comparison, format_p, format_points, mcnemar
from sentiflow.scoring import is_positive


@dataclass(frozen=True)
class Limits:
    """What the gate asks for. Accuracies are fractions: 0.01 is one point.

    Attributes:
        floor: least accuracy on the test split, whoever the champion is.
        margin: the candidate must be better than the champion less this, beyond chance; 0 asks for a proof that
            it is better, 0.005 lets pass what is as good within half a point.
        slice_margin: most that the accuracy on a slice of the reviews may fall.
        slice_least: reviews below which a slice is too small to judge.
        latency_ms: most milliseconds that one text may take, the median.
        size_mb: most megabytes (10**6 bytes) that the packaged model may take.
    """

    floor: float = 0.8
    margin: float = 0.0
    slice_margin: float = 0.02
    slice_least: int = 50
    latency_ms: float = 50.0
    size_mb: float = 100.0


@dataclass(frozen=True)
class ScoreTable:
    """Scores of one model on the test reviews.

    Attributes:
        review_id: shape (n,), each once.
        label: shape (n,), 0 or 1.
        score: shape (n,), 0 to 1.
        n_tokens: shape (n,), ids of each review before any was cut.
        sequence_length: ids that the model reads at most.
    """

    review_id: NDArray[np.str_]
    label: NDArray[np.int8]
    score: NDArray[np.float64]
    n_tokens: NDArray[np.int32]
    sequence_length: int

    def __post_init__(self) -> None:
        columns = self.review_id, self.label, self.score, self.n_tokens
        if not 0 < len(self.review_id) == min(map(len, columns)) == max(map(len, columns)):
            raise ValueError("a score table needs columns of one length, and at least one review")
        if len(np.unique(self.review_id)) != len(self.review_id):
            raise ValueError("a score table must not hold a review twice")
        if not ((self.score >= 0) & (self.score <= 1)).all():  # NaN included
            raise ValueError("scores must lie from 0 to 1")

    @property
    def right(self) -> NDArray[np.bool_]:
        """Which reviews are labelled rightly; shape (n,)."""
        right: NDArray[np.bool_] = is_positive(self.score) == (self.label == 1)
        return right

    def in_order_of(self, other: "ScoreTable") -> "ScoreTable":
        """The same reviews in the order of another table.

        Raises:
            ValueError: the tables hold different reviews, or other labels.
        """
        mine, theirs = np.argsort(self.review_id), np.argsort(other.review_id)
        rows = np.empty_like(mine)
        if len(mine) != len(theirs) or (self.review_id[mine] != other.review_id[theirs]).any():
            raise ValueError("the two score tables hold different reviews")
        rows[theirs] = mine
        if (self.label[rows] != other.label).any():
            raise ValueError("the two score tables disagree about labels")
        return ScoreTable(
            self.review_id[rows], self.label[rows], self.score[rows], self.n_tokens[rows], self.sequence_length
        )


@dataclass(frozen=True)
class Cost:
    """What the packaged model costs: median milliseconds for one text, and megabytes (10**6 bytes)."""

    latency_ms: float
    size_mb: float


@dataclass(frozen=True)
class Rule:
    """One rule of the gate, with its number and its limit.

    Attributes:
        name: of the rule.
        passed: whether it holds.
        number: what was measured.
        limit: what it is held against.
        told: both in words, with the condition.
    """

    name: str
    passed: bool
    number: float
    limit: float
    told: str


@dataclass(frozen=True)
class Decision:
    """The gate's outcome: passed when every rule holds.

    Attributes:
        rules: in the order of judging.
        accuracy: of the candidate.
        champion_accuracy: on the same reviews; None without a champion.
        comparison: of the two; None without a champion.
        notes: what was not judged, and why.
    """

    rules: tuple[Rule, ...]
    accuracy: float
    champion_accuracy: float | None
    comparison: Comparison | None
    notes: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether the candidate may replace the champion."""
        return all(rule.passed for rule in self.rules)

    @property
    def failures(self) -> tuple[Rule, ...]:
        """The rules that do not hold."""
        return tuple(rule for rule in self.rules if not rule.passed)

    def record(self) -> dict[str, Any]:
        """Everything as plain values, for JSON."""
        return {"passed": self.passed, **asdict(self)}


def judge(candidate: ScoreTable, champion: ScoreTable | None, cost: Cost, limits: Limits) -> Decision:
    """Hold a candidate against the limits and, if there is one, against the champion.

    Args:
        candidate: its scores on the test reviews.
        champion: the champion's on the same reviews, in any order; None when there is none.
        cost: measured on the candidate's packaged model.
        limits: what is asked for.

    Raises:
        ValueError: the tables do not hold the same reviews.
    """
    accuracy = float(candidate.right.mean())
    rules = [_floor(accuracy, limits)]
    notes: list[str] = []
    comparison = champion_accuracy = None
    if champion is None:
        notes.append("no champion yet: floor and limits only")
    else:
        champion = champion.in_order_of(candidate)
        champion_accuracy = float(champion.right.mean())
        comparison = mcnemar(candidate.right, champion.right)
        rules.append(_better(comparison, limits))
        for name, rows in slices(candidate, champion).items():
            _add_slice(name, candidate.right[rows], champion.right[rows], limits, rules, notes)
    rules += [
        _at_most("latency", cost.latency_ms, limits.latency_ms, lambda ms: f"{ms:.3g} ms a text"),
        _at_most("size", cost.size_mb, limits.size_mb, lambda mb: f"{mb:.3g} MB"),
    ]
    return Decision(tuple(rules), accuracy, champion_accuracy, comparison, tuple(notes))


def slices(candidate: ScoreTable, champion: ScoreTable) -> dict[str, NDArray[np.bool_]]:
    """Rows of the short reviews (the shortest quarter), the long ones (the longest), and the truncated ones.

    A review is truncated when one of the two models does not read all of it.
    """
    lengths = candidate.n_tokens
    short, long = np.quantile(lengths, [0.25, 0.75])
    read = min(candidate.sequence_length, champion.sequence_length)
    return {"short": lengths <= short, "long": lengths >= long, "truncated": lengths > read}


def _floor(accuracy: float, limits: Limits) -> Rule:
    told = f"accuracy {accuracy:.2%}, at least {limits.floor:.2%}"
    return Rule("floor", accuracy >= limits.floor, accuracy, limits.floor, told)


def _better(comparison: Comparison, limits: Limits) -> Rule:
    least = 0.0 - limits.margin  # not -0.0
    difference, low, high = map(format_points, (comparison.difference, comparison.low, comparison.high))
    told = (
        f"accuracy {difference} to the champion's "
        f"(95% interval {low} to {high}, p = {format_p(comparison.p_value)}; "
        f"{comparison.gained:,} reviews gained, {comparison.lost:,} lost), "
        f"lower end above {format_points(least)}"
    )
    return Rule("better", comparison.low > least, comparison.low, least, told)


def _add_slice(
    name: str,
    candidate: NDArray[np.bool_],
    champion: NDArray[np.bool_],
    limits: Limits,
    rules: list[Rule],
    notes: list[str],
) -> None:
    if len(candidate) < limits.slice_least:
        notes.append(f"{name} reviews: {len(candidate)}, too few to judge (at least {limits.slice_least})")
        return
    # By counts: a difference of two means would miss the limit by a rounding.
    change = (int(candidate.sum()) - int(champion.sum())) / len(candidate)
    least = 0.0 - limits.slice_margin
    told = (
        f"{name} reviews ({len(candidate):,}): accuracy {format_points(change)}, at least {format_points(least)}"
    )
    rules.append(Rule(f"slice {name}", change >= least, change, least, told))


def _at_most(name: str, number: float, limit: float, say: Callable[[float], str]) -> Rule:
    return Rule(name, number <= limit, number, limit, f"{say(number)}, at most {say(limit)}")
