"""The forward pass in numpy, for many texts at once, for one text, and with the state after each token."""

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .blas import ONE_BLAS_THREAD
from .vocabulary import PAD, beginnings, first_words, pads_in_front, reversed_words
from .weights import MEAN, Direction, Weights

Floats = NDArray[np.float64]
Ids = NDArray[np.int32]


def ignore(_read: int) -> None:
    """Progress that nobody sees."""


def mean_score(log_odds: Floats) -> Floats:
    """The mean of the members' scores, each a sigmoid; (members, n) -> (n,)."""
    scores: Floats = np.exp(-np.logaddexp(0.0, -log_odds))  # without overflow at either end
    mean: Floats = scores[0] if len(scores) == 1 else np.mean(scores, axis=0)
    return mean


class Network:
    """Weights made ready to score with.

    Computed in float64, so that a review's score does not depend on the batch it stands in, and is closer to
    the exact value than Keras's own float32 (which differs from itself by up to 3e-6 between batch sizes).
    """

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self._members = [_Member(member) for member in weights.members]
        self._readers = [reader for member in self._members for reader in member.readers]
        self.readings = len(self._readers)  # of each review
        # They can step together if their states are of one size, and zeros mean the same to all.
        self._together = len({(len(reader.recurrent), reader.mask) for reader in self._readers}) == 1

    def score(self, ids: Ids, threads: int | None = None, advance: Callable[[int], object] = ignore) -> Floats:
        """Score reviews: h_t = tanh(x_t W + h_(t-1) U + b) over all steps, then a sigmoid of the last state.

        With mean pooling it is a sigmoid of the mean of the states after each word (of zeros, where there is no
        word); with two directions, of what both hand on. Several members say the mean of their scores.

        From ids of shape (n, t), padded with 0, to probabilities of positive, shape (n,). By default, a thread a
        core works. Of more than a few reviews, ``advance`` is called with how many more have had one of their
        ``readings``.
        """
        return mean_score(self.log_odds(ids, threads, advance))

    def log_odds(self, ids: Ids, threads: int | None = None, advance: Callable[[int], object] = ignore) -> Floats:
        """What each member makes of reviews before its sigmoid; (n, t) -> (members, n)."""
        self._check(ids)
        with ONE_BLAS_THREAD:
            if self._together and 0 < len(ids) <= MOST:
                return self._log_odds(_read_together(self._readers, ids))
            threads = threads or cores()
            return self._log_odds(reader.read(ids, threads, advance) for reader in self._readers)

    def steps(self, ids: Ids) -> Floats:
        """``log_odds`` of one review before its first step and after each; (t,) -> (members, t + 1).

        A second direction reads each beginning of the review again: the time grows with the square of its length.
        """
        self._check(ids)
        with ONE_BLAS_THREAD:
            return self._log_odds(reader.read_steps(ids) for reader in self._readers)

    def score_steps(self, ids: Ids) -> Floats:
        """Score one review before its first step and after each; (t,), padded in front with 0 -> (t + 1,).

        The last is what ``score`` says.
        """
        return mean_score(self.steps(ids))

    def _log_odds(self, handed_on: Iterable[Floats]) -> Floats:
        """From what each reader hands on, (n, u), to the members' log-odds, (members, n)."""
        each = iter(handed_on)
        return np.stack([member.log_odds([next(each) for _ in member.readers]) for member in self._members])

    def _check(self, ids: Ids) -> None:
        v = len(self.weights.embedding)
        if ids.size and (ids.min() < 0 or ids.max() >= v):
            raise ValueError(f"ids must lie from 0 to {v - 1}, got {ids.min()} to {ids.max()}")


