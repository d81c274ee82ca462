"""The accuracy in use, from the labels of a sample: stratified, with an interval that holds with few labels."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincc, betaincinv, ndtr

from sentiflow.evaluation.statistics import format_p
from sentiflow.monitoring.sample import Sample
from sentiflow.scoring.scorer import THRESHOLD
from sentiflow.store.review import Label

_Z = 1.959964  # 95%
CHANCE = 0.045  # of an alarm where nothing changed; how often one comes: docs/labels.md
FEWEST = 20  # labels of which an accuracy is told
_UNCLEAR = 0.05  # of the texts; with more, the accuracy is given with them, too
_POWER = 2.537019  # 1.695 and 0.842: a drop that is told four times in five
_DROP = 0.03
_SHARE = 0.75  # of the outcome itself that counts as so low
_STEPS = np.linspace(-8, 8, 81)  # standard deviations of the test accuracy
_WEIGHTS = np.exp(-(_STEPS**2) / 2) / np.exp(-(_STEPS**2) / 2).sum()

Counts = Sequence[int] | NDArray[np.int_]


@dataclass(frozen=True)
class Verdicts:
    """What the people who labelled a sample agree on.

    Attributes:
        labels: by trace, 0 or 1, of most of those who labelled it.
        disputed: traces of texts with different labels.
        unclear: traces of texts with as many for one label as for another, or that most could not tell.
        doubled: texts that more than one person labelled.
    """

    labels: dict[str, int]
    disputed: frozenset[str] = frozenset()
    unclear: frozenset[str] = frozenset()
    doubled: int = 0

    @property
    def unanimous(self) -> dict[str, int]:
        """The labels of texts that nobody labelled otherwise."""
        return {trace: label for trace, label in self.labels.items() if trace not in self.disputed}

    @property
    def texts(self) -> int:
        """Those that somebody said something of."""
        return len(self.labels) + len(self.unclear)


@dataclass(frozen=True)
class Tested:
    """The accuracy of a version on its test split, and the lower end of its 95% interval."""

    accuracy: float
    low: float

    @property
    def reviews(self) -> float:
        """How many test reviews leave this interval, by Wilson."""
        return _Z**2 * self.low * (1 - self.low) / (self.accuracy - self.low) ** 2

    @cached_property
    def likely(self) -> NDArray[np.float64]:
        """What the accuracy may truly be, by steps of as many standard deviations."""
        right, wrong = self.accuracy * self.reviews, (1 - self.accuracy) * self.reviews
        found: NDArray[np.float64] = betaincinv(right + 1 - _SHARE, wrong + _SHARE, ndtr(_STEPS))
        return found


@dataclass(frozen=True)
class LiveAccuracy:
    """The accuracy of a version on the texts that a sample was drawn from.

    Attributes:
        value: each stratum counts as large as it is among the texts.
        doubt: as ``stratified`` gives it.
        ends: the accuracy with the unclear texts as wrong, and as right.
        tested: the version on its test split, if that is known.
        p: how probable so low an accuracy is if there is no drop.
    """

    sample: Sample
    verdicts: Verdicts
    value: float
    doubt: float
    ends: tuple[float, float]
    tested: Tested | None = None
    p: float = 1.0

    @property
    def logged(self) -> tuple[float, float]:
        """The 95% interval of the accuracy on the texts that the sample was drawn from."""
        low, high = interval(self.value, self.doubt)
        size = sum(self.sample.population)
        step = 0.5 / size * (self.labels < size)  # the accuracy on few texts goes by steps
        return max(0.0, low - step), min(1.0, high + step)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% interval of the accuracy on texts like these, of which more may come."""
        return interval(self.value, self.doubt + 1 / sum(self.sample.population))

    @property
    def enough(self) -> bool:
        """Whether there are labels enough to tell an accuracy."""
        return self.labels >= FEWEST

    @property
    def dropped(self) -> bool:
        """Whether the sample is complete, and the accuracy lies below the test's beyond chance."""
        return self.enough and self.complete and self.p < CHANCE

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
        """What can be seen, in a sentence: by labels of texts that are drawn at random of very many."""
        if self.tested is None:
            return "Its test accuracy is not known, so no drop can be told."
        share = max(0.5, self.tested.accuracy - _DROP)  # where the variance is largest
        room = (_DROP / _POWER) ** 2 / (share * (1 - share)) - 1 / self.tested.reviews
        if room <= 0:
            few = f"about {self.tested.reviews:,.0f} test reviews are too few"
            return f"However many labels, a drop of 3 points is told less than four times in five: {few}."
        return f"At most {math.ceil(1 / room):,} labels show a drop of 3 points, four times in five."

    @property
    def headline(self) -> str:
        """The outcome in a sentence, without a full stop."""
        texts, of = len(self.sample.texts), f"of sample {self.sample.number}, of version {self.sample.version}"
        if not self.enough:
            return f"An accuracy in use needs {FEWEST} labels: {self.labels} of the {texts:,} texts {of} have one"
        intervals = f"{_ends(self.interval)} on texts like these"
        if _ends(self.interval) != _ends(self.logged):
            intervals += f", {_ends(self.logged)} on the {sum(self.sample.population):,} that were logged"
        by = f"by labels of {self.labels:,} of the {texts:,} texts {of}"
        text = f"Accuracy in use {self.value:.2%} (95% interval {intervals}) {by}"
        if len(self.verdicts.unclear) > _UNCLEAR * self.verdicts.texts:
            wrong, right = self.ends
            text += (
                f"; {wrong:.2%} if the {len(self.verdicts.unclear):,} unclear ones are wrong, {right:.2%} if right"
            )
        if not self.complete:
            return f"{text}, which is not complete"
        if self.tested is None:
            return text
        word = "below" if self.dropped else "not beyond chance below"
        return f"{text}: {word} the test accuracy of {self.tested.accuracy:.2%} (p {format_p(self.p)})"


