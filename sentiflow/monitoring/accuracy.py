"""The accuracy in use, from the labels of a sample: stratified, with an interval that holds with few labels."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from sentiflow.evaluation.statistics import format_p
from sentiflow.monitoring.sample import Sample
from sentiflow.scoring.scorer import THRESHOLD
from sentiflow.store.review import Label

_Z = 1.959964  # 95%
CHANCE = 0.045  # of an alarm where nothing changed; 4 to 5% over simulated months (docs/labels.md)
_POWER = 2.486475  # 1.645 and 0.842: a drop that is told four times in five
_DROP = 0.03


@dataclass(frozen=True)
class Verdicts:
    """What the people who labelled a sample agree on.

    Attributes:
        labels: by trace, 0 or 1, of most of those who labelled it.
        disputed: traces of texts with different labels.
        unclear: texts with as many for one label as for another, or that most could not tell.
        doubled: texts that more than one person labelled.
    """

    labels: dict[str, int]
    disputed: frozenset[str] = frozenset()
    unclear: int = 0
    doubled: int = 0

    @property
    def unanimous(self) -> dict[str, int]:
        """The labels of texts that nobody labelled otherwise."""
        return {trace: label for trace, label in self.labels.items() if trace not in self.disputed}

    @property
    def texts(self) -> int:
        """Those that somebody said something of."""
        return len(self.labels) + self.unclear


@dataclass(frozen=True)
class Tested:
    """The accuracy of a version on its test split, and the lower end of its 95% interval."""

    accuracy: float
    low: float


@dataclass(frozen=True)
class LiveAccuracy:
    """The accuracy of a version on the texts that a sample was drawn from.

    Attributes:
        value: each stratum counts as large as it is among the texts.
        doubt: as ``stratified`` gives it.
        needed: labels with which a drop of three points is told, four times in five.
        tested: the version on its test split, if that is known.
        p: how probable so low an accuracy is if there is no drop.
    """

    sample: Sample
    verdicts: Verdicts
    value: float
    doubt: float
    needed: int
    tested: Tested | None = None
    p: float = 1.0

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% interval."""
        return interval(self.value, self.doubt)

    @property
    def dropped(self) -> bool:
        """Whether the sample is complete, and the accuracy lies below the test's beyond chance."""
        return self.complete and self.p < CHANCE

    @property
    def labels(self) -> int:
        """Texts with a label."""
        return len(self.verdicts.labels)

    @property
    def complete(self) -> bool:
        """Whether every text was labelled, or found unclear."""
        return self.verdicts.texts == len(self.sample.texts)

    @property
    def power(self) -> str:
        """What could be seen, in a sentence."""
        return f"About {self.needed:,} labels show a drop of 3 points, four times in five."

    @property
    def headline(self) -> str:
        """The outcome in a sentence, without a full stop."""
        low, high = self.interval
        text = (
            f"Accuracy in use {self.value:.2%} (95% interval {low:.2%} to {high:.2%}) by labels of "
            f"{self.labels:,} of the {len(self.sample.texts):,} texts of sample {self.sample.number}, of version "
            f"{self.sample.version}"
        )
        if not self.complete:
            return f"{text}, which is not complete"
        if self.tested is None:
            return text
        word = "below" if self.dropped else "not beyond chance below"
        return f"{text}: {word} the test accuracy of {self.tested.accuracy:.2%} (p {format_p(self.p)})"


def verdicts(sample: Sample, given: Iterable[Label]) -> Verdicts:
    """Count the labels of each text; a person counts once, and what the question does not offer never."""
    votes: dict[str, Counter[str]] = {}
    for label in given:
        if label.value in sample.answers:
            votes.setdefault(label.trace, Counter())[label.value] += 1
    agreed: dict[str, int] = {}
    for trace, counts in votes.items():
        (first, most), *others = counts.most_common(2)
        if first in sample.names and (not others or others[0][1] < most):
            agreed[trace] = sample.names.index(first)
    disputed = frozenset(trace for trace, counts in votes.items() if len(counts) > 1)
    doubled = sum(counts.total() > 1 for counts in votes.values())
    return Verdicts(agreed, disputed, len(votes) - len(agreed), doubled)


def live_accuracy(sample: Sample, given: Sequence[Label]) -> LiveAccuracy | None:
    """The accuracy that the labels of a sample tell; None without any."""
    known = verdicts(sample, given)
    if not known.labels:
        return None
    right, counts = [0] * len(sample.population), [0] * len(sample.population)
    for drawn in sample.texts:
        if drawn.trace in known.labels:
            counts[drawn.stratum] += 1
            right[drawn.stratum] += (drawn.score > THRESHOLD) == known.labels[drawn.trace]
    value, doubt, spread = stratified(sample.population, right, counts)
    return LiveAccuracy(sample, known, value, doubt, math.ceil(_POWER**2 * spread / _DROP**2))


def stratified(
    population: Sequence[int], right: Sequence[int], counts: Sequence[int]
) -> tuple[float, float, float]:
    """The share that is right of a population, from a random sample of each stratum; values by stratum.

    For the variance half a text is added to either side of each stratum, less where the sample is most of it. A
    stratum without a label yet is taken to be like the others.

    Returns:
        The share; its doubt, one divided by the labels that a sample without strata needs to tell as much, and 0
        where every text is labelled; and the variance that one label alone would have.
    """
    total = sum(population)
    value = middle = variance = spread = 0.0
    for size, hits, n in zip(population, right, counts, strict=True):
        if not size:  # its texts were deleted
            continue
        weight, left = size / total, 1 - n / size
        share = (hits + left / 2) / (n + left)
        middle += weight * share
        value += weight * (hits / n if n else sum(right) / max(1, sum(counts)))
        variance += weight**2 * share * (1 - share) * left / (n + left)
        spread += weight**2 * share * (1 - share) / (n + 1) * sum(counts)
    return value, variance / (middle * (1 - middle)) if variance else 0.0, spread


def interval(value: float, doubt: float) -> tuple[float, float]:
    """The 95% interval of a share, by Wilson (1927) with as many labels as a sample without strata needs."""
    reach = _Z**2 * doubt
    middle = (value + reach / 2) / (1 + reach)
    half = math.sqrt(reach * value * (1 - value) + reach**2 / 4) / (1 + reach)
    return max(0.0, middle - half), min(1.0, middle + half)


def chance(value: float, doubt: float, tested: Tested, drop: float) -> float:
    """The p-value of a one-sided score test: how probable so low an accuracy is where ``drop`` is lost, or less.

    The chance of the test split counts, too.
    """
    expected = max(0.0, tested.accuracy - drop)
    unsure = (tested.accuracy - tested.low) / _Z
    error = math.hypot(math.sqrt(expected * (1 - expected) * doubt), unsure)
    return NormalDist(expected, error).cdf(value)
