"""Pictures of several runs together: a colour a run, and another kind of line where colours come round again."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from sentiment.calibration import Reliability
from sentiment.plots import GREY, Curves, describe, draw_line, finish_curves
from sentiment.slices import Slice

# Okabe and Ito (2008): told apart by colour-blind readers, too, and seen on light and dark pages.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f")
_LINES = ("-", "--", ":", "-.")
_MARKERS = "osD^vPX"


def style(number: int) -> dict[str, Any]:
    """Colour, line and marker of the run with this number; 0 is the first."""
    turn, colour = divmod(number, len(COLOURS))
    return {"color": COLOURS[colour], "linestyle": _LINES[turn % len(_LINES)], "marker": _MARKERS[colour]}


def learning_curves(runs: Mapping[str, Curves], numbers: Sequence[int]) -> Figure:
    """Loss and accuracy on the validation split over the epochs, a line a run.

    Args:
        runs: by label.
        numbers: of each, which choose its ``style``.
    """
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for number, (label, curves) in zip(numbers, runs.items(), strict=True):
            draw_line(axes, curves.get(f"val/{name}", ()), label=_literally(label), markersize=4, **style(number))
        finish_curves(axes, name, f"Validation {name}")
    _legend(figure)
    return figure


def reliability(runs: Mapping[str, Reliability], numbers: Sequence[int]) -> Figure:
    """Share of positive reviews among those of like score, a line a run."""
    figure = Figure(figsize=(6.4, 4.6), layout="constrained")
    axes = figure.subplots()
    axes.plot((0, 1), (0, 1), color=GREY, linestyle=":", label="perfectly calibrated")
    for number, (label, bins) in zip(numbers, runs.items(), strict=True):
        axes.plot(bins.score, bins.positive, label=_literally(label), markersize=4, **style(number))
    describe(axes, "Reliability", "score", "share that is positive")
    _legend(figure)
    return figure


def slices(runs: Mapping[str, Sequence[Slice]], numbers: Sequence[int], labels: Mapping[str, str]) -> Figure:
    """Accuracy on each slice with its interval, a dot a run.

    Args:
        runs: by label.
        numbers: of each, which choose its ``style``.
        labels: of the slices to show, by name.
    """
    lines = len(labels) * (len(runs) + 1)
    figure = Figure(figsize=(9, 1.4 + 0.16 * lines), layout="constrained")
    axes = figure.subplots()
    rows = {name: row for row, name in enumerate(labels)}
    for place, (number, (label, found)) in enumerate(zip(numbers, runs.items(), strict=True)):
        height = [rows[each.name] + 0.8 * ((place + 0.5) / len(runs) - 0.5) for each in found]
        at = np.array([each.accuracy for each in found])
        ends = np.array([[each.accuracy - each.low, each.high - each.accuracy] for each in found]).reshape(-1, 2)
        look = style(number) | {"linestyle": "none"}
        axes.errorbar(at, height, xerr=ends.T, label=_literally(label), markersize=4, elinewidth=1.2, **look)
    axes.set_yticks(range(len(labels)), list(labels.values()))
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    describe(axes, "Accuracy by slice, 95% intervals", "", "")
    _legend(figure)
    return figure


def _literally(text: str) -> str:
    """A text in which a dollar is a dollar, and no beginning of a formula."""
    return text.replace("$", r"\$")


def _legend(figure: Figure) -> None:
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 3), frameon=False)
