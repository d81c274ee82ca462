"""Plots of one run, and of several runs in one plot."""

import textwrap
import warnings
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, roc_curve

from sentiflow.evaluation.metrics import Measured
from sentiflow.evaluation.metrics import reliability as in_bins
from sentiflow.evaluation.scores import Epoch
from sentiflow.reports.blocks import lay_out
from sentiflow.reports.summary import Curves, RunSummary
from sentiflow.run.record import EPOCH_METRICS
from sentiflow.scoring import is_positive
from sentiflow.store.ui import COLOURS

warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font", UserWarning)  # a name in another alphabet

BLUE, ORANGE, *_, GREY = COLOURS
_DARK = "#111111"
_LINE = 30  # characters of a label in a legend or beside an axis; longer ones fold
_NAME = 20  # of a label's name beside the confusion matrix

Labels = NDArray[np.int8]
Scores = NDArray[np.float64]


def curves_of(history: Sequence[Epoch]) -> Curves:
    """Curves of a history, named as in the store."""
    return {
        metric: [(epoch.number, getattr(epoch, field)) for epoch in history]
        for field, metric in EPOCH_METRICS.items()
    }


def save(figures: Mapping[str, Figure], folder: Path) -> None:
    """Write each plot as ``NAME.png`` in a new folder."""
    folder.mkdir(parents=True)
    for name, figure in figures.items():
        lay_out(figure)
        figure.savefig(folder / f"{name}.png", dpi=120)


def learning_curves(curves: Curves) -> Figure:
    """Curves of training and validation over the epochs; the best epoch is marked."""
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    best = min(curves["val/loss"], key=lambda point: point[1])[0]  # the earliest of equals
    loss, accuracy = figure.subplots(1, 2)
    for axes, name in ((loss, "loss"), (accuracy, "accuracy")):
        for split, label, colour in (("train", "training", BLUE), ("val", "validation", ORANGE)):
            _draw_line(axes, curves.get(f"{split}/{name}", ()), color=colour, label=label)
        axes.axvline(best, color=GREY, linestyle=":", label="lowest validation loss")
        describe(axes, name.capitalize(), "epoch", "")
    loss.legend(frameon=False)
    accuracy.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    return figure


def learning_curves_of_runs(runs: Sequence[RunSummary]) -> Figure:
    """Loss on the validation split over the epochs, a line a run."""
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    axes = figure.subplots()
    for run, colour in zip(runs, cycle(COLOURS), strict=False):
        label = textwrap.fill(_plain(run.label), _LINE)
        _draw_line(axes, run.curves["val/loss"], color=colour, label=label, markersize=4)
    describe(axes, "Validation loss", "epoch", "")
    figure.legend(loc="outside right upper", frameon=False)
    return figure


def _draw_line(axes: Axes, points: Sequence[tuple[int, float]], **how: Any) -> None:
    axes.plot([epoch for epoch, _ in points], [value for _, value in points], marker="o", **how)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def confusion(labels: Labels, scores: Scores, label_names: Sequence[str]) -> Figure:
    counts = confusion_matrix(labels, is_positive(scores))
    figure = Figure(figsize=(4.6, 4), layout="constrained")
    axes = figure.subplots()
    axes.imshow(counts, cmap="Blues", vmin=0)
    for row, column in np.ndindex(counts.shape):
        shade = "white" if counts[row, column] > counts.max() / 2 else _DARK
        text = f"{counts[row, column]:,}\n{counts[row, column] / counts[row].sum():.1%}"
        axes.text(column, row, text, ha="center", va="center", color=shade)
    names = [textwrap.fill(_plain(name), _NAME) for name in label_names]
    axes.set_xticks((0, 1), names)
    axes.set_yticks((0, 1), names, rotation=90, va="center")
    describe(axes, "Test reviews (share of each row)", "predicted", "true")
    axes.grid(visible=False)
    return figure


def roc(labels: Labels, scores: Scores, measured: Measured) -> Figure:
    false_positive, true_positive, _ = roc_curve(labels, scores)
    figure = Figure(figsize=(4.6, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(false_positive, true_positive, color=BLUE, label=f"AUC {measured.auc:.4f}")
    axes.plot((0, 1), (0, 1), color=GREY, linestyle=":", label="chance")
    describe(axes, "ROC curve", "false positive rate", "true positive rate")
    axes.legend(frameon=False, loc="lower right")
    return figure


def reliability(labels: Labels, scores: Scores, measured: Measured, one: str) -> Figure:
    """Share of label 1, called ``one``, by score, and the distribution of scores."""
    bins = in_bins(labels, scores)
    figure = Figure(figsize=(4.6, 4.6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.plot(bins.score, bins.positive, "o-", color=BLUE, label=f"Brier score {measured.brier:.4f}")
    upper.plot((0, 1), (0, 1), color=GREY, linestyle=":", label="perfectly calibrated")
    upper.legend(frameon=False, loc="best")
    describe(upper, "Reliability", "", textwrap.fill(f"share that is {_plain(one)}", _LINE))
    lower.hist(scores, bins=20, range=(0, 1), color=BLUE)
    describe(lower, "", "score", "reviews")
    return figure


def describe(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(title)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _plain(text: str) -> str:
    """A text whose dollars do not start a formula."""
    return text.replace("$", r"\$")
