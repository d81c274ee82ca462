"""The network's forward pass in numpy: Embedding, SimpleRNN, Dense with a sigmoid.

Shapes: n reviews, t steps, v words, d embedding, u units.
"""

import os
import zipfile
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .sequences import first_words, pads_in_front
from .vocabulary import PAD

Floats = NDArray[np.float64]

_CHUNK = 1_024  # reviews advanced together: their states stay in the processor's cache
# Rows in one product: one so small stays in its thread; BLAS's own threads would spin beside the chunks' threads.
_BLOCK = 128


@dataclass(frozen=True)
class Weights:
    """The trained arrays, float32, named as Keras names them.

    Attributes:
        mask_zero: zeros leave the state alone; without it they are read like any other word.
    """

    embedding: NDArray[np.float32]  # (v, d)
    kernel: NDArray[np.float32]  # (d, u)
    recurrent_kernel: NDArray[np.float32]  # (u, u)
    bias: NDArray[np.float32]  # (u,)
    dense_kernel: NDArray[np.float32]  # (u, 1)
    dense_bias: NDArray[np.float32]  # (1,)
    mask_zero: bool = False

    def __post_init__(self) -> None:
        v, d = self.embedding.shape if self.embedding.ndim == 2 else (-1, -1)
        u = self.bias.size
        expected = [(v, d), (d, u), (u, u), (u,), (u, 1), (1,)]
        arrays = self._arrays()
        found = [array.shape for array in arrays]
        if found != expected:
            raise ValueError(f"weights do not fit together: expected shapes {expected}, got {found}")
        if not all(np.isfinite(array).all() for array in arrays):
            raise ValueError("weights hold values that are no finite numbers")

    def _arrays(self) -> list[NDArray[np.float32]]:
        return [getattr(self, field.name) for field in fields(self) if field.name != "mask_zero"]

    def save(self, path: Path) -> None:
        """Write the arrays as an npz without pickles."""
        np.savez(path, **asdict(self))

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
                found = {field.name: arrays[field.name] for field in fields(cls)}
                return cls(**found | {"mask_zero": bool(found["mask_zero"])})
        except (zipfile.BadZipFile, EOFError, TypeError, zlib.error) as err:
            raise ValueError(f"{path}: damaged, or not the weights of a network: {err}") from err


