"""Last states of a batch of reviews, and gradients through all their steps.

Shapes: n reviews, t steps, v words, u units; all floats are float32.
"""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sentiflow.scoring.vocabulary import first_words, pads_in_front, reversed_words
from sentiflow.training.network import kernels

Floats = NDArray[np.float32]
Ids = NDArray[np.int32]
Result = TypeVar("Result")

# Shared: TensorFlow keeps what it once called, so that threads of each training's own would never end.
_helpers = ThreadPoolExecutor(thread_name_prefix="recurrence")


@dataclass(frozen=True)
class _Slice:
    """Every second review, the longest first, with what its gradients need."""

    order: NDArray[np.int64]  # (n / 2,) rows of the batch
    first: NDArray[np.int64]  # (n / 2,) step at which the padding ends
    steps: int
    states: Floats  # (rows, u), as the kernels lay them

    @property
    def words(self) -> Floats:
        """How many words each review has, at least 1; shape (n / 2, 1)."""
        return np.maximum(self.steps - self.first, 1).astype(np.float32)[:, np.newaxis]

    @property
    def last(self) -> Floats:
        """The last state of each review, (n / 2, u)."""
        return self.states[len(self.states) - len(self.order) :]

    def mean(self) -> Floats:
        """The mean of each review's states after a word, (n / 2, u)."""
        sums = np.empty_like(self.last)
        kernels.add_up(self.first, self.steps, self.states, sums)
        return sums / self.words


class Recurrence:
    """h_(s+1) = tanh(inputs[id_s] + bias + h_s U) over the steps of each review, from zeros.

    Padding in front is not walked review by review: with ``masked`` it leaves the state alone, without it all
    reviews share its states, which are computed once. ``gradients`` belongs to the latest ``read``.

    Args:
        masked: padding leaves the state alone.
        mean: hand on the mean of the states after each word, not the last state; zeros for a review without words.
        backwards: read the last word first.

    Raises:
        ValueError: ``mean`` or ``backwards`` without ``masked``: both are of words alone.
    """

    def __init__(self, *, masked: bool, mean: bool = False, backwards: bool = False) -> None:
        if (mean or backwards) and not masked:
            raise ValueError("a mean, or a reading backwards, is of words alone: it needs masked=True")
        self._masked, self._mean, self._backwards = masked, mean, backwards
        self._memory = [np.empty(0, np.float32)] * 2

    def read(self, inputs: Floats, bias: Floats, recurrent: Floats, ids: Ids) -> Floats:
        """Read the reviews.

        Args:
            inputs: what each word adds before tanh, shape (v, u).
            bias: what every step adds, shape (u,).
            recurrent: the recurrent kernel U, shape (u, u).
            ids: rows of ``inputs``, shape (n, t); 0 is padding.

        Returns:
            The states after the last step, or the mean of the states, shape (n, u).

        Raises:
            ValueError: an id has no row in ``inputs``.
        """
        words, units = inputs.shape
        if ids.size and (ids.min() < 0 or ids.max() >= words):
            raise ValueError(f"ids must lie from 0 to {words - 1}, got {ids.min()} to {ids.max()}")
        if self._masked:
            ids = pads_in_front(ids)
        first = first_words(ids)
        if self._backwards:
            ids = reversed_words(ids, first)
        self._words, self._ids, self._recurrent = words, np.ascontiguousarray(ids), recurrent
        self._pads = np.zeros((ids.shape[1] + 1, units), np.float32)
        if not self._masked:
            kernels.read_pads(inputs[0] + bias, recurrent, self._pads)
        self._slices = self._sliced(first, units)
        handed_on = np.empty((len(ids), units), np.float32)

        def read(part: _Slice) -> None:
            kernels.read(self._ids, part.order, part.first, inputs, bias, recurrent, self._pads, part.states)
            handed_on[part.order] = part.mean() if self._mean else part.last

        self._on_both_cores(read)
        return handed_on

    def gradients(self, d_handed_on: Floats) -> tuple[Floats, Floats, Floats]:
        """Derive a loss by what the latest ``read`` was given.

        Args:
            d_handed_on: the loss by what ``read`` returned, shape (n, u).

        Returns:
            The loss by ``inputs`` (v, u), by ``bias`` (u,) and by ``recurrent`` (u, u).
        """
        transposed = np.ascontiguousarray(self._recurrent.T)
        units = len(transposed)
        shapes = (self._words, units), (units,), (units, units), self._pads.shape

        def derive(part: _Slice) -> tuple[Floats, ...]:
            sums = tuple(np.zeros(shape, np.float32) for shape in shapes)
            d_states, d_each = d_handed_on[part.order], np.empty((0, units), np.float32)
            if self._mean:
                d_states, d_each = np.zeros_like(d_states), d_states / part.words
            kernels.gradients(self._ids, part.order, part.first, transposed, part.states, d_states, d_each, *sums)
            return sums

        found, other = self._on_both_cores(derive)
        for own, more in zip(found, other, strict=True):
            own += more
        d_inputs, d_bias, d_recurrent, d_pads = found
        if not self._masked:
            d_pad_input = np.zeros_like(d_bias)
            kernels.pad_gradients(self._pads, transposed, d_pads, d_pad_input, d_recurrent)
            d_inputs[0] += d_pad_input
            d_bias += d_pad_input
        return d_inputs, d_bias, d_recurrent

    def _sliced(self, first: NDArray[np.int64], units: int) -> tuple[_Slice, _Slice]:
        """Deal the reviews out in two, by length, so that both slices take as long.

        Always two, however many cores there are: sums in another grouping would give other weights.
        """
        order = np.argsort(first, kind="stable")
        steps = self._ids.shape[1]
        one, other = (
            _Slice(rows, first[rows], steps, self._memory_for(k, int((steps + 1 - first[rows]).sum()), units))
            for k, rows in enumerate((order[::2].copy(), order[1::2].copy()))  # of one type, however few
        )
        return one, other

    def _on_both_cores(self, work: Callable[[_Slice], Result]) -> tuple[Result, Result]:
        """Work on both slices at once; the results stand in their order, whichever is ready first."""
        second = _helpers.submit(work, self._slices[1])
        return work(self._slices[0]), second.result()

    def _memory_for(self, k: int, *shape: int) -> Floats:
        """The states' memory, kept from batch to batch: allocating it costs as much as filling it."""
        size = math.prod(shape)
        if self._memory[k].size < size:
            self._memory[k] = np.empty(size, np.float32)
        return self._memory[k][:size].reshape(shape)


def compile_kernels() -> None:
    """Compile what trains, for arrays as TensorFlow hands them over, and keep it on disk."""
    for masked in (False, True):
        network = Recurrence(masked=masked, mean=masked)
        inputs, recurrent = np.zeros((2, 1, 1), np.float32)
        network.gradients(network.read(inputs, inputs[0], recurrent, np.zeros((1, 1), np.int32)))
