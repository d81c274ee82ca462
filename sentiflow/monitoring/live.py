"""The accuracy in use of a model, sample by sample: read, judged, and shown."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from sentiflow.monitoring import sample
from sentiflow.monitoring.accuracy import LiveAccuracy, Tested, has_dropped, live_accuracy
from sentiflow.reports import Picture, Report, Section, Table, Text
from sentiflow.reports.plots import BLUE, ORANGE, describe
from sentiflow.settings import Settings
from sentiflow.store import ACCURACY, parse_fraction, review
from sentiflow.store.find import open_store


@dataclass(frozen=True)
class Watched:
    """A sample with labels, and what its version reached on its test split, if that is known.

    Attributes:
        dropped: whether the sample is complete, and the accuracy lies below the test's beyond chance.
    """

    live: LiveAccuracy
    tested: Tested | None
    dropped: bool

    @property
    def labels(self) -> int:
        """Texts with a label."""
        return len(self.live.verdicts.labels)

    @property
    def headline(self) -> str:
        """The outcome in a sentence, without a full stop."""
        live, sampled = self.live, self.live.sample
        text = (
            f"Accuracy in use {live.value:.2%} (95% interval {live.low:.2%} to {live.high:.2%}) by labels of "
            f"{self.labels:,} of the {len(sampled.texts):,} texts of sample {sampled.number}"
        )
        if not live.complete:
            return f"{text}, which is not complete"
        if self.tested is None:
            return text
        low = "below" if self.dropped else "not beyond chance below"
        return f"{text}: {low} the test accuracy of {self.tested.accuracy:.2%}"


def watched(model: str, settings: Settings) -> list[Watched]:
    """The samples of a model that have labels, the oldest first."""
    return list(_watched(model, settings))


def _watched(model: str, settings: Settings) -> Iterator[Watched]:
    for sampled in sample.samples(model, settings):
        live = live_accuracy(sampled, review.labels(sampled.title, sampled.experiment, settings))
        if live is not None:
            found = open_store(settings).version(model, sampled.version)
            tags = {} if found is None else found.tags
            accuracy, low = (parse_fraction(tags.get(f"{ACCURACY}{end}")) for end in ("", "_ci_low"))
            tested = None if accuracy is None or low is None else Tested(accuracy, low)
            dropped = live.complete and tested is not None and has_dropped(live, tested, settings.monitor_drop)
            yield Watched(live, tested, dropped)


def news(found: Sequence[Watched]) -> list[Watched]:
    """Those that say something else than at the last check."""
    return [each for each in found if each.headline != each.live.sample.told]


def mark_told(found: Sequence[Watched], settings: Settings) -> None:
    """Note what was told, so that the next check tells the rest."""
    told = {each.live.sample.number: each.headline for each in found}
    model = found[0].live.sample.model
    with sample.alone(model, settings):
        for each in sample.samples(model, settings):
            if each.number in told:
                sample.keep(each.model_copy(update={"told": told[each.number]}), settings)


def metrics(each: Watched) -> dict[str, float]:
    """What is logged in MLflow for a sample."""
    live, counted = each.live, each.live.verdicts
    return {
        "live/accuracy": live.value,
        "live/accuracy_ci_low": live.low,
        "live/accuracy_ci_high": live.high,
        "live/labels": each.labels,
        "live/unclear": counted.unclear,
        "live/disputed": counted.disputed / counted.doubled if counted.doubled else 0.0,
        "live/estimate_without_labels": live.sample.confidence,
    }


def report(found: Sequence[Watched]) -> Report:
    """The outcome as a page, and as Markdown for Prefect and MLflow."""
    last = found[-1]
    return Report(
        f"Accuracy in use of {last.live.sample.model}", [Text(f"{last.headline}.", strong=True)], [section(found)]
    )


def section(found: Sequence[Watched]) -> Section:
    """A row a sample, and the accuracy over time."""
    heading = (
        "sample", "until", "version", "labels", "accuracy", "95% interval", "test", "without labels", "disputed",
    )  # fmt: skip
    rows = [
        (
            str(each.live.sample.number),
            each.live.sample.at[:10],
            str(each.live.sample.version),
            f"{each.labels:,} of {len(each.live.sample.texts):,}",
            f"{each.live.value:.2%}",
            f"{each.live.low:.2%} to {each.live.high:.2%}",
            "-" if each.tested is None else f"{each.tested.accuracy:.2%}",
            f"{each.live.sample.confidence:.2%}",
            f"{each.live.verdicts.disputed:,} of {each.live.verdicts.doubled:,}",
        )
        for each in found
    ]
    last = found[-1]
    note = (
        "Accuracy: of the texts that were logged, by a random sample of them. Without labels: the mean share that "
        "the version gives to its own answers, an estimate that drift makes wrong. Disputed: of the texts that "
        f"several people labelled. Of the last sample {last.live.verdicts.unclear:,} texts are unclear, and left "
        f"out. About {last.live.needed:,} labels show a drop of 3 points, four times in five."
    )
    alarms = [place for place, each in enumerate(found) if each.dropped]
    picture = Picture(_over_time(found), "Accuracy in use by sample, with its 95% interval")
    return Section("Accuracy in use", [Table(heading, rows, words=2, alarms=alarms), Text(note), picture])


def _over_time(found: Sequence[Watched]) -> Figure:
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    axes = figure.subplots()
    places = list(range(len(found)))
    values = [each.live.value for each in found]
    lows, highs = [each.live.low for each in found], [each.live.high for each in found]
    reach = np.abs(np.array([lows, highs]) - values)
    axes.errorbar(places, values, yerr=reach, fmt="o", color=BLUE, capsize=4, label="in use, 95% interval")
    tested = [float("nan") if each.tested is None else each.tested.accuracy for each in found]
    axes.plot(places, tested, "_", color=ORANGE, markersize=24, markeredgewidth=2, label="on the test split")
    axes.set_xticks(places, [f"sample {each.live.sample.number}\n{each.live.sample.at[:10]}" for each in found])
    axes.margins(x=0.2)
    describe(axes, "Accuracy in use", "", "accuracy")
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    axes.legend(frameon=False)
    return figure
