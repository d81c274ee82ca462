"""How far two models are apart on the same reviews: an interval that holds for close and for far ones alike."""

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtri

from sentiflow.evaluation import gate
from sentiflow.evaluation.gate import Comparison

_REACH = float(ndtri(0.975))


def compare(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> Comparison:
    """Compare who is right where: McNemar's exact test, and Tango's score interval of the difference.

    The gate's interval takes the number of reviews on which the two differ as given: exact about who is better,
    and too narrow about by how much, the further the two are apart. This one does not: it holds the differences
    that a score test at 5% does not refuse. At the edge the two may disagree about 0, as the exact test, whose
    p-value this is, asks for a little more. Tango (1998), Statistics in Medicine 17, 891.

    Args:
        one: shape (n,), which reviews it labels rightly.
        other: likewise, the same reviews.

    Returns:
        One less the other; accuracies are fractions.

    Example:
        >>> found = compare(np.array([True] * 9 + [False]), np.array([True] * 4 + [False] * 5 + [True]))
        >>> print(f"{found.difference:.2f} ({found.low:.2f} to {found.high:.2f})")
        0.40 (-0.09 to 0.72)
    """
    found = gate.compare(one, other)
    low, high = score_interval(found.gained, found.lost, len(one))
    return replace(found, low=low, high=high)


def score_interval(gained: int, lost: int, n: int) -> tuple[float, float]:
    """Ends of Tango's 95% interval of the difference, from -1 to 1; on the rest of ``n`` reviews they agree."""
    difference = (gained - lost) / n

    def too_far(assumed: float) -> float:
        return abs(_score(assumed, gained, lost, n)) - _REACH

    low = -1.0 if difference == -1 else float(brentq(too_far, -1.0, difference))
    high = 1.0 if difference == 1 else float(brentq(too_far, difference, 1.0))
    return low, high


def _score(assumed: float, gained: int, lost: int, n: int) -> float:
    """How many standard errors the difference lies above an assumed one."""
    above = gained - lost - n * assumed
    # The likeliest share of reviews that only the other has right, were the assumed difference true.
    half = gained + lost - (2 * n - gained + lost) * assumed
    root = math.sqrt(max(0.0, half**2 + 8 * n * lost * assumed * (1 - assumed)))
    share = (root + half) / (4 * n)
    variance = n * (2 * share + assumed * (1 - assumed))
    if variance <= 0:
        return math.copysign(math.inf, above) if above else 0.0
    return above / math.sqrt(variance)
