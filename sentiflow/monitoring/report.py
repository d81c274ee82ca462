"""What a look for drift found, as pictures, a table and a page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from sentiflow.evaluation.statistics import format_p
from sentiflow.monitoring.drift import FIGURES, Compared, Floats, Limits, Unusual
from sentiflow.reports.page import Picture, Quote, Report, Section, Table, Text
from sentiflow.reports.plots import BLUE, ORANGE, describe

_REFERENCE = {"oov": "training reviews", "length": "training reviews", "score": "test reviews"}
_SHOWN = 0.99  # of all texts; the longest would squeeze the others together
_BARS = 30


@dataclass(frozen=True)
class Told:
    """What a look for drift has to tell.

    Attributes:
        title: of the page.
        compared: every figure.
        limits: from where on a figure has drifted.
        facts: what was compared with what, for people.
        unusual: the texts least like the reviews.
    """

    title: str
    compared: tuple[Compared, ...]
    limits: Limits
    facts: Mapping[str, str]
    unusual: Sequence[Unusual]

    @property
    def drifted(self) -> tuple[str, ...]:
        """What people call the figures that drifted."""
        return tuple(figure.label for figure in self.compared if figure.drifted)

    @property
    def headline(self) -> str:
        """The outcome in a sentence."""
        if not self.drifted:
            return "No drift: the texts are still like the reviews"
        *others, last = self.drifted
        return f"Drift: {', '.join(others)}{' and ' if others else ''}{last} moved beyond the limits"


def pictures(
    reference: Mapping[str, Floats], now: Mapping[str, Floats], compared: Sequence[Compared]
) -> dict[str, Figure]:
    """The distribution of each figure in the reference and of late, by name."""
    return {each.name: _picture(each, reference[each.name], now[each.name]) for each in compared}


def table(told: Told) -> Table:
    """A row per figure."""
    heading = ("figure", "median of the reviews", "median now", "PSI", "p", "drift")
    alarms = [i for i, figure in enumerate(told.compared) if figure.drifted]
    return Table(heading, [_row(figure) for figure in told.compared], alarms=alarms)


def report(told: Told, figures: Mapping[str, Figure]) -> Report:
    """The outcome as a page, and as Markdown for Prefect and MLflow."""
    limits = told.limits
    rule = f"A figure has drifted when its PSI is at least {limits.psi:g} and its p below {limits.alpha:g}."
    return Report(
        told.title,
        [Text(f"{told.headline}.", strong=True)],
        [
            Section("Figures", [table(told), Text(rule)]),
            Section("What was compared", [Table(("", ""), list(told.facts.items()), words=2)]),
            Section("Distributions", [Picture(figure, FIGURES[name]) for name, figure in figures.items()]),
            Section("The most unusual texts", [_quote(text) for text in told.unusual]),
        ],
    )


def _picture(figure: Compared, reference: Floats, now: Floats) -> Figure:
    made = Figure(figsize=(8, 3.2), layout="constrained")
    axes = made.subplots()
    cuts, name = _cuts(figure.name, reference, now), _REFERENCE[figure.name]
    for values, colour, label in ((reference, BLUE, name), (now, ORANGE, "texts of late")):
        shares, _ = np.histogram(values, cuts)
        axes.stairs(shares / len(values), cuts, color=colour, alpha=0.18, fill=True)
        axes.stairs(shares / len(values), cuts, color=colour, linewidth=1.6, label=f"{label} ({len(values):,})")
    word = "drift" if figure.drifted else "no drift"
    title = f"{figure.label.capitalize()}: PSI {figure.psi:.3f}, p {format_p(figure.p)}, {word}"
    describe(axes, title, figure.label, "share of texts")
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    if figure.name == "oov":
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    axes.legend(frameon=False)
    return made


def _cuts(name: str, reference: Floats, now: Floats) -> Floats:
    """Edges of the bars; those of lengths are whole words wide, or some bars would stand for more lengths."""
    top = 1.0 if name == "score" else float(max(np.quantile(values, _SHOWN) for values in (reference, now)))
    if name == "length":
        widths: Floats = np.arange(_BARS + 1) * np.ceil((top + 1) / _BARS)
        return widths - 0.5
    return np.linspace(0, max(top, 0.01), _BARS + 1)


def _row(figure: Compared) -> tuple[str, ...]:
    medians = (shown(figure.name, figure.reference), shown(figure.name, figure.now))
    return (figure.label, *medians, f"{figure.psi:.3f}", format_p(figure.p), "yes" if figure.drifted else "no")


def shown(name: str, value: float) -> str:
    """A figure's value for people.

    Example:
        >>> shown("oov", 0.05), shown("length", 177.0), shown("score", 0.5)
        ('5.0%', '177', '0.500')
    """
    return {"oov": f"{value:.1%}", "length": f"{value:.0f}"}.get(name, f"{value:.3f}")


def _quote(text: Unusual) -> Quote:
    values = ", ".join(f"{FIGURES[name]} {shown(name, value)}" for name, value in text.figures.items())
    return Quote(text.text, caption=values)