class _Member:
    """One network, whose ids are known to be rows of its embedding."""

    def __init__(self, weights: Weights) -> None:
        self.readers = [_Reader(weights, direction) for direction in weights.directions]
        self._dense = weights.dense_kernel.astype(np.float64)  # (f, 1)
        self._bias = weights.dense_bias

    def log_odds(self, handed_on: list[Floats]) -> Floats:
        """From what each reader hands on, (n, u), to log-odds, (n,)."""
        features = handed_on[0] if len(handed_on) == 1 else np.concatenate(handed_on, axis=1)  # (n, f)
        log_odds: Floats = (features @ self._dense + self._bias)[:, 0]
        return log_odds


_CHUNK = 1_024  # reviews advanced together: their states stay in the processor's cache
_BLOCK = 128  # rows in one product


class _Reader:
    """One direction, made ready to read with: what each word adds to a step is computed once, not once a call."""

    def __init__(self, weights: Weights, direction: Direction) -> None:
        self.backwards = direction.backwards
        self.mask, self.mean = weights.mask_zero, weights.pooling == MEAN
        # One row a word, so that a step looks its input up instead of multiplying by the kernel again.
        self.inputs = weights.embedding.astype(np.float64) @ direction.kernel + direction.bias  # (v, u)
        self.recurrent = direction.recurrent_kernel.astype(np.float64)  # (u, u)

    def read(self, ids: Ids, threads: int, advance: Callable[[int], object]) -> Floats:
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
            advance(len(rows))

        _in_threads(read, range(0, len(ids), _CHUNK), threads)
        return handed_on

    def read_steps(self, ids: Ids) -> Floats:
        """What ``read`` says of a review's first 0, 1, 2, ... steps; (t,) -> (t + 1, u)."""
        if self.backwards:  # another word at the end, and all states before it are others
            return self.read(beginnings(ids), threads=1, advance=ignore)
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


_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of a container: microseconds of processors in so many of time, or "max"


def cores() -> int:
    """Cores that this process may use: outside of Linux all, in a container as many as its quota gives time of."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = map(int, _QUOTA.read_text().split())
    except (OSError, ValueError):
        return allowed
    return max(1, min(allowed, -(-quota // period)))


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


# Of more reviews, it is quicker to read each direction on its own, in blocks (measured with 1 and 8).
MOST = 16


def _read_together(readers: Sequence[_Reader], ids: Ids) -> list[Floats]:
    """What each reader's ``read`` says, by one loop over the steps; (n, t) -> r times (n, u)."""
    n, steps = ids.shape
    masked = readers[0].mask
    ids = pads_in_front(ids) if masked else ids
    # Without a mask padding is read like any word, from the first step on.
    first = first_words(ids) if masked else np.zeros(n, np.int64)  # (n,)
    start, last = int(first.min()), int(first.max())
    inputs = _inputs(readers, ids, first, start)  # (t - start, r, n, u)
    begun = (np.arange(start, last)[:, np.newaxis] >= first)[:, np.newaxis, :, np.newaxis]
    recurrent = np.stack([reader.recurrent for reader in readers])  # (r, u, u)
    states = np.zeros(inputs.shape[1:])
    total, sums = np.zeros_like(states), np.empty_like(states)
    mean = any(reader.mean for reader in readers)
    for t in range(steps - start):
        np.matmul(states, recurrent, out=sums)
        sums += inputs[t]
        np.tanh(sums, out=states)
        if t < len(begun):  # the state before a review's first word is zero
            states *= begun[t]
        if mean:
            total += states
    total /= np.maximum(steps - first, 1)[:, np.newaxis]
    return [total[r] if reader.mean else states[r] for r, reader in enumerate(readers)]


def _inputs(readers: Sequence[_Reader], ids: Ids, first: NDArray[np.int64], start: int) -> Floats:
    """What each word adds to a step, of all readers, from step ``start`` on."""
    n, steps = ids.shape
    backwards = reversed_words(ids, first) if any(reader.backwards for reader in readers) else ids
    inputs = np.empty((steps - start, len(readers), n, len(readers[0].recurrent)))
    for r, reader in enumerate(readers):
        inputs[:, r] = reader.inputs[(backwards if reader.backwards else ids)[:, start:].T]
    return inputs
