"""The network's forward pass in numpy: Embedding, SimpleRNN, perhaps a mean, Dense with a sigmoid.

Shapes: n reviews, t steps, f features: what the recurrence hands on, its units or twice as many.
"""

import os

import numpy as np
from numpy.typing import NDArray

from .reader import Reader
from .together import MOST, alike, read_together
from .weights import Weights

Floats = NDArray[np.float64]
Ids = NDArray[np.int32]


class Network:
    """Weights made ready to score with.

    Computed in float64, so that a review's score does not depend on the batch it stands in, and is closer to
    the exact value than Keras's own float32 (which differs from itself by up to 3e-6 between batch sizes).
    """

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self._members = [_Member(member) for member in weights.members]
        self._readers = [reader for member in self._members for reader in member.readers]
        self._together = alike(self._readers)

    def score(self, ids: Ids, threads: int | None = None) -> Floats:
        """Score reviews: h_t = tanh(x_t W + h_(t-1) U + b) over all steps, then a sigmoid of the last state.

        With mean pooling it is a sigmoid of the mean of the states after each word (of zeros, where there is no
        word); with two directions, of what both hand on. Several members say the mean of their scores.

        Args:
            ids: shape (n, t), padded with 0.
            threads: how many may work at once; by default one a core.

        Returns:
            Probability of positive, shape (n,), each from 0 to 1.

        Raises:
            ValueError: an id has no row in the embedding.
        """
        self._check(ids)
        if self._together and 0 < len(ids) <= MOST:
            handed_on = iter(read_together(self._readers, ids))
            return _mean([member.scores([next(handed_on) for _ in member.readers]) for member in self._members])
        threads = threads or os.cpu_count() or 1
        return _mean(
            [member.scores([reader.read(ids, threads) for reader in member.readers]) for member in self._members]
        )

    def score_steps(self, ids: Ids) -> Floats:
        """Score one review after each of its steps.

        A second direction reads each beginning of the review anew: the time grows with the square of its length.

        Args:
            ids: shape (t,), padded in front with 0.

        Returns:
            Shape (t + 1,): before the first step, and after each; the last is what ``score`` says.

        Raises:
            ValueError: an id has no row in the embedding.
        """
        self._check(ids)
        return _mean(
            [member.scores([reader.read_steps(ids) for reader in member.readers]) for member in self._members]
        )

    def _check(self, ids: Ids) -> None:
        v = len(self.weights.embedding)
        if ids.size and (ids.min() < 0 or ids.max() >= v):
            raise ValueError(f"ids must lie from 0 to {v - 1}, got {ids.min()} to {ids.max()}")


class _Member:
    """One network, whose ids are known to be rows of its embedding."""

    def __init__(self, weights: Weights) -> None:
        self.readers = [Reader(weights, direction) for direction in weights.directions]
        self._dense = weights.dense_kernel.astype(np.float64)  # (f, 1)
        self._bias = weights.dense_bias

    def scores(self, handed_on: list[Floats]) -> Floats:
        """From what each reader hands on, (n, u), to probabilities, (n,)."""
        features = handed_on[0] if len(handed_on) == 1 else np.concatenate(handed_on, axis=1)  # (n, f)
        return _sigmoid((features @ self._dense + self._bias)[:, 0])


def forward(weights: Weights, ids: NDArray[np.int32]) -> Floats:
    """Score reviews once; see ``Network.score``."""
    return Network(weights).score(ids)


def _mean(scores: list[Floats]) -> Floats:
    return scores[0] if len(scores) == 1 else np.mean(scores, axis=0)


def _sigmoid(x: Floats) -> Floats:
    """Logistic function without overflow at either end."""
    return np.exp(-np.logaddexp(0.0, -x))
