"""Intervals and tests of accuracies and of their differences, and how they are printed."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtri, stdtr, stdtrit
from scipy.stats import binomtest

_Z = float(ndtri(0.975))  # of two-sided 95% intervals
_SMALLEST_P = 1e-99


@dataclass(frozen=True)
class Comparison:
    """Difference of two models on the same reviews, the first less the second."""

    difference: float  # of the accuracies, as a fraction
    low: float  # end of its 95% interval by Tango
    high: float
    p_value: float  # of McNemar's exact test, two-sided
    gained: int  # reviews that only the first has right
    lost: int  # reviews that only the second has right


def wilson(right: int, n: int) -> tuple[float, float]:
    """The 95% interval of a proportion by Wilson (1927); it is valid near 0 and 1, too."""
    interval = binomtest(right, n).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def compare(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> Comparison:
    """McNemar's exact test, and Tango's score interval of the difference.

    The interval holds the differences that a score test at 5% does not reject, for close and for distant models
    alike. It decides whether two models differ. The exact test is more conservative: near the limit its p-value
    may be above 5% although the interval leaves out 0.
    McNemar (1947); Tango (1998), Statistics in Medicine 17, 891. Each model is given by which reviews it labels
    correctly, shape (n,).
    """
    gained, lost, n = int((one & ~other).sum()), int((other & ~one).sum()), len(one)
    p_value = float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
    return Comparison((gained - lost) / n, *tango(gained, lost, n), p_value, gained, lost)


def beyond_chance(low: float, high: float) -> bool:
    """Whether the 95% interval of a difference leaves out 0."""
    return low > 0 or high < 0


def tango(gained: int, lost: int, n: int) -> tuple[float, float]:
    """Tango's 95% interval of the difference, within -1 and 1; on the rest of ``n`` reviews the models agree."""
    difference = (gained - lost) / n

    def beyond(assumed: float) -> float:
        return abs(_score(assumed, gained, lost, n)) - _Z

    low = -1.0 if difference == -1 else float(brentq(beyond, -1.0, difference))
    high = 1.0 if difference == 1 else float(brentq(beyond, difference, 1.0))
    return low, high


def _score(assumed: float, gained: int, lost: int, n: int) -> float:
    """Standard errors between the observed difference and an assumed one."""
    above = gained - lost - n * assumed
    # The maximum-likelihood share of reviews that only the other has right, given the assumed difference.
    half = gained + lost - (2 * n - gained + lost) * assumed
    root = math.sqrt(max(0.0, half**2 + 8 * n * lost * assumed * (1 - assumed)))
    share = (root + half) / (4 * n)
    variance = n * (2 * share + assumed * (1 - assumed))
    if variance <= 0:
        return math.copysign(math.inf, above) if above else 0.0
    return above / math.sqrt(variance)


def newcombe(right: int, n: int, other_right: int, m: int) -> tuple[float, float]:
    """The 95% interval of a difference of two proportions of different reviews: Newcombe (1998), method 10."""
    one, other = right / n, other_right / m
    (low, high), (other_low, other_high) = wilson(right, n), wilson(other_right, m)
    difference = one - other
    return (
        difference - math.hypot(one - low, other_high - other),
        difference + math.hypot(high - one, other - other_low),
    )


def welch(one: tuple[float, float, int], other: tuple[float, float, int]) -> tuple[float, float, float] | None:
    """Ends of the 95% interval of a difference of means, and the two-sided p; None without any spread."""
    if min(one[2], other[2]) < 2:
        return None
    variances = [sd**2 / count for _, sd, count in (one, other)]
    error = math.sqrt(sum(variances))
    if error == 0:
        return None
    freedom = error**4 / sum(
        variance**2 / (count - 1) for variance, (_, _, count) in zip(variances, (one, other), strict=True)
    )
    difference, reach = one[0] - other[0], error * float(stdtrit(freedom, 0.975))
    return difference - reach, difference + reach, 2 * float(stdtr(freedom, -abs(difference) / error))


def format_p(value: float) -> str:
    """A p-value, such as ``0.250``, ``1.2e-04`` or ``< 1e-99``."""
    if value < _SMALLEST_P:
        return f"< {_SMALLEST_P:.0e}"
    return f"{value:.3f}" if value >= 0.001 else f"{value:.1e}"


def format_points(fraction: float, unit: str = " points") -> str:
    """A difference of two fractions in percentage points, such as ``+0.32 points``."""
    return f"{100 * fraction:+.2f}{unit}"


def format_interval(low: float | None, high: float | None) -> str:
    """Ends of a difference's interval in percentage points, such as ``-0.12 to +0.76``; empty without them."""
    return "" if low is None or high is None else f"{format_points(low, '')} to {format_points(high, '')}"
