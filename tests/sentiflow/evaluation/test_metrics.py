"""Tests of the metrics and of calibration, on reviews few enough to work out by hand."""

import math
from dataclasses import asdict

import keras
import numpy as np
import pytest

from sentiflow.evaluation.metrics import Spread, accuracy_of, at_chance, measure, reliability, spread
from sentiflow.evaluation.scores import Epoch, best_epoch
from sentiflow.evaluation.statistics import wilson

LABELS = np.array([1, 1, 1, 0, 0, 0], np.int8)
SCORES = np.array([0.9, 0.6, 0.3, 0.7, 0.2, 0.1])
# right: 0.9, 0.6, 0.2, 0.1; a false negative at 0.3, a false positive at 0.7


def test_each_metric_is_what_can_be_counted_by_hand() -> None:
    measured = measure(LABELS, SCORES)
    assert measured.accuracy == pytest.approx(4 / 6)
    assert (measured.accuracy_ci_low, measured.accuracy_ci_high) == wilson(4, 6)
    assert measured.auc == pytest.approx(7 / 9)  # 0.9 beats 3 negatives; 0.6 beats 2; 0.3 beats 2
    assert measured.brier == pytest.approx(1.20 / 6)  # 0.01 + 0.16 + 0.49 + 0.49 + 0.04 + 0.01
    # the scores of the true labels: 0.9, 0.6, 0.3, 0.3, 0.8, 0.9
    assert measured.loss == pytest.approx(-math.log(0.9 * 0.6 * 0.3 * 0.3 * 0.8 * 0.9) / 6)
    assert measured.text() == "66.67% (95% interval 30.00% to 90.32%)"  # Wilson's formula of 4 of 6


def test_ties_count_as_half_and_a_score_of_one_half_is_negative() -> None:
    assert measure(np.array([1, 0, 0], np.int8), np.array([0.6, 0.6, 0.1])).auc == pytest.approx(1.5 / 2)
    tied = measure(np.array([1, 0, 0], np.int8), np.array([0.5, 0.5, 0.5]))
    assert (tied.accuracy, tied.f1_positive) == (pytest.approx(2 / 3), 0.0)


def test_accuracy_and_loss_equal_those_of_keras() -> None:
    rng = np.random.default_rng(8)
    scores = rng.random(1_000).astype(np.float32)
    scores[:100] = 0.5
    labels = rng.integers(0, 2, 1_000).astype(np.int8)
    theirs = keras.metrics.BinaryAccuracy()
    theirs.update_state(labels, scores)
    found = measure(labels, scores.astype(np.float64))
    assert found.accuracy == pytest.approx(float(theirs.result()), abs=1e-6)
    loss = keras.losses.BinaryCrossentropy(dtype="float64")(labels, scores.astype(np.float64))
    assert found.loss == pytest.approx(float(loss), abs=1e-6)


def test_f1_is_of_either_label_and_balanced_accuracy_of_both() -> None:
    # 2 true positives, 2 false positives, 1 false negative: 2 * 2 / (2 * 2 + 2 + 1)
    # 3 true negatives, 1 false negative, 2 false positives: 2 * 3 / (2 * 3 + 1 + 2)
    labels = np.array([1, 1, 1, 0, 0, 0, 0, 0], np.int8)
    scores = np.array([0.9, 0.8, 0.1, 0.9, 0.8, 0.1, 0.1, 0.1])
    found = measure(labels, scores)
    assert (found.f1_positive, found.f1_negative) == pytest.approx((4 / 7, 6 / 9))
    assert found.balanced_accuracy == pytest.approx((2 / 3 + 3 / 5) / 2)
    assert asdict(accuracy_of([[3, 2], [1, 2]])) == pytest.approx(
        {name: value for name, value in asdict(found).items() if name not in ("loss", "auc", "brier")}
    )
    assert found.majority_share == measure(1 - labels, 1 - scores).majority_share == 5 / 8


@pytest.mark.parametrize(
    ("negative", "positive", "told"),
    [
        # How many of the negative and of the positive reviews are called positive: so many of so many.
        ((250, 500), (250, 500), "50.00%"),
        ((6_135, 12_500), (6_365, 12_500), "50.00%"),  # 50.92%: more than chance, and next to nothing
        ((200, 500), (300, 500), ""),
        ((0, 800), (0, 200), "80.00%"),  # one answer for all
        ((40, 800), (60, 200), ""),  # 82%, and a third of the rarer label is found
        ((150, 800), (150, 200), ""),  # 80%, but it tells the labels apart: balanced 78%
        ((8, 800), (8, 200), "80.00%"),  # 80%: the rarer label is called as often by chance
        ((400, 800), (150, 200), "80.00%"),  # 55%
        ((1, 3), (2, 3), "50.00%"),
        ((0, 20), (20, 20), ""),
    ],
)
def test_a_network_is_at_chance_unless_it_is_clearly_better_than_one_answer_for_all(
    negative: tuple[int, int], positive: tuple[int, int], told: str
) -> None:
    labels = np.repeat([0, 1], [negative[1], positive[1]]).astype(np.int8)
    scores = np.concatenate([np.arange(n) < called for called, n in (negative, positive)]) * 0.8 + 0.1
    found = at_chance(labels, scores)
    assert (told in found, bool(found)) == (True, bool(told))


