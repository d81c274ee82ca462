"""The yardstick of a table of one's own: a simple model on the same reviews, and what the network gains on it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from sentiflow.evaluation.metrics import measure
from sentiflow.evaluation.score_table import YARDSTICK, ScoreTable
from sentiflow.evaluation.statistics import compare, format_interval, format_points
from sentiflow.scoring import is_positive

PREFIX = "baseline/"
"""Begins metrics of the yardstick, and of the network against it."""


@dataclass(frozen=True)
class Yardstick:
    """The yardstick's accuracy on the test reviews, and the network's less that.

    Attributes:
        difference: a fraction; ``low`` and ``high`` are the ends of its 95% interval.
    """

    accuracy: float
    difference: float
    low: float
    high: float

    @classmethod
    def logged(cls, metrics: Mapping[str, float]) -> Self | None:
        """What ``yardstick_metrics`` wrote; None if a run has no yardstick."""
        names = ("accuracy", "difference", "difference_ci_low", "difference_ci_high")
        found = [metrics[PREFIX + name] for name in names if PREFIX + name in metrics]
        return cls(*found) if len(found) == len(names) else None

    @property
    def text(self) -> str:
        """What both reach, as a sentence without its full stop.

        Example:
            >>> Yardstick(0.83, 0.012, -0.004, 0.028).text
            'nb-bigrams reaches 83.00%: no difference beyond chance (+1.20 points, 95% interval -0.40 to +2.80)'
        """
        interval = f"95% interval {format_interval(self.low, self.high)}"
        points = f"{100 * abs(self.difference):.2f} points ({interval})"
        if self.low > 0:
            outcome = f"the network gains {points}"
        elif self.high < 0:
            outcome = f"the network loses {points}"
        else:
            outcome = f"no difference beyond chance ({format_points(self.difference)}, {interval})"
        return f"{YARDSTICK} reaches {self.accuracy:.2%}: {outcome}"


def yardstick_metrics(network: ScoreTable, scores: NDArray[np.float64]) -> dict[str, float]:
    """Metrics of the yardstick's scores of the same reviews, (n,), and of the network less the yardstick."""
    measured = asdict(measure(network.label, scores))
    del measured["majority_share"]  # the network's
    found = compare(network.right, is_positive(scores) == (network.label == 1))
    measured |= {
        "difference": found.difference,
        "difference_ci_low": found.low,
        "difference_ci_high": found.high,
    }
    return {PREFIX + name: value for name, value in measured.items()}