class Network:
    """Weights made ready to read with: what each word adds to a step is computed once, not once a call.

    Computed in float64, so that a review's score does not depend on the batch it stands in, and is closer to
    the exact value than Keras's own float32 (which differs from itself by up to 3e-6 between batch sizes).
    """

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        # One row a word, so that a step looks its input up instead of multiplying by the kernel again.
        self._inputs = weights.embedding.astype(np.float64) @ weights.kernel + weights.bias  # (v, u)
        self._recurrent = weights.recurrent_kernel.astype(np.float64)  # (u, u)
        self._dense = weights.dense_kernel.astype(np.float64)  # (u, 1)

    def score(self, ids: NDArray[np.int32], threads: int | None = None) -> Floats:
        """Score reviews: h_t = tanh(x_t W + h_(t-1) U + b) over all steps, then a sigmoid of the last state.

        Args:
            ids: shape (n, t), padded with 0.
            threads: how many may work at once; by default one a core.

        Returns:
            Probability of positive, shape (n,), each from 0 to 1.

        Raises:
            ValueError: an id has no row in the embedding.
        """
        self._check(ids)
        if self.weights.mask_zero:
            ids = pads_in_front(ids)
        lengths = ids.shape[1] - first_words(ids)  # (n,)
        order = np.argsort(lengths, kind="stable")
        pads = self._pads(ids.shape[1])
        states = np.empty((len(ids), len(self._recurrent)))  # (n, u)

        def read(start: int) -> None:
            rows = order[start : start + _CHUNK]
            states[rows] = _read(ids[rows], lengths[rows], self._inputs, self._recurrent, pads)

        _in_threads(read, range(0, len(ids), _CHUNK), threads or os.cpu_count() or 1)
        return self._scores(states)

    def score_steps(self, ids: NDArray[np.int32]) -> Floats:
        """Score one review after each of its steps.

        Args:
            ids: shape (t,), padded in front with 0.

        Returns:
            Shape (t + 1,): before the first step, and after each; the last is what ``score`` says.

        Raises:
            ValueError: an id has no row in the embedding.
        """
        self._check(ids)
        states = self._pads(len(ids))  # (t + 1, u)
        for t in range(int(first_words(ids[np.newaxis])[0]), len(ids)):
            if self.weights.mask_zero and ids[t] == PAD:
                states[t + 1] = states[t]
            else:
                states[t + 1] = np.tanh(self._inputs[ids[t]] + states[t] @ self._recurrent)
        return self._scores(states)

    def _check(self, ids: NDArray[np.int32]) -> None:
        v = len(self._inputs)
        if ids.size and (ids.min() < 0 or ids.max() >= v):
            raise ValueError(f"ids must lie from 0 to {v - 1}, got {ids.min()} to {ids.max()}")

    def _pads(self, steps: int) -> Floats:
        """The states after 0, 1, 2, ... steps of padding, which all reviews share; shape (steps + 1, u)."""
        pads = np.zeros((steps + 1, len(self._recurrent)))
        if not self.weights.mask_zero:
            for t in range(steps):
                pads[t + 1] = np.tanh(self._inputs[PAD] + pads[t] @ self._recurrent)
        return pads

    def _scores(self, states: Floats) -> Floats:
        return _sigmoid((states @ self._dense + self.weights.dense_bias)[:, 0])


def forward(weights: Weights, ids: NDArray[np.int32]) -> Floats:
    """Score reviews once; see ``Network.score``."""
    return Network(weights).score(ids)


def _in_threads(work: Callable[[int], None], starts: range, threads: int) -> None:
    """Work on all chunks, in so many threads; no chunk depends on another."""
    if min(len(starts), threads) < 2:
        for start in starts:
            work(start)
        return
    with ThreadPoolExecutor(min(len(starts), threads)) as pool:
        for _ in pool.map(work, starts):  # raises what a chunk raised
            pass


def _read(
    ids: NDArray[np.int32], lengths: NDArray[np.int64], inputs: Floats, recurrent: Floats, pads: Floats
) -> Floats:
    """Last states of reviews sorted by length, shortest first; each joins in where its padding ends.

    The products are of whole blocks of rows. What they make of reviews that have not begun is overwritten when
    those begin, and rows of padding in front fill up the first block.
    """
    n, steps = ids.shape
    block = -(-n // -(-n // _BLOCK))  # blocks of one size, as few as can be
    filled = -n % block
    rows, units = n + filled, len(recurrent)
    columns = np.zeros((steps, rows), ids.dtype)  # (t, rows)
    columns[:, filled:] = ids.T
    # The first row that has begun, by step; Python's own integers, as the threads share one interpreter.
    begins = (filled + np.searchsorted(lengths, steps - np.arange(steps))).tolist()
    states = np.zeros((rows, units))
    sums, looked_up = np.empty((rows, units)), np.empty((rows, units))
    first = rows
    for t in range(steps - int(lengths[-1]), steps):
        if begins[t] < first:
            states[begins[t] : first] = pads[t]
            first = begins[t]
        start = first // block * block
        active = sums[start:]
        np.matmul(states[start:].reshape(-1, block, units), recurrent, out=active.reshape(-1, block, units))
        active += np.take(inputs, columns[t, start:], axis=0, out=looked_up[start:], mode="clip")
        np.tanh(active, out=states[start:])
    states[:first] = pads[steps]  # reviews of padding alone
    return states[filled:]


def _sigmoid(x: Floats) -> Floats:
    """Logistic function without overflow at either end."""
    return np.exp(-np.logaddexp(0.0, -x))
