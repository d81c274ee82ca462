"""Tests of calibration, against bins counted by hand."""

import numpy as np
import pytest

from sentiflow.evaluation.metrics import reliability


def test_bins_hold_mean_score_share_and_count() -> None:
    found = reliability(np.array([0, 1, 1, 1], np.int8), np.array([0.02, 0.06, 0.71, 0.79]))
    np.testing.assert_allclose(found.score, [0.04, 0.75])
    assert (found.positive.tolist(), found.reviews.tolist()) == ([0.5, 1.0], [2, 2])


def test_the_error_weighs_bins_by_their_reviews() -> None:
    # bin of 0.1 to 0.2: three reviews, mean 0.15, one positive: off by 0.18333; bin of 0.9: one, off by 0.1
    found = reliability(np.array([1, 0, 0, 1], np.int8), np.array([0.15, 0.15, 0.15, 0.9]))
    assert found.error == pytest.approx((3 * (1 / 3 - 0.15) + 0.1) / 4)


def test_a_score_of_one_belongs_to_the_last_bin() -> None:
    found = reliability(np.array([1, 1], np.int8), np.array([1.0, 0.95]))
    assert (found.reviews.tolist(), found.error) == ([2], pytest.approx(0.025))
    assert reliability(np.array([1, 1], np.int8), np.array([0.85, 0.95])).reviews.tolist() == [1, 1]


def test_scores_that_are_frequencies_have_no_error() -> None:
    labels = np.array([1] * 3 + [0] + [1] + [0] * 3, np.int8)
    assert reliability(labels, np.array([0.75] * 4 + [0.25] * 4)).error == pytest.approx(0)
