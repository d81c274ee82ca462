"""Tests of the pictures: what is drawn, not how it looks."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

from sentiflow.evaluation.metrics import Measured, measure
from sentiflow.evaluation.scores import Epoch
from sentiflow.reports import plots
from tests.sentiflow.reports import made

LABELS = np.array([1, 1, 1, 0, 0, 0, 0], np.int8)
NAMES = ("negative", "positive")
SCORES = np.array([0.92, 0.61, 0.33, 0.72, 0.21, 0.13, 0.12])
# negative: 3 right, 1 wrong; positive: 2 right, 1 wrong


@pytest.fixture(scope="module")
def measured() -> Measured:
    return measure(LABELS, SCORES)


@pytest.fixture(scope="module")
def curves() -> Figure:
    history = [
        Epoch(1, 0.69, 0.55, 0.60, 0.65, 1e-3, 1.0, 10.0),
        Epoch(2, 0.50, 0.75, 0.45, 0.80, 1e-3, 1.0, 10.0),
        Epoch(3, 0.30, 0.90, 0.52, 0.78, 1e-3, 1.0, 10.0),
    ]
    return plots.learning_curves(plots.curves_of(history))


@pytest.mark.parametrize(
    ("panel", "line", "label", "values"),
    [
        (0, 0, "training", [0.69, 0.50, 0.30]),
        (0, 1, "validation", [0.60, 0.45, 0.52]),
        (1, 0, "training", [0.55, 0.75, 0.90]),
        (1, 1, "validation", [0.65, 0.80, 0.78]),
    ],
)
def test_learning_curves_draw_each_split_under_its_name(
    curves: Figure, panel: int, line: int, label: str, values: list[float]
) -> None:
    drawn = curves.axes[panel].lines[line]
    assert (drawn.get_label(), list(drawn.get_xdata()), list(drawn.get_ydata())) == (label, [1, 2, 3], values)


def test_confusion_writes_counts_and_shares_of_each_row() -> None:
    figure = plots.confusion(LABELS, SCORES, NAMES)
    drawn = {text.get_position(): text.get_text() for text in figure.axes[0].texts}
    # positions are (predicted, true)
    assert drawn == {(0, 0): "3\n75.0%", (1, 0): "1\n25.0%", (0, 1): "1\n33.3%", (1, 1): "2\n66.7%"}


def test_plots_call_labels_as_the_table_does_and_a_dollar_starts_no_formula(measured: Measured) -> None:
    names = ("bad", "worth $5 or $6 or a little more than that")
    axes = plots.confusion(LABELS, SCORES, names).axes[0]
    shown = [tick.get_text() for tick in (*axes.get_xticklabels(), *axes.get_yticklabels())]
    assert shown == ["bad", "worth \\$5 or \\$6 or\na little more than\nthat"] * 2
    figure = plots.reliability(LABELS, SCORES, measured, names[1])
    assert figure.axes[0].get_ylabel().startswith("share that is worth \\$5")
    figure.canvas.draw()


def test_roc_draws_the_true_against_the_false_positive_rate() -> None:
    labels, scores = np.array([1, 0, 1, 0], np.int8), np.array([0.9, 0.8, 0.7, 0.1])
    line = plots.roc(labels, scores, measure(labels, scores)).axes[0].lines[0]
    # from the highest score down: a hit, a false alarm, a hit, a false alarm
    assert list(zip(line.get_xdata(), line.get_ydata(), strict=True)) == [
        (0, 0),
        (0, 0.5),
        (0.5, 0.5),
        (0.5, 1),
        (1, 1),
    ]


def test_reliability_draws_the_positive_share_over_the_mean_score() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1, 0, 1], np.int8)
    scores = np.array([0.02, 0.06, 0.24, 0.28, 0.74, 0.78, 0.72, 0.76])
    line = plots.reliability(labels, scores, measure(labels, scores), "good").axes[0].lines[0]
    np.testing.assert_allclose(
        np.column_stack([line.get_xdata(), line.get_ydata()]), [(0.04, 0), (0.26, 0.5), (0.75, 0.75)], atol=1e-12
    )


def test_losses_of_several_runs_stand_under_their_labels() -> None:
    runs = [replace(made.summary(), number=1), replace(made.summary(curves={"val/loss": [(1, 0.4)]}), number=3)]
    lines = plots.learning_curves_of_runs(runs).axes[0].lines
    assert [(line.get_label(), list(line.get_ydata())) for line in lines] == [
        ("1 tutorial, seed 0", [0.55, 0.45]),
        ("3 tutorial, seed 0", [0.4]),
    ]
