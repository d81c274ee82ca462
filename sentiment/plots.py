"""Pictures of a run. Each function returns a figure that belongs to nobody; nothing global is touched."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray
from sklearn.calibration import calibration_curve
from sklearn.metrics import confusion_matrix, roc_curve

from sentiment.data.reviews import Reviews
from sentiment.history import Epoch, best_epoch
from sentiment.metrics import Measured
from sentiment.scoring import is_positive

BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#7f7f7f"  # told apart by colour-blind readers, too

Labels = NDArray[np.int8]
Scores = NDArray[np.float64]


def all_of(
    history: Sequence[Epoch], content: Reviews, scores: Scores, measured: Measured, sequence_length: int
) -> dict[str, Figure]:
    """Every picture of a run, by name."""
    test = content.of("test")
    return {
        "learning_curves": learning_curves(history),
        "confusion_matrix": confusion(test.label, scores),
        "roc_curve": roc(test.label, scores, measured),
        "reliability_curve": reliability(test.label, scores, measured),
        "review_lengths": review_lengths(content.of("train").n_tokens, test.n_tokens, sequence_length),
    }


def learning_curves(history: Sequence[Epoch]) -> Figure:
    """Loss and accuracy of training and validation, epoch by epoch; the best epoch is marked."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    numbers = [epoch.number for epoch in history]
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for split, colour in (("train", BLUE), ("val", ORANGE)):
            values = [getattr(epoch, f"{split}_{name}") for epoch in history]
            label = "training" if split == "train" else "validation"
            axes.plot(numbers, values, "o-", color=colour, label=label)
        axes.axvline(best_epoch(history).number, color=GREY, linestyle=":", label="lowest validation loss")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        describe(axes, name.capitalize(), "epoch", "nats" if name == "loss" else "")
        if name == "accuracy":
            axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        else:
            axes.legend(frameon=False)
    return figure


def confusion(labels: Labels, scores: Scores) -> Figure:
    """Counts of true against predicted labels."""
    counts = confusion_matrix(labels, is_positive(scores))
    figure = Figure(figsize=(4.6, 4), layout="constrained")
    axes = figure.subplots()
    axes.imshow(counts, cmap="Blues", vmin=0)
    for row, column in np.ndindex(counts.shape):
        shade = "white" if counts[row, column] > counts.max() / 2 else "black"
        text = f"{counts[row, column]:,}\n{counts[row, column] / counts[row].sum():.1%}"
        axes.text(column, row, text, ha="center", va="center", color=shade)
    names = ("negative", "positive")
    axes.set_xticks((0, 1), names)
    axes.set_yticks((0, 1), names, rotation=90, va="center")
    describe(axes, "Test reviews (share of each row)", "predicted", "true")
    axes.grid(visible=False)
    return figure


def roc(labels: Labels, scores: Scores, measured: Measured) -> Figure:
    """True against false positive rate over all thresholds."""
    false_positive, true_positive, _ = roc_curve(labels, scores)
    figure = Figure(figsize=(4.6, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(false_positive, true_positive, color=BLUE, label=f"AUC {measured.auc:.4f}")
    axes.plot((0, 1), (0, 1), color=GREY, linestyle=":", label="chance")
    describe(axes, "ROC curve", "false positive rate", "true positive rate")
    axes.legend(frameon=False, loc="lower right")
    return figure


def reliability(labels: Labels, scores: Scores, measured: Measured) -> Figure:
    """Share of positive reviews among those of like score, over how many there are."""
    share, mean_score = calibration_curve(labels, scores, n_bins=10)
    figure = Figure(figsize=(4.6, 4.6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.plot(mean_score, share, "o-", color=BLUE, label=f"Brier score {measured.brier:.4f}")
    upper.plot((0, 1), (0, 1), color=GREY, linestyle=":", label="perfectly calibrated")
    upper.legend(frameon=False, loc="upper left")
    describe(upper, "Reliability", "", "share that is positive")
    lower.hist(scores, bins=20, range=(0, 1), color=BLUE)
    describe(lower, "", "score", "reviews")
    return figure


def review_lengths(train: NDArray[np.int32], test: NDArray[np.int32], sequence_length: int) -> Figure:
    """Lengths in ids of training and test reviews, and where they are cut."""
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    top = max(float(np.quantile(np.concatenate([train, test]), 0.99)), sequence_length * 1.1)
    for lengths, name, colour in ((train, "training", BLUE), (test, "test", ORANGE)):
        axes.hist(lengths, bins=60, range=(0, top), histtype="step", color=colour, label=name, linewidth=1.5)
    cut = float((test > sequence_length).mean())
    axes.axvline(
        sequence_length, color=GREY, linestyle=":", label=f"cut at {sequence_length} ({cut:.1%} of the test)"
    )
    axes.legend(frameon=False)
    describe(axes, "Review lengths", "ids in a review (longest 1% may lie outside)", "reviews")
    return figure


def describe(axes: Axes, title: str, x: str, y: str) -> None:
    """Give axes their title and labels, and the look that all pictures share."""
    axes.set_title(title)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
