"""Epochs of a training, metrics of the test split, statistics of differences, and the gate."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Epoch:
    """One pass over the training split, numbered from 1.

    Attributes:
        train_loss: binary cross-entropy in nats, the mean over the epoch while the weights moved.
        val_loss: after the epoch, on the validation split.
        learning_rate: at the end of the epoch.
        seconds: wall time, validation included.
        reviews_per_second: training reviews by those seconds.
    """

    number: int
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    learning_rate: float
    seconds: float
    reviews_per_second: float


def best_epoch(history: Sequence[Epoch]) -> Epoch:
    """The epoch of the lowest validation loss; the earliest of equals."""
    return min(history, key=lambda epoch: epoch.val_loss)
