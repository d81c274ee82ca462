"""The accuracy in use of a model, sample by sample: read, judged, and shown."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from sentiflow.monitoring import sample
from sentiflow.monitoring.accuracy import FEWEST, LiveAccuracy, Tested, live_accuracy
from sentiflow.monitoring.labelling import reviewed
from sentiflow.monitoring.log import TextLog
from sentiflow.reports.blocks import Picture, Report, Section, Table, Text
from sentiflow.reports.plots import BLUE, ORANGE, describe
from sentiflow.settings import Settings
from sentiflow.store.find import find_version, open_store
from sentiflow.store.records import ACCURACY, parse_fraction

_METRICS = (
    "live/accuracy", "live/accuracy_ci_low", "live/accuracy_ci_high", "live/logged_ci_low", "live/logged_ci_high",
    "live/unclear_as_wrong", "live/unclear_as_right",
)  # fmt: skip


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
        log.mark_accuracy(found[-1].sample.model, found[-1].value)
    told = {each.sample.number: each for each in found}
    model = found[0].sample.model
    with sample.alone(model, settings):
        for each in sample.samples(model, settings):
            if live := told.get(each.number):
                each.told, each.dropped = live.headline, live.dropped
                sample.keep(each, settings)


def metrics(each: LiveAccuracy) -> dict[str, float]:
    """What is logged in MLflow for a sample."""
    counted, values = each.verdicts, (each.value, *each.interval, *each.logged, *each.ends)
    return {
        **(dict(zip(_METRICS, values, strict=True)) if each.enough else {}),
        "live/labels": each.labels,
        "live/unclear": len(counted.unclear),
        "live/disputed": len(counted.disputed) / counted.doubled if counted.doubled else 0.0,
        "live/estimate_without_labels": each.sample.confidence,
    }


def report(found: Sequence[LiveAccuracy]) -> Report:
    """The outcome as a page, and as Markdown for Prefect and MLflow."""
    last = found[-1]
    return Report(
        f"Accuracy in use of {last.sample.model}", [Text(f"{last.headline}.", strong=True)], [section(found)]
    )


def section(found: Sequence[LiveAccuracy]) -> Section:
    """A row a sample, and the accuracy over time."""
    heading = (
        "sample", "until", "version", "labels", "accuracy", "95% interval", "on the logged texts", "test",
        "without labels", "disputed",
    )  # fmt: skip
    rows = [
        (
            str(each.sample.number),
            each.sample.at[:10],
            str(each.sample.version),
            f"{each.labels:,} of {len(each.sample.texts):,}",
            *_shown(each),
            "-" if each.tested is None else f"{each.tested.accuracy:.1%}",
            f"{each.sample.confidence:.1%}",
            f"{len(each.verdicts.disputed):,} of {each.verdicts.doubled:,}",
        )
        for each in found
    ]
    last = found[-1]
    note = (
        "Accuracy: of the texts that were logged, by a random sample of them, from "
        f"{FEWEST} labels on. 95% interval: on texts like these, then on the logged ones themselves. "
        "Without labels: the mean share that the version gives to its own answers, an estimate that drift makes "
        "wrong. Disputed: of the texts that several people labelled. Of the last sample "
        f"{len(last.verdicts.unclear):,} texts are unclear, and left out. {last.power}"
    )
    alarms = [place for place, each in enumerate(found) if each.dropped]
    told = [each for each in found if each.enough]
    pictures = [Picture(_over_time(told), "Accuracy in use by sample, with its 95% interval")] if told else []
    return Section("Accuracy in use", [Table(heading, rows, alarms=alarms), Text(note), *pictures])


def _shown(each: LiveAccuracy) -> tuple[str, ...]:
    if not each.enough:
        return "-", "-", "-"
    return f"{each.value:.1%}", *("{:.1%} to {:.1%}".format(*ends) for ends in (each.interval, each.logged))


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
