"""Reviews that a model gets wrong, the most confident errors first."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sentiment.scoring import Reading, is_positive

WORST = 20


@dataclass(frozen=True)
class Miss:
    """A review that the model gets wrong.

    Attributes:
        review_id: of the dataset.
        label: the true one, 0 or 1.
        score: what the model says.
        text: the whole review, decoded.
        reading: how the score came about, word by word; None where no model is at hand that tells.
    """

    review_id: str
    label: int
    score: float
    text: str
    reading: Reading | None

    @property
    def heading(self) -> str:
        """One line that says what went wrong."""
        return f"{self.review_id}: {word_of(self.label)}, scored {self.score:.4f}"


def worst_rows(labels: NDArray[np.int8], scores: NDArray[np.float64], most: int = WORST) -> NDArray[np.int64]:
    """Rows of the most confident errors, worst first; fewer than ``most`` when there are fewer."""
    wrong = np.flatnonzero(is_positive(scores) != labels)
    return wrong[np.argsort(-np.abs(scores[wrong] - labels[wrong]), kind="stable")][:most]


def worst_errors_text(misses: Sequence[Miss]) -> str:
    """The worst errors as plain text."""
    if not misses:
        return "No test review is labelled wrongly.\n"
    return "\n\n".join(f"{miss.heading}\n{miss.text}" for miss in misses) + "\n"


def word_of(label: int) -> str:
    """The word for a true label."""
    return "positive" if label else "negative"
