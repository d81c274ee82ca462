"""Baselines: simpler and other models to compare the recipe's network with, and the table of them."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

from sentiflow.baselines.simple import FitInput, Fitted, fit_majority, fit_nb_bigrams, fit_tfidf
from sentiflow.errors import UsageError
from sentiflow.evaluation.metrics import Measured
from sentiflow.evaluation.statistics import Comparison, format_interval, format_p, format_points
from sentiflow.reports import Table
from sentiflow.reports.summary import PARAMETERS, SPEED
from sentiflow.runs import RunRecord


def fit(name: str, given: FitInput) -> Fitted:
    """Fit one of the baselines ``NAMES``."""
    if not len(given.validation) or len(set(given.training.label.tolist())) != 2:
        raise UsageError(
            "The baselines need validation reviews, and training reviews of both labels.",
            "Use a larger table, or another validation_fraction.",
        )
    if name == "majority":
        return fit_majority(given)
    if name == "tfidf":
        return fit_tfidf(given)
    if name == "nb-bigrams":
        return fit_nb_bigrams(given)
    from sentiflow.baselines import networks  # it imports TensorFlow

    return networks.fit(name, given)


HEADINGS = (
    "model",
    "test accuracy (95% interval)",
    "to the network (95% interval)",
    "McNemar's p",
    "validation loss",
    "parameters",
    "training",
    "reviews a second",
)

_READS_NOTHING = 1e7  # reviews a second from which on a model cannot have looked at them


@dataclass(frozen=True)
class Row:
    """One model, a baseline or a recipe's network, on the test reviews.

    Attributes:
        comparison: its right labels less the network's; None for the network itself.
        seconds: of the training, choices included.
    """

    name: str
    measured: Measured
    comparison: Comparison | None
    val_loss: float
    parameters: int
    seconds: float
    reviews_per_second: float

    @classmethod
    def of(cls, name: str, record: RunRecord, comparison: Comparison | None) -> Self:
        """What a run has logged of its model."""
        metrics = record.metrics
        return cls(
            name,
            Measured(**{field.name: metrics[f"test/{field.name}"] for field in fields(Measured)}),
            comparison,
            metrics["val/loss"],
            int(record.params[PARAMETERS]),
            record.seconds("train") or 0.0,
            metrics[SPEED],
        )

    def as_metrics(self, name: str) -> dict[str, float]:
        """What a parent of baselines logs of it."""
        found = {f"test/accuracy_{name}": self.measured.accuracy, f"val/loss_{name}": self.val_loss}
        if self.comparison is not None:
            found[f"test/difference_{name}"] = self.comparison.difference
            found[f"test/p_value_{name}"] = self.comparison.p_value
        return found

    @property
    def cells(self) -> tuple[str, ...]:
        """What stands below each of ``HEADINGS``."""
        measured = self.measured
        return (
            self.name,
            f"{measured.accuracy:.2%} ({measured.accuracy_ci_low:.2%} to {measured.accuracy_ci_high:.2%})",
            *_against(self.comparison),
            f"{self.val_loss:.4f}",
            f"{self.parameters:,}",
            f"{self.seconds:.1f} s",
            f"{self.reviews_per_second:,.0f}" if self.reviews_per_second < _READS_NOTHING else "",
        )


def _against(comparison: Comparison | None) -> tuple[str, str]:
    if comparison is None:
        return "", ""
    interval = format_interval(comparison.low, comparison.high)
    return f"{format_points(comparison.difference)} ({interval})", format_p(comparison.p_value)


def markdown(rows: Sequence[Row]) -> str:
    """A table in Markdown, a line a model; it begins with ``TOP``."""
    return Table(HEADINGS, [row.cells for row in rows], words=3).markdown()


TOP = markdown(()).splitlines()[0]
