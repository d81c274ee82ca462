"""The recurrence in numpy: what it hands on to the last layer.

Shapes: n reviews, t steps, v words, u units.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from .sequences import beginnings, first_words, pads_in_front, reversed_words
from .vocabulary import PAD
from .weights import MEAN, Direction, Weights

Floats = NDArray[np.float64]
Ids = NDArray[np.int32]

_CHUNK = 1_024  # reviews advanced together: their states stay in the processor's cache
# Rows in one product: one so small stays in its thread; BLAS's own threads would spin beside the chunks' threads.
_BLOCK = 128


class Reader:
    """One direction, made ready to read with: what each word adds to a step is computed once, not once a call.

    Attributes:
        backwards: it begins with the last word.
        mask: zeros leave the state alone.
        mean: it hands on the mean of the states, else the last one.
        inputs: what each word adds to a step; shape (v, u).
        recurrent: what the state before is multiplied with; shape (u, u).
    """

    def __init__(self, weights: Weights, direction: Direction) -> None:
        self.backwards = direction.backwards
        self.mask, self.mean = weights.mask_zero, weights.pooling == MEAN
        # One row a word, so that a step looks its input up instead of multiplying by the kernel again.
        self.inputs = weights.embedding.astype(np.float64) @ direction.kernel + direction.bias  # (v, u)
        self.recurrent = direction.recurrent_kernel.astype(np.float64)  # (u, u)

    def read(self, ids: Ids, threads: int) -> Floats:
        """The last state of each review, or the mean of its states; (n, t) -> (n, u)."""
        if self.mask:
            ids = pads_in_front(ids)
        first = first_words(ids)  # (n,)
        lengths = ids.shape[1] - first
        order = np.argsort(lengths, kind="stable")
        pads = self._pads(ids.shape[1])
        handed_on = np.empty((len(ids), len(self.recurrent)))

        def read(start: int) -> None:
            rows = order[start : start + _CHUNK]
            chunk = reversed_words(ids[rows], first[rows]) if self.backwards else ids[rows]
            handed_on[rows] = _read(chunk, lengths[rows], self.inputs, self.recurrent, pads, self.mean)

        _in_threads(read, range(0, len(ids), _CHUNK), threads)
        return handed_on

    def read_steps(self, ids: Ids) -> Floats:
        """What ``read`` says of a review's first 0, 1, 2, ... steps; (t,) -> (t + 1, u)."""
        if self.backwards:  # another word at the end, and all states before it are others
            return self.read(beginnings(ids), threads=1)
        states = self._pads(len(ids))
        for t in range(int(first_words(ids[np.newaxis])[0]), len(ids)):
            if self.mask and ids[t] == PAD:
                states[t + 1] = states[t]
            else:
                states[t + 1] = np.tanh(self.inputs[ids[t]] + states[t] @ self.recurrent)
        return _running_mean(states, ids) if self.mean else states

    def _pads(self, steps: int) -> Floats:
        """The states after 0, 1, 2, ... steps of padding, which all reviews share; shape (steps + 1, u)."""
        pads = np.zeros((steps + 1, len(self.recurrent)))
        if not self.mask:
            for t in range(steps):
                pads[t + 1] = np.tanh(self.inputs[PAD] + pads[t] @ self.recurrent)
        return pads


def _in_threads(work: Callable[[int], None], starts: range, threads: int) -> None:
    """Work on all chunks, in so many threads; no chunk depends on another."""
    if min(len(starts), threads) < 2:
        for start in starts:
            work(start)
        return
    with ThreadPoolExecutor(min(len(starts), threads)) as pool:
        for _ in pool.map(work, starts):  # raises what a chunk raised
            pass


def _running_mean(states: Floats, ids: Ids) -> Floats:
    """Mean of the states after the words of the first 0, 1, 2, ... steps; zeros before the first word."""
    words = ids != PAD  # (t,)
    sums = np.zeros_like(states)
    np.cumsum(states[1:] * words[:, np.newaxis], axis=0, out=sums[1:])
    sums[1:] /= np.maximum(np.cumsum(words), 1)[:, np.newaxis]
    return sums


def _read(
    ids: Ids, lengths: NDArray[np.int64], inputs: Floats, recurrent: Floats, pads: Floats, mean: bool
) -> Floats:
    """Last or mean states of reviews sorted by length, shortest first; each joins in where its padding ends.

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
    total = np.zeros((rows if mean else 0, units))
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
        if mean:
            total[first:] += states[first:]
    if mean:
        return total[filled:] / np.maximum(lengths, 1)[:, np.newaxis]
    states[:first] = pads[steps]  # reviews of padding alone
    return states[filled:]
