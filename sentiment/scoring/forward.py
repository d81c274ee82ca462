"""The network's forward pass in numpy: Embedding, SimpleRNN, Dense with a sigmoid.

Shapes: n reviews, t steps, v words, d embedding, u units.
"""

import zipfile
import zlib
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .vocabulary import PAD

Floats = NDArray[np.float64]

_CHUNK = 2_048  # reviews advanced together: their states stay in the processor's cache


@dataclass(frozen=True)
class Weights:
    """The trained arrays, float32, named as Keras names them."""

    embedding: NDArray[np.float32]  # (v, d)
    kernel: NDArray[np.float32]  # (d, u)
    recurrent_kernel: NDArray[np.float32]  # (u, u)
    bias: NDArray[np.float32]  # (u,)
    dense_kernel: NDArray[np.float32]  # (u, 1)
    dense_bias: NDArray[np.float32]  # (1,)

    def __post_init__(self) -> None:
        v, d = self.embedding.shape if self.embedding.ndim == 2 else (-1, -1)
        u = self.bias.size
        expected = [(v, d), (d, u), (u, u), (u,), (u, 1), (1,)]
        found = [getattr(self, field.name).shape for field in fields(self)]
        if found != expected:
            raise ValueError(f"weights do not fit together: expected shapes {expected}, got {found}")
        if not all(np.isfinite(getattr(self, field.name)).all() for field in fields(self)):
            raise ValueError("weights hold values that are no finite numbers")

    def save(self, path: Path) -> None:
        """Write the arrays as an npz without pickles."""
        np.savez(path, **{field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def load(cls, path: Path) -> "Weights":
        """Read what ``save`` wrote.

        Raises:
            ValueError: the file is damaged, lacks an array, or holds one of the wrong shape.
            OSError: it cannot be read.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                missing = [field.name for field in fields(cls) if field.name not in arrays]
                if missing:
                    raise ValueError(f"{path}: missing arrays {missing}")
                return cls(**{field.name: arrays[field.name] for field in fields(cls)})
        except (zipfile.BadZipFile, EOFError, TypeError, zlib.error) as err:
            raise ValueError(f"{path}: damaged, or not the weights of a network: {err}") from err


def forward(weights: Weights, ids: NDArray[np.int32]) -> Floats:
    """Score reviews: h_t = tanh(x_t W + h_(t-1) U + b) over all steps, then a sigmoid of the last state.

    Computed in float64, so that a review's score does not depend on the batch it stands in, and is closer to
    the exact value than Keras's own float32 (which differs from itself by up to 3e-6 between batch sizes).

    Args:
        weights: the trained arrays.
        ids: shape (n, t), padded in front with 0.

    Returns:
        Probability of positive, shape (n,), each from 0 to 1.

    Raises:
        ValueError: an id has no row in the embedding.
    """
    v = weights.embedding.shape[0]
    if ids.size and (ids.min() < 0 or ids.max() >= v):
        raise ValueError(f"ids must lie from 0 to {v - 1}, got {ids.min()} to {ids.max()}")
    # One row a word, so that a step looks its input up instead of multiplying by the kernel again.
    inputs = weights.embedding.astype(np.float64) @ weights.kernel + weights.bias  # (v, u)
    recurrent = weights.recurrent_kernel.astype(np.float64)  # (u, u)
    lengths = ids.shape[1] - _leading_pads(ids)  # (n,)
    order = np.argsort(lengths, kind="stable")
    pads = _pad_states(inputs[PAD], recurrent, ids.shape[1])  # (t + 1, u)
    states = np.empty((len(ids), len(recurrent)))  # (n, u)
    for start in range(0, len(ids), _CHUNK):
        rows = order[start : start + _CHUNK]
        states[rows] = _read(ids[rows], lengths[rows], inputs, recurrent, pads)
    logits = states @ weights.dense_kernel.astype(np.float64) + weights.dense_bias  # (n, 1)
    return _sigmoid(logits[:, 0])


def _leading_pads(ids: NDArray[np.int32]) -> NDArray[np.int64]:
    """Count the zeros in front of each row."""
    words = ids != PAD
    pads: NDArray[np.int64] = np.where(words.any(axis=1), words.argmax(axis=1), ids.shape[1])
    return pads


def _pad_states(pad_input: Floats, recurrent: Floats, steps: int) -> Floats:
    """States after 0, 1, 2, ... steps of padding: all reviews share this beginning, so it is read once."""
    states = np.zeros((steps + 1, len(recurrent)))
    for t in range(steps):
        states[t + 1] = np.tanh(pad_input + states[t] @ recurrent)
    return states


def _read(
    ids: NDArray[np.int32], lengths: NDArray[np.int64], inputs: Floats, recurrent: Floats, pads: Floats
) -> Floats:
    """Last states of reviews sorted by length, shortest first; each joins in where its padding ends."""
    n, steps = ids.shape
    columns = np.ascontiguousarray(ids.T)  # (t, n)
    states = np.empty((n, len(recurrent)))  # (n, u)
    first = n  # reviews from here on have begun
    for t in range(steps - int(lengths[-1]), steps):
        begun = int(np.searchsorted(lengths, steps - t))
        states[begun:first] = pads[t]
        first = begun
        active = inputs[columns[t, first:]]
        active += states[first:] @ recurrent
        np.tanh(active, out=states[first:])
    states[:first] = pads[steps]  # reviews of padding alone
    return states


def _sigmoid(x: Floats) -> Floats:
    """Logistic function without overflow at either end."""
    return np.exp(-np.logaddexp(0.0, -x))
