"""The accuracy in use, from the labels of samples: stratified, with an interval that holds with few labels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray
from scipy.special import betaincc, betaincinv, ndtr

from sentiflow.evaluation.statistics import format_p
from sentiflow.monitoring import sample as sampling
from sentiflow.monitoring.labelling import reviewed
from sentiflow.monitoring.log import TextLog
from sentiflow.monitoring.sample import Sample, Verdicts, verdicts
from sentiflow.reports.blocks import Picture, Report, Section, Table, Text
from sentiflow.reports.plots import BLUE, ORANGE, describe
from sentiflow.scoring.scorer import THRESHOLD
from sentiflow.settings import Settings
from sentiflow.store.find import find_version, open_store
from sentiflow.store.records import ACCURACY, parse_fraction
from sentiflow.store.review import Label

_Z = 1.959964  # 95%
CHANCE = 0.045  # of an alarm where nothing changed; how often one comes: docs/labels.md
FEWEST = 20  # labels of which an accuracy is told
_SHARE = 0.75  # of the outcome itself that counts as so low
_STEPS = np.linspace(-8, 8, 81)  # standard deviations of the test accuracy
_WEIGHTS = np.exp(-(_STEPS**2) / 2) / np.exp(-(_STEPS**2) / 2).sum()

_METRICS = ("live/accuracy", "live/accuracy_ci_low", "live/accuracy_ci_high")

Counts = Sequence[int] | NDArray[np.int_]


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
        tested: the version on its test split, if that is known.
        p: how probable so low an accuracy is if there is no drop.
    """

    sample: Sample
    verdicts: Verdicts
    value: float
    doubt: float
    tested: Tested | None = None
    p: float = 1.0

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% interval of the accuracy on texts like these, of which more may come."""
        return interval(self.value, self.doubt + 1 / sum(self.sample.population))

    @property
    def enough(self) -> bool:
        return self.labels >= FEWEST

    @property
    def dropped(self) -> bool:
        """Whether the sample is complete, and the accuracy lies below the test's beyond chance."""
        return self.enough and self.complete and self.p < CHANCE

    @property
    def labels(self) -> int:
        return len(self.verdicts.labels)

    @property
    def complete(self) -> bool:
        """Whether every text was labelled, or found unclear."""
        return self.verdicts.texts == len(self.sample.texts)

    @property
    def headline(self) -> str:
        """The outcome in a sentence, without a full stop."""
        texts, of = len(self.sample.texts), f"of sample {self.sample.number}, of version {self.sample.version}"
        if not self.enough:
            return f"An accuracy in use needs {FEWEST} labels: {self.labels} of the {texts:,} texts {of} have one"
        low, high = self.interval
        by = f"by labels of {self.labels:,} of the {texts:,} texts {of}"
        text = f"Accuracy in use {self.value:.2%} (95% interval {low:.2%} to {high:.2%}) {by}"
        if unclear := len(self.verdicts.unclear):
            text += f", {unclear:,} of them unclear"
        if not self.complete:
            return f"{text}, which is not complete"
        if self.tested is None:
            return text
        word = "below" if self.dropped else "not beyond chance below"
        return f"{text}: {word} the test accuracy of {self.tested.accuracy:.2%} (p {format_p(self.p)})"


def live_accuracy(
    sample: Sample, given: Sequence[Label], tested: Tested | None = None, drop: float = 0.0
) -> LiveAccuracy | None:
    """The accuracy that the labels of a sample tell; None without any."""
    known = verdicts(sample, given)
    right, wrong = tally = np.zeros((2, len(sample.population)), int)
    for drawn in sample.texts:
        if drawn.trace in known.labels:
            tally[int((drawn.score > THRESHOLD) != known.labels[drawn.trace]), drawn.stratum] += 1
    if not (right + wrong).any():
        return None
    value, doubt = stratified(sample.population, right, right + wrong)
    p = 1.0 if tested is None else chance(value, doubt + 1 / sum(sample.population), tested, drop)
    return LiveAccuracy(sample, known, value, doubt, tested, p)


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


def watched(model: str, settings: Settings) -> list[LiveAccuracy]:
    """The accuracy by each sample that has labels, the oldest first."""
    store, found = open_store(settings), []
    for sampled, labels in reviewed(model, settings):
        version = store.version(model, sampled.version)
        tags = {} if version is None else version.tags
        accuracy, low = (parse_fraction(tags.get(f"{ACCURACY}{end}")) for end in ("", "_ci_low"))
        tested = Tested(accuracy, low) if accuracy and low and low < accuracy else None
        if live := live_accuracy(sampled, labels, tested, settings.monitor_drop):
            found.append(live)
    return found