def test_accuracy_stands_alone_unless_one_label_is_much_commoner() -> None:
    labels, scores = np.array([1, 1, 1, 0, 0], np.int8), np.array([0.9, 0.8, 0.1, 0.1, 0.1])
    assert measure(labels, scores).text() == "80.00% (95% interval 37.55% to 96.38%)"  # 60% have one label
    labels, scores = np.array([1, 1, 1, 0], np.int8), np.array([0.9, 0.8, 0.1, 0.1])
    _, _, more = measure(labels, scores).text(("bad", "good")).partition("; ")
    f1 = "F1 0.67 of bad and 0.80 of good"
    assert more == f"balanced accuracy 83.33%, {f1}; the commoner label alone gets 75.00%"


def test_a_certain_and_wrong_score_costs_16_nats() -> None:
    # -ln(1e-7) = 16.118; the other review costs -ln(1 - 1e-7), nearly nothing
    assert measure(np.array([1, 0], np.int8), np.array([0.0, 0.0])).loss == pytest.approx(16.118 / 2, abs=5e-4)
    assert measure(np.array([1, 0], np.int8), np.array([1.0, 1.0])).loss == pytest.approx(16.118 / 2, abs=5e-4)


@pytest.mark.parametrize(("right", "n"), [(4, 6), (0, 5), (5, 5), (20_813, 25_000)])
def test_wilson_equals_its_closed_formula(right: int, n: int) -> None:
    z, p = 1.959963984540054, right / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    assert wilson(right, n) == pytest.approx((centre - half, centre + half), abs=1e-12)


@pytest.mark.parametrize("label", [0, 1])
def test_labels_of_one_class_are_refused(label: int) -> None:
    with pytest.raises(ValueError, match="both classes"):
        measure(np.full(3, label, np.int8), np.array([0.1, 0.5, 0.9]))


def test_a_score_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        measure(LABELS, np.array([0.9, 0.6, np.nan, 0.7, 0.2, 0.1]))


def test_spread_worked_by_hand() -> None:
    # deviations -2, -1, 3: squares sum to 14, over 2 is 7
    assert spread([1.0, 2.0, 6.0]) == Spread(mean=3.0, sd=pytest.approx(7**0.5), min=1.0, max=6.0)


def test_a_spread_is_logged_and_printed() -> None:
    found = spread([0.81, 0.83])  # deviations of one point each: sqrt(2 / 1)
    assert found.text() == "standard deviation 1.41 points, 81.00% to 83.00%"
    assert found.as_metrics("accuracy") == {
        "accuracy_mean": pytest.approx(0.82), "accuracy_sd": pytest.approx(2**0.5 / 100),
        "accuracy_min": 0.81, "accuracy_max": 0.83,
    }  # fmt: skip


def test_the_best_epoch_is_the_earliest_of_the_lowest_validation_loss() -> None:
    epochs = [
        Epoch(number, 0.5, 0.5, loss, 0.5, 1e-3, 1.0, 1.0) for number, loss in ((1, 0.6), (2, 0.4), (3, 0.4))
    ]
    assert best_epoch(epochs).number == 2


def test_bins_hold_mean_score_share_and_count() -> None:
    found = reliability(np.array([0, 1, 1, 1], np.int8), np.array([0.02, 0.06, 0.71, 0.79]))
    np.testing.assert_allclose(found.score, [0.04, 0.75])
    assert (found.positive.tolist(), found.reviews.tolist()) == ([0.5, 1.0], [2, 2])


def test_the_error_weighs_bins_by_their_reviews() -> None:
    # bin of 0.1 to 0.2: three reviews, mean 0.15, one positive: off by 0.18333; bin of 0.9: one, off by 0.1
    found = reliability(np.array([1, 0, 0, 1], np.int8), np.array([0.15, 0.15, 0.15, 0.9]))
    assert found.error == pytest.approx((3 * (1 / 3 - 0.15) + 0.1) / 4)
