"""Tests of the interval of a paired difference."""

import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from sentiflow.evaluation.statistics import (
    beyond_chance,
    compare,
    format_interval,
    format_p,
    format_points,
    newcombe,
    tango,
    welch,
)

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


@pytest.mark.parametrize(
    ("gained", "lost", "n"), [(9, 1, 20), (1, 7, 21), (3, 40, 60), (14, 0, 31), (300, 260, 5_000)]
)
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
    assert tango(0, 9, 9) == pytest.approx((-1.0, -(9 - Z**2) / (9 + Z**2)))  # a square is rounded below 0 there


def test_of_far_models_nineteen_intervals_in_twenty_hold_the_truth() -> None:
    # One is right on 92%, the other on 54%: where differing reviews are taken as given, 68% hold it.
    drawn = np.random.default_rng(0).multinomial(200, [0.4, 0.02, 0.58], size=1_000)
    ends = np.array([tango(int(gained), int(lost), 200) for gained, lost, _ in drawn])
    held = ((ends[:, 0] <= 0.38) & (ends[:, 1] >= 0.38)).mean()
    assert 0.93 < held < 0.97


@pytest.mark.parametrize(
    ("low", "high", "beyond"),
    [(-0.2, -0.1, True), (0.1, 0.2, True), (-0.1, 0.1, False), (0.0, 0.1, False), (-0.1, 0.0, False)],
)
def test_a_difference_is_beyond_chance_when_its_interval_leaves_out_zero(
    low: float, high: float, beyond: bool
) -> None:
    assert beyond_chance(low, high) is beyond


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        # Variances of the means 1 and 1: error sqrt(2), freedom 2**2 / (1/8 + 1/8) = 16, t = 2.1199 (table).
        ((5.0, 3.0, 9), (2.0, 3.0, 9), (3 - 2.9980, 3 + 2.9980, 0.0498)),
        # Variances 0 and 0.25: error 0.5, freedom 0.25**2 / (0.25**2 / 3) = 3, t = 3.1824 (table).
        ((1.0, 0.0, 5), (2.0, 1.0, 4), (-1 - 1.5912, -1 + 1.5912, 0.1393)),
    ],
)
def test_welchs_interval_and_p_value_worked_by_hand(one: tuple, other: tuple, expected: tuple) -> None:
    assert welch(one, other) == pytest.approx(expected, abs=1e-4)


def test_two_values_of_a_mean_are_enough_for_welch_and_one_is_not() -> None:
    # Variances 0.5 and 0.5: error 1, freedom 1 / (0.25 + 0.25) = 2, t = 4.3027 (table).
    assert welch((3.0, 1.0, 2), (1.0, 1.0, 2)) == pytest.approx((2 - 4.3027, 2 + 4.3027, 0.1835), abs=1e-4)
    assert welch((3.0, 1.0, 2), (1.0, 1.0, 1)) is None
    assert welch((3.0, 1.0, 1), (1.0, 1.0, 2)) is None
    assert welch((3.0, 0.0, 2), (1.0, 0.0, 2)) is None  # neither varies


def test_p_values_and_points_are_written_in_one_way() -> None:
    assert [format_p(p) for p in (0.25, 0.001, 0.00099, 1e-99, 9e-100)] == [
        "0.250", "0.001", "9.9e-04", "1.0e-99", "< 1e-99",
    ]  # fmt: skip
    assert (format_points(0.0032), format_points(-0.5, "%")) == ("+0.32 points", "-50.00%")
    assert (format_interval(-0.0012, 0.0076), format_interval(None, 0.1)) == ("-0.12 to +0.76", "")


@pytest.mark.parametrize(
    ("counts", "interval"),
    [
        ((56, 70, 48, 80), (0.0524, 0.3339)),
        ((9, 10, 3, 10), (0.1705, 0.8090)),
        ((5, 56, 0, 29), (-0.0381, 0.1926)),
        ((0, 10, 0, 20), (-0.1611, 0.2775)),
    ],
)
def test_newcombe_s_interval_is_that_of_his_table(
    counts: tuple[int, int, int, int], interval: tuple[float, float]
) -> None:
    """Newcombe (1998), table II: a, b, f and j by method 10."""
    assert newcombe(*counts) == pytest.approx(interval, abs=5e-5)
