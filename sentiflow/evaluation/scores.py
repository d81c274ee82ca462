"""Epochs of a training, metrics of the test split, and statistics of differences."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sentiflow.scoring import is_positive


@dataclass(frozen=True)
class Epoch:
    """One pass over the training split, numbered from 1."""

    number: int
    train_loss: float  # binary cross-entropy in nats, the mean over the epoch while the weights moved
    train_accuracy: float
    val_loss: float  # after the epoch, on the validation split
    val_accuracy: float
    learning_rate: float  # at the end of the epoch
    seconds: float  # wall time, validation included
    reviews_per_second: float  # training reviews by those seconds


def best_epoch(history: Sequence[Epoch]) -> Epoch:
    """The epoch of the lowest validation loss; the earliest of equals."""
    return min(history, key=lambda epoch: epoch.val_loss)


BASELINE: Literal["nb-bigrams"] = "nb-bigrams"  # a version of a user's table must not be worse


@dataclass(frozen=True)
class ScoreTable:
    """Scores of one model on the test reviews."""

    review_id: NDArray[np.str_]  # shape (n,), each once
    label: NDArray[np.int8]  # shape (n,), 0 or 1
    score: NDArray[np.float64]  # shape (n,), 0 to 1
    n_tokens: NDArray[np.int32]  # shape (n,), ids of each review before truncation
    sequence_length: int  # maximum ids that the model reads

    def __post_init__(self) -> None:
        columns = self.review_id, self.label, self.score, self.n_tokens
        if not 0 < len(self.review_id) == min(map(len, columns)) == max(map(len, columns)):
            raise ValueError("a score table needs columns of one length, and at least one review")
        if len(np.unique(self.review_id)) != len(self.review_id):
            raise ValueError("a score table must not hold a review twice")
        if not ((self.score >= 0) & (self.score <= 1)).all():  # NaN included
            raise ValueError("scores must lie from 0 to 1")
        if not np.isin(self.label, (0, 1)).all():
            raise ValueError("labels must be 0 or 1")

    @property
    def right(self) -> NDArray[np.bool_]:
        """Which reviews are labelled correctly; shape (n,)."""
        right: NDArray[np.bool_] = is_positive(self.score) == (self.label == 1)
        return right

    def take(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> "ScoreTable":
        """The reviews of a mask or of row numbers, in that order."""
        return ScoreTable(
            self.review_id[rows], self.label[rows], self.score[rows], self.n_tokens[rows], self.sequence_length
        )

    def of_those_in(self, other: "ScoreTable") -> "ScoreTable":
        """The reviews of another table, in its order; this one may have more."""
        return self.take(np.isin(self.review_id, other.review_id)).in_order_of(other)

    def in_order_of(self, other: "ScoreTable") -> "ScoreTable":
        """The same reviews in the order of another table."""
        mine, theirs = np.argsort(self.review_id), np.argsort(other.review_id)
        if not np.array_equal(self.review_id[mine], other.review_id[theirs]):
            raise ValueError("the two score tables hold different reviews")
        mixed = self.take(mine[np.argsort(theirs)])
        if (mixed.label != other.label).any():
            raise ValueError("the two score tables disagree about labels")
        return mixed


def slices(candidate: ScoreTable, champion: ScoreTable) -> dict[str, NDArray[np.bool_]]:
    """Rows of the shortest quarter, of the longest, and of what one of the two models does not read whole."""
    lengths = candidate.n_tokens
    short, long = np.quantile(lengths, [0.25, 0.75])
    read = min(candidate.sequence_length, champion.sequence_length)
    return {"short": lengths <= short, "long": lengths >= long, "truncated": lengths > read}
