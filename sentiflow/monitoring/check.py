"""A drift check: the recent texts, their features, and the outcome as pictures, a table and a page."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from sentiflow.data import prepare, reviews
from sentiflow.errors import ExternalError
from sentiflow.evaluation.statistics import format_p
from sentiflow.monitoring import drift
from sentiflow.monitoring.drift import FEATURES, FeatureDrift, Floats, UnusualText
from sentiflow.monitoring.log import TextLog, check_folder, need_log
from sentiflow.names import BUILT_IN, dataset_of, model_name
from sentiflow.reports import plots
from sentiflow.reports.blocks import PAGE, Picture, Quote, Report, Section, Table, Text
from sentiflow.reports.plots import BLUE, ORANGE, describe
from sentiflow.settings import Settings, load_settings
from sentiflow.store.find import find_version, load_scorer, need_dataset, need_versions, open_store, with_dataset
from sentiflow.store.records import Version, need_number

_UNUSUAL, _CHARACTERS = 6, 600  # texts shown in the report, and characters of each
_REFERENCE = {"oov": "training reviews", "length": "training reviews", "score": "test reviews"}
_SHOWN = 0.99  # of all texts; the longest would squeeze the others together
_BARS = 30


@dataclass(frozen=True)
class DriftCheck:
    """A drift check that has begun."""

    model: str
    settings: Settings
    log: TextLog
    lock: str  # name of the lock that is held meanwhile
    work: Path  # folder for files that tasks pass on; deleted at the end

    @property
    def artifacts(self) -> Path:
        return self.work / "artifacts"


@dataclass(frozen=True)
class RecentTexts:
    """The texts since the last check."""

    texts: NDArray[np.object_]  # each once
    repeated: int  # how many more were equal to one of the distinct ones
    first: str  # when it was scored, UTC; empty without texts
    last: str
    sources: dict[str, int]
    last_id: int  # of the last text in the log; 0 without texts

    @property
    def distinct(self) -> int:
        return len(self.texts)


@dataclass(frozen=True)
class DriftResult:
    """Recent texts compared with the reviews that a version was trained and tested on."""

    model: str
    version: int  # that scored both sides
    digest: str  # of the dataset
    features: tuple[FeatureDrift, ...]
    min_psi: float
    alpha: float
    facts: Mapping[str, str]  # what was compared with what
    unusual: Sequence[UnusualText]  # the texts least like the reviews

    @property
    def drifted(self) -> tuple[str, ...]:
        return tuple(feature.label for feature in self.features if feature.drifted)

    @property
    def headline(self) -> str:
        if not self.drifted:
            return "No drift: the texts are still like the reviews"
        return f"Drift: {', '.join(self.drifted)} moved beyond the limits"

    def metrics(self) -> dict[str, float]:
        fields = {"psi": "psi", "p": "p", "median": "recent", "median_reviews": "reference"}
        return {
            f"drift/{each.name}_{name}": getattr(each, field)
            for each in self.features
            for name, field in fields.items()
        }


@dataclass(frozen=True)
class CheckOutcome:
    """The outcome of a drift check; ``texts`` counts different new ones."""

    model: str
    texts: int
    drift: str  # a sentence
    result: DriftResult | None = None  # the comparison; None with too few texts for one
    run_url: str = ""  # of the report in MLflow; empty without one
    accuracy: tuple[str, ...] = ()  # in use, a sentence for each sample with new labels
    dropped: bool = False  # whether labels say so of the version in use, and had not before

    @property
    def summary(self) -> str:
        return " ".join([*self.accuracy, self.drift])

    @property
    def drifted(self) -> tuple[str, ...]:
        return self.result.drifted if self.result else ()


def what_to_do(model: str) -> str:
    dataset = dataset_of(model)
    label = f"label recent texts (sentiflow label --dataset {dataset})"
    train = f"train on what is new (sentiflow train --dataset {dataset if dataset in BUILT_IN else 'PATH'})"
    return f"Read the report, {label}, or {train}."


@contextmanager
def drift_check(dataset: str) -> Iterator[DriftCheck]:
    """Hold the lock of a model's drift checks."""
    settings, model = load_settings(), model_name(dataset)
    log = need_log(settings)
    with check_folder(model, settings) as work:
        yield DriftCheck(model, settings, log, work.name, work)


def collect_texts(log: TextLog, model: str) -> RecentTexts:
    """The texts since the last check, each once: a repeated probe is no drift."""
    sources: Counter[str] = Counter()
    texts: dict[str, None] = {}
    at: set[str] = set()
    last_id = 0
    for batch in log.unchecked(model):
        texts |= dict.fromkeys(entry.text for entry in batch)
        sources.update(entry.source for entry in batch)
        at |= {entry.at for entry in batch}
        last_id = batch[-1].id
    repeated, first, last = sources.total() - len(texts), min(at, default=""), max(at, default="")
    return RecentTexts(np.array([*texts], np.object_), repeated, first, last, dict(sources), last_id)


