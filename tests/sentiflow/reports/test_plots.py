"""Tests of the pictures: what is drawn, not how it looks."""

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure

from sentiflow.evaluation import Epoch
from sentiflow.evaluation.metrics import Measured, measure
from sentiflow.evaluation.score_table import ScoreTable
from sentiflow.reports import one_run as run
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


@pytest.mark.parametrize("panel", [0, 1])
def test_learning_curves_mark_the_epoch_of_the_lowest_validation_loss(curves: Figure, panel: int) -> None:
    assert list(curves.axes[panel].lines[2].get_xdata()) == [2, 2]


def test_learning_curves_of_a_single_epoch_show_whole_numbers() -> None:
    figure = plots.learning_curves({"train/loss": [(1, 0.69)], "val/loss": [(1, 0.6)]})
    assert all(tick == int(tick) for tick in figure.axes[0].get_xticks())


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


def test_confusion_keeps_both_columns_when_one_label_is_never_predicted() -> None:
    figure = plots.confusion(np.array([1, 0, 0], np.int8), np.array([0.1, 0.2, 0.3]), NAMES)
    drawn = {text.get_position(): text.get_text() for text in figure.axes[0].texts}
    assert drawn == {(0, 0): "2\n100.0%", (1, 0): "0\n0.0%", (0, 1): "1\n100.0%", (1, 1): "0\n0.0%"}


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


def test_roc_names_the_area(measured: Measured) -> None:
    # 0.92 beats 4 negatives, 0.61 beats 3, 0.33 beats 3: 10 of 12
    assert plots.roc(LABELS, SCORES, measured).axes[0].lines[0].get_label() == "AUC 0.8333"


def test_reliability_draws_the_positive_share_over_the_mean_score() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1, 0, 1], np.int8)
    scores = np.array([0.02, 0.06, 0.24, 0.28, 0.74, 0.78, 0.72, 0.76])
    line = plots.reliability(labels, scores, measure(labels, scores), "good").axes[0].lines[0]
    np.testing.assert_allclose(
        np.column_stack([line.get_xdata(), line.get_ydata()]), [(0.04, 0), (0.26, 0.5), (0.75, 0.75)], atol=1e-12
    )


def test_reliability_counts_the_reviews_below(measured: Measured) -> None:
    heights = [bar.get_height() for bar in plots.reliability(LABELS, SCORES, measured, "good").axes[1].patches]
    # twentieths: 0.12 and 0.13 in number 2, 0.21 in 4, 0.33 in 6, 0.61 in 12, 0.72 in 14, 0.92 in 18
    assert {number: height for number, height in enumerate(heights) if height} == {
        2: 2,
        4: 1,
        6: 1,
        12: 1,
        14: 1,
        18: 1,
    }


def test_reliability_names_the_brier_score() -> None:
    labels, scores = np.array([1, 0], np.int8), np.array([0.9, 0.3])  # (0.01 + 0.09) / 2
    line = plots.reliability(labels, scores, measure(labels, scores), "good").axes[0].lines[0]
    assert line.get_label() == "Brier score 0.0500"


def test_review_lengths_marks_the_cut_and_the_share_of_the_test_beyond_it() -> None:
    train, test = np.array([5, 500, 900], np.int32), np.array([100, 500, 501, 800], np.int32)
    line = plots.review_lengths(train, test, 500).axes[0].lines[0]
    assert (list(line.get_xdata()), line.get_label()) == ([500, 500], "cut at 500 (50.0% of the test)")


def test_review_lengths_counts_each_split_under_its_name() -> None:
    figure = plots.review_lengths(np.array([5, 5, 5, 300], np.int32), np.array([5, 400], np.int32), 500)
    highest = {patch.get_label(): patch.get_xy()[:, 1].max() for patch in figure.axes[0].patches}
    assert highest == {"training": 3, "test": 1}


@pytest.fixture(scope="module")
def pictures() -> dict[str, Figure]:
    table = ScoreTable(np.array([f"r{i}" for i in range(7)]), LABELS, SCORES, np.full(7, 5, np.int32), 4)
    return run.pictures(made.summary(table=table))


def test_a_run_has_five_pictures_by_name(pictures: dict[str, Figure]) -> None:
    names = {"learning_curves", "confusion_matrix", "roc_curve", "reliability_curve", "review_lengths"}
    assert {name for name, figure in pictures.items() if isinstance(figure, Figure)} == names == set(pictures)


def test_a_run_without_epochs_has_no_curves() -> None:
    assert "learning_curves" not in run.pictures(made.summary(curves={}, test_data=None))


def test_lengths_of_training_reviews_that_are_not_at_hand_are_left_out() -> None:
    figure = plots.review_lengths(None, np.array([5, 400], np.int32), 500)
    assert [patch.get_label() for patch in figure.axes[0].patches] == ["test"]


def test_pictures_of_a_run_are_of_its_test_split(pictures: dict[str, Figure]) -> None:
    shares = [text.get_text() for text in pictures["confusion_matrix"].axes[0].texts]
    assert shares == ["3\n75.0%", "1\n25.0%", "1\n33.3%", "2\n66.7%"]


def test_no_picture_is_registered_globally() -> None:
    before = pyplot.get_fignums()
    assert run.pictures(made.summary())
    assert pyplot.get_fignums() == before


def test_pictures_can_be_written(pictures: dict[str, Figure], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("pictures")
    for name, figure in pictures.items():
        figure.savefig(folder / f"{name}.png")
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in folder.iterdir())
