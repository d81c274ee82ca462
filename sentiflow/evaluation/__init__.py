"""Epochs of a training, metrics of the test split, statistics of differences, and the gate."""

from collections.abc import Sequence
from dataclasses import dataclass


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
