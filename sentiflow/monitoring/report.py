"""What a look for drift found, as pictures, a table and a page."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from sentiflow.evaluation.statistics import format_p
from sentiflow.monitoring.drift import FIGURES, Compared, Floats, Limits, Unusual
from sentiflow.reports.page import STYLE, image
from sentiflow.reports.plots import BLUE, ORANGE, describe

_REFERENCE = {"oov": "training reviews", "length": "training reviews", "score": "test reviews"}
_SHOWN = 0.99  # of all texts; the longest would squeeze the others together
_BARS = 30
_PAGE = """
table.drift th, table.drift td { padding: .25rem 1.2rem .25rem 0; text-align: right }
table.drift th:first-child, table.drift td:first-child { text-align: left }
.yes { color: var(--alarm); font-weight: 600 }
blockquote { white-space: pre-wrap }
"""


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


def rows(told: Told) -> list[tuple[str, ...]]:
    """The comparison as a table, its heading first."""
    heading = ("figure", "median of the reviews", "median now", "PSI", "p", "drift")
    return [heading, *map(_row, told.compared)]


def markdown(told: Told) -> str:
    """The outcome for Prefect and MLflow."""
    heading, *figures = rows(told)
    lines = [heading, ("---", *["---:"] * (len(heading) - 1)), *figures]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    facts = "\n".join(f"- {name}: {value}" for name, value in told.facts.items())
    return f"**{told.headline}.**\n\n{table}\n\n{_limits(told.limits)}\n\n{facts}\n"


def page(told: Told, figures: Mapping[str, Figure]) -> str:
    """An HTML page that needs nothing else: pictures stand inside."""
    images = "".join(image(figure, FIGURES[name]) for name, figure in figures.items())
    facts = "".join(
        f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>" for name, value in told.facts.items()
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(told.title)}</title>'
        f"<style>{STYLE}{_PAGE}</style><main><h1>{html.escape(told.title)}</h1>"
        f"<p><strong>{html.escape(told.headline)}.</strong></p>{_html_table(told)}"
        f'<p class="small">{html.escape(_limits(told.limits))}</p>'
        f"<h2>Distributions</h2>{images}<h2>The most unusual texts</h2>{''.join(map(_quote, told.unusual))}"
        f"<h2>What was compared</h2><table>{facts}</table></main></html>"
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


def _html_table(told: Told) -> str:
    heading, *figures = rows(told)
    body = "".join(
        f'<tr class="{line[-1]}">{"".join(f"<td>{html.escape(cell)}</td>" for cell in line)}</tr>'
        for line in figures
    )
    head = "".join(f"<th>{cell}</th>" for cell in heading)
    return f'<table class="drift"><tr>{head}</tr>{body}</table>'


def _quote(text: Unusual) -> str:
    told = ", ".join(f"{FIGURES[name]} {shown(name, value)}" for name, value in text.figures.items())
    return f'<p class="small">{html.escape(told)}</p><blockquote>{html.escape(text.text)}</blockquote>'


def _limits(limits: Limits) -> str:
    return f"A figure has drifted when its PSI is at least {limits.psi:g} and its p below {limits.alpha:g}."