def compare(check: DriftCheck, texts: RecentTexts, more: Sequence[Section]) -> DriftResult:
    """Measure texts and reviews in the same way, with the version in use, and compare them.

    Written: plots and the report, with further sections, among the artifacts.
    """
    settings = check.settings
    version = find_version(settings, check.model, None)
    scorer = load_scorer(settings, version)
    digest, reviewed = _training_reviews(version, settings)
    reference = drift.features_of_reviews(reviews.read(reviewed), scorer)
    recent = drift.features_of_texts(texts.texts.tolist(), scorer)
    unusual = drift.most_unusual(texts.texts.tolist(), recent, reference, _UNUSUAL, _CHARACTERS)
    limits = settings.monitor_psi, settings.monitor_alpha
    features = drift.compare(reference, recent, *limits)
    sources = " and ".join(f"{count:,} {source}" for source, count in sorted(texts.sources.items()))
    facts = {
        "model": f"{version.name} version {version.number} ({version.why})",
        "dataset digest": digest,
        "texts": f"{texts.distinct:,} different ones, {texts.repeated:,} repeated; {sources}",
        "from": texts.first,
        "until": texts.last,
    }
    result = DriftResult(check.model, version.number, digest, features, *limits, facts, unusual)
    figures = {each.name: picture(each, reference[each.name], recent[each.name]) for each in features}
    plots.save(figures, check.artifacts / "plots")
    (check.artifacts / PAGE).write_text(report(result, figures, more).page(), encoding="utf-8")
    return result


def _training_reviews(version: Version, settings: Settings) -> tuple[str, Path]:
    """Digest and table of the reviews of a version's training; missing ones of a built-in dataset are made."""
    store = open_store(settings)
    versions = need_versions(store, version.name)
    found = versions[need_number(versions, version.name, version.number)]
    dataset, digest = need_dataset(version.name, with_dataset(store, found))
    table = prepare.kept_table(dataset, digest, settings)
    if not table.exists() and dataset in BUILT_IN:
        prepare.prepare(prepare.fetch(dataset, settings), settings)
    if not table.exists():
        raise ExternalError(
            f"The reviews that {version.name} version {version.number} was trained on are not at {table}.",
            f"Train again on this machine, or copy it and {reviews.vocabulary_file(table).name} there.",
        )
    reviews.mark_used(table)  # housekeeping removes what is not
    return digest, table


def table(result: DriftResult) -> Table:
    heading = ("feature", "median of the reviews", "median now", "PSI", "p", "drift")
    rows = []
    for feature in result.features:
        medians = (format_feature(feature.name, value) for value in (feature.reference, feature.recent))
        outcome = "yes" if feature.drifted else "no"
        rows.append((feature.label, *medians, f"{feature.psi:.3f}", format_p(feature.p), outcome))
    return Table(heading, rows, alarms=[row for row, feature in enumerate(result.features) if feature.drifted])


NO_LABELS = "Drift says whether the texts have changed. Without labels it says nothing of the accuracy on them."


def report(result: DriftResult, figures: Mapping[str, Figure], more: Sequence[Section] = ()) -> Report:
    """The outcome as a page, and as Markdown for Prefect and MLflow."""
    rule = f"A feature has drifted when its PSI is at least {result.min_psi:g} and its p below {result.alpha:g}."
    pictures = [Picture(figure, FEATURES[name]) for name, figure in figures.items()]
    return Report(
        f"Drift of {result.model}",
        [Text(f"{result.headline}.", strong=True)],
        [
            Section("Features", [table(result), Text(f"{rule} {NO_LABELS}")]),
            *more,
            Section("What was compared", [Table(("", ""), list(result.facts.items()), words=2)]),
            Section("Distributions", pictures),
            Section("The most unusual texts", [_quote(text) for text in result.unusual]),
        ],
    )


def picture(feature: FeatureDrift, reference: Floats, recent: Floats) -> Figure:
    """The distribution of a feature in the reference and in the recent texts."""
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    axes = figure.subplots()
    edges = _bar_edges(feature.name, reference, recent)
    sides = (reference, BLUE, _REFERENCE[feature.name]), (recent, ORANGE, "recent texts")
    for values, colour, label in sides:
        shares, _ = np.histogram(values, edges)
        axes.stairs(shares / len(values), edges, color=colour, alpha=0.18, fill=True)
        axes.stairs(shares / len(values), edges, color=colour, linewidth=1.6, label=f"{label} ({len(values):,})")
    word = "drift" if feature.drifted else "no drift"
    title = f"{feature.label.capitalize()}: PSI {feature.psi:.3f}, p {format_p(feature.p)}, {word}"
    describe(axes, title, feature.label, "share of texts")
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    if feature.name == "oov":
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    axes.legend(frameon=False)
    return figure


def _bar_edges(name: str, reference: Floats, recent: Floats) -> Floats:
    """Edges of the bars; those of lengths are a whole number of words wide, or bars would hold unequal counts."""
    top = 1.0 if name == "score" else float(max(np.quantile(values, _SHOWN) for values in (reference, recent)))
    if name == "length":
        widths: Floats = np.arange(_BARS + 1) * np.ceil((top + 1) / _BARS)
        return widths - 0.5
    return np.linspace(0, max(top, 0.01), _BARS + 1)


def format_feature(name: str, value: float) -> str:
    """A feature's value as text, such as ``5.0%``, ``177`` or ``0.500``."""
    return {"oov": f"{value:.1%}", "length": f"{value:.0f}"}.get(name, f"{value:.3f}")


def _quote(text: UnusualText) -> Quote:
    values = ", ".join(f"{FEATURES[name]} {format_feature(name, value)}" for name, value in text.features.items())
    return Quote(text.text, caption=values)