def news(found: Sequence[LiveAccuracy]) -> list[LiveAccuracy]:
    """Those that say something else than at the last check."""
    return [each for each in found if each.headline != each.sample.told]


def new_drops(news: Sequence[LiveAccuracy], settings: Settings) -> list[LiveAccuracy]:
    """Those that say of the version in use, and did not before, that its accuracy dropped."""
    dropped = [each for each in news if each.dropped and not each.sample.dropped]
    in_use = find_version(settings, news[0].sample.model, None).number if dropped else 0
    return [each for each in dropped if each.sample.version == in_use]


def mark(found: Sequence[LiveAccuracy], log: TextLog, settings: Settings) -> None:
    """Note what was told, so that the next check tells the rest, and the accuracy for the service's metrics."""
    if found[-1].complete and found[-1].enough:
        log.mark(found[-1].sample.model, accuracy=found[-1].value)
    told = {each.sample.number: each for each in found}
    model = found[0].sample.model
    with sampling.alone(model, settings):
        for each in sampling.samples(model, settings):
            if live := told.get(each.number):
                each.told, each.dropped = live.headline, live.dropped
                sampling.keep(each, settings)


def metrics(each: LiveAccuracy) -> dict[str, float]:
    counted, values = each.verdicts, (each.value, *each.interval)
    return {
        **(dict(zip(_METRICS, values, strict=True)) if each.enough else {}),
        "live/labels": each.labels,
        "live/unclear": len(counted.unclear),
        "live/disputed": len(counted.disputed) / counted.doubled if counted.doubled else 0.0,
        "live/estimate_without_labels": each.sample.confidence,
    }


def report(found: Sequence[LiveAccuracy]) -> Report:
    last = found[-1]
    return Report(
        f"Accuracy in use of {last.sample.model}", [Text(f"{last.headline}.", strong=True)], [section(found)]
    )


def section(found: Sequence[LiveAccuracy]) -> Section:
    heading = (
        "sample", "until", "version", "labels", "accuracy", "95% interval", "test",
        "without labels", "disputed",
    )  # fmt: skip
    rows = [
        (
            str(each.sample.number),
            each.sample.at[:10],
            str(each.sample.version),
            f"{each.labels:,} of {len(each.sample.texts):,}",
            f"{each.value:.1%}" if each.enough else "-",
            "{:.1%} to {:.1%}".format(*each.interval) if each.enough else "-",
            "-" if each.tested is None else f"{each.tested.accuracy:.1%}",
            f"{each.sample.confidence:.1%}",
            f"{len(each.verdicts.disputed):,} of {each.verdicts.doubled:,}",
        )
        for each in found
    ]
    last = found[-1]
    note = (
        "Accuracy: of the texts that were logged, by a random sample of them, from "
        f"{FEWEST} labels on, with its 95% interval on texts like these. "
        "Without labels: the mean share that the version gives to its own answers, an estimate that drift makes "
        "wrong. Disputed: of the texts that several people labelled. Of the last sample "
        f"{len(last.verdicts.unclear):,} texts are unclear, and left out."
    )
    alarms = [place for place, each in enumerate(found) if each.dropped]
    told = [each for each in found if each.enough]
    pictures = [Picture(_over_time(told), "Accuracy in use by sample, with its 95% interval")] if told else []
    return Section("Accuracy in use", [Table(heading, rows, alarms=alarms), Text(note), *pictures])


def _over_time(found: Sequence[LiveAccuracy]) -> Figure:
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    axes = figure.subplots()
    places = list(range(len(found)))
    values = [each.value for each in found]
    reach = np.abs(np.transpose([each.interval for each in found]) - values)
    axes.errorbar(places, values, yerr=reach, fmt="o", color=BLUE, capsize=4, label="in use, 95% interval")
    tested = [float("nan") if each.tested is None else each.tested.accuracy for each in found]
    axes.plot(places, tested, "_", color=ORANGE, markersize=24, markeredgewidth=2, label="on the test split")
    axes.set_xticks(places, [f"sample {each.sample.number}\n{each.sample.at[:10]}" for each in found])
    axes.margins(x=0.2)
    describe(axes, "Accuracy in use", "", "accuracy")
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    axes.legend(frameon=False)
    return figure
