"""Tests of the pictures of several runs: what is drawn, not how it looks."""

from types import SimpleNamespace

import numpy as np

from sentiflow.evaluation.metrics import reliability
from sentiflow.reports import plots

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
