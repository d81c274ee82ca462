"""Tests of the interval of a paired difference."""

import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from sentiflow.evaluation.statistics import compare, tango

Z = 1.959963984540054


def refused(assumed: float, gained: int, lost: int, n: int) -> float:
    """Standard errors from an assumed difference; the likeliest shares are searched for, not solved for."""
    rest = n - gained - lost

    def unlikely(share: float) -> float:  # of reviews that only the other has right
        told = [(gained, share + assumed), (lost, share), (rest, 1 - 2 * share - assumed)]
        return -sum(count * math.log(max(p, 1e-300)) for count, p in told if count)

    ends = (max(0.0, -assumed), (1 - assumed) / 2)
    share = minimize_scalar(unlikely, bounds=ends, method="bounded", options={"xatol": 1e-12}).x
    return abs(gained - lost - n * assumed) / math.sqrt(n * (2 * share + assumed * (1 - assumed)))


@pytest.mark.parametrize(("gained", "lost", "n"), [(9, 1, 20), (1, 7, 21), (3, 40, 60), (300, 260, 5_000)])
def test_the_ends_are_the_differences_that_a_score_test_refuses_at_five_percent(
    gained: int, lost: int, n: int
) -> None:
    for end in tango(gained, lost, n):
        assert refused(end, gained, lost, n) == pytest.approx(Z, rel=1e-5)


def test_a_published_interval() -> None:
    # Fagerland, Lydersen and Laake (2014), airway hyper-responsiveness: 1 gained, 7 lost, of 21.
    assert tango(1, 7, 21) == pytest.approx((-0.517, -0.026), abs=5e-4)


def test_models_that_never_differ_may_still_be_apart_by_what_so_few_reviews_cannot_show() -> None:
    # At d the likeliest share is all that d asks for: n d = z sqrt(n d (1 - d)), so d = z^2 / (n + z^2).
    same = compare(np.array([True, False] * 50), np.array([True, False] * 50))
    end = Z**2 / (100 + Z**2)
    assert (same.low, same.high) == pytest.approx((-end, end))
    assert (same.difference, same.p_value) == (0.0, 1.0)


def test_no_interval_reaches_beyond_what_accuracies_can_differ_by() -> None:
    # All won: at d the others are as likely lost as not at all, so sqrt(n (1 - d) / (1 + d)) = z.
    end = (10 - Z**2) / (10 + Z**2)
    assert tango(0, 10, 10) == pytest.approx((-1.0, -end))
    assert tango(10, 0, 10) == pytest.approx((end, 1.0))
    assert tango(1, 0, 1)[1] == 1.0


def test_the_other_way_round_is_the_mirror_image() -> None:
    low, high = tango(31, 12, 90)
    assert tango(12, 31, 90) == pytest.approx((-high, -low))


def test_of_far_models_nineteen_intervals_in_twenty_hold_the_truth() -> None:
    # One is right on 92%, the other on 54%: where differing reviews are taken as given, 68% hold it.
    drawn = np.random.default_rng(0).multinomial(200, [0.4, 0.02, 0.58], size=1_000)
    ends = np.array([tango(int(gained), int(lost), 200) for gained, lost, _ in drawn])
    held = ((ends[:, 0] <= 0.38) & (ends[:, 1] >= 0.38)).mean()
    assert 0.93 < held < 0.97
