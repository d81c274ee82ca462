"""What every baseline gives, however it was fitted."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import log_loss

from sentiment.data.reviews import Reviews
from sentiment.history import Epoch
from sentiment.scoring import is_positive

Floats = NDArray[np.float64]

_CLIP = 1e-7  # as `sentiment.metrics` clips


@dataclass(frozen=True)
class Fitted:
    """A baseline that was fitted.

    Attributes:
        score: gives reviews their probability of positive, shape (n,).
        parameters: how many numbers were learnt.
        val_loss: on the validation reviews, in nats.
        val_accuracy: likewise, a fraction.
        found: settings that were not given but found, by the validation reviews or by the size wanted.
        summary: what it is, as text.
        history: an entry an epoch; empty where there are none.
    """

    score: Callable[[Reviews], Floats]
    parameters: int
    val_loss: float
    val_accuracy: float
    found: Mapping[str, object]
    summary: str
    history: tuple[Epoch, ...] = ()


def loss_and_accuracy(labels: NDArray[np.int8], scores: Floats) -> tuple[float, float]:
    """Mean binary cross-entropy in nats, and the fraction of right labels.

    Example:
        >>> loss_and_accuracy(np.array([1, 0], np.int8), np.array([0.5, 0.5]))
        (0.6931471805599453, 0.5)
    """
    loss = log_loss(labels, np.clip(scores, _CLIP, 1 - _CLIP), labels=[0, 1])
    return float(loss), float((is_positive(scores) == labels).mean())