def _ends(found: tuple[float, float]) -> str:
    return "{:.2%} to {:.2%}".format(*found)


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
    return Verdicts(agreed, disputed, frozenset(votes.keys() - agreed.keys()), doubled)


def live_accuracy(
    sample: Sample, given: Sequence[Label], tested: Tested | None = None, drop: float = 0.0
) -> LiveAccuracy | None:
    """The accuracy that the labels of a sample tell; None without any."""
    known = verdicts(sample, given)
    right, wrong, unclear = tally = np.zeros((3, len(sample.population)), int)
    for drawn in sample.texts:
        if drawn.trace in known.unclear:
            unclear[drawn.stratum] += 1
        elif drawn.trace in known.labels:
            tally[int((drawn.score > THRESHOLD) != known.labels[drawn.trace]), drawn.stratum] += 1
    if not (right + wrong).any():
        return None
    value, doubt = stratified(sample.population, right, right + wrong)
    at_worst, _ = stratified(sample.population, right, tally.sum(0))
    at_best, _ = stratified(sample.population, right + unclear, tally.sum(0))
    p = 1.0 if tested is None else chance(value, doubt + 1 / sum(sample.population), tested, drop)
    return LiveAccuracy(sample, known, value, doubt, (at_worst, at_best), tested, p)


def stratified(population: Sequence[int], right: Counts, counts: Counts) -> tuple[float, float]:
    """The share that is right of a population, from a random sample of each stratum; values by stratum.

    A stratum without a label is taken to be like the others. For the variance half a text is added to either side
    of each.

    Returns:
        The share; and its doubt, one divided by the labels that a sample without strata needs to tell as much: 0
        where every text is labelled. Of more texts like these it is larger by one divided by the population.
    """
    labelled = sum(size for size, n in zip(population, counts, strict=True) if n)
    value = middle = variance = 0.0
    for size, hits, n in zip(population, right, counts, strict=True):
        if not n:
            continue
        weight, share = size / labelled, (hits + 0.5) / (n + 1)
        value += weight * hits / n
        middle += weight * share
        variance += weight**2 * share * (1 - share) * (1 / n - 1 / (weight * sum(population)))
    return value, max(0.0, variance / (middle * (1 - middle)))


def interval(value: float, doubt: float) -> tuple[float, float]:
    """The 95% interval of a share, by Wilson (1927) with as many labels as a sample without strata needs."""
    reach = _Z**2 * doubt
    middle = (value + reach / 2) / (1 + reach)
    half = math.sqrt(reach * value * (1 - value) + reach**2 / 4) / (1 + reach)
    return max(0.0, middle - half), min(1.0, middle + half)


def chance(value: float, doubt: float, tested: Tested, drop: float) -> float:
    """The one-sided p-value of an accuracy: how probable one so low is where ``drop`` is lost, or less.

    Binomial, with as many labels as a sample without strata needs; the mean over what the accuracy may truly be by
    the test split. Of an outcome three quarters count, on both sides: the exact test counts it whole and is too
    strict with few labels, the mid-p test counts half and is false too often.
    """
    right, wrong = value / doubt, (1 - value) / doubt
    tails = betaincc(right + _SHARE, wrong + 1 - _SHARE, np.clip(tested.likely - drop, 0, 1))
    return float(_WEIGHTS @ tails)
