"""Tests of the pictures of several runs: what is drawn, not how it looks."""

from types import SimpleNamespace

import numpy as np
import pytest

from sentiflow.evaluation.metrics import reliability
from sentiflow.reports import plots
from sentiflow.reports.blocks import lay_out

CURVES = {"val/loss": [(1, 0.6), (2, 0.5)], "val/accuracy": [(1, 0.7), (2, 0.8)]}


def run(number: int, name: str, **data: object) -> SimpleNamespace:
    """What a picture shows of a run's summary."""
    return SimpleNamespace(number=number, label=f"{number} {name}", **data)


def test_curves_of_each_run_stand_under_its_label() -> None:
    runs = [run(1, "a", curves=CURVES), run(3, "b", curves={"val/loss": [(1, 0.4)]})]
    (loss,), (accuracy,) = (plots.learning_curves_of_runs(runs, name).axes for name in plots.CURVES)
    assert [(line.get_label(), list(line.get_ydata())) for line in loss.lines] == [
        ("1 a", [0.6, 0.5]),
        ("3 b", [0.4]),
    ]
    assert list(accuracy.lines[0].get_ydata()) == [0.7, 0.8]


def test_a_run_has_the_colour_of_its_number_in_every_picture() -> None:
    bins = reliability(np.array([0, 1], np.int8), np.array([0.2, 0.9]))
    third = run(3, "b", curves=CURVES, reliability=bins)
    curves = plots.learning_curves_of_runs([third], "loss").axes[0].lines[0].get_color()
    calibrated = plots.reliability_of_runs([third]).axes[0].lines[1].get_color()
    assert curves == calibrated == plots.COLOURS[2]


@pytest.mark.parametrize("label", ["tutorial with 2 changes, seed 0", "a" * 100])
@pytest.mark.parametrize("count", [2, 4, 8])
def test_a_legend_of_long_labels_is_whole_and_leaves_room_for_the_plot(count: int, label: str) -> None:
    bins = reliability(np.array([0, 1], np.int8), np.array([0.2, 0.9]))
    figure = plots.reliability_of_runs([run(n + 1, label, reliability=bins) for n in range(count)])
    lay_out(figure)
    (legend,), (axes,) = figure.legends, figure.axes
    drawn, plot = legend.get_window_extent(), axes.get_window_extent()
    assert drawn.x0 >= 0 and drawn.x1 <= figure.bbox.x1
    assert drawn.y0 >= 0 and drawn.y1 <= plot.y0
    assert plot.height > 250  # of the 420 of a picture without a legend
