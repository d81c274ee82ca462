"""A few reviews through several recurrences in one go: what a served text waits for is steps, not arithmetic.

Shapes: r readers, n reviews, t steps, u units.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .reader import Floats, Ids, Reader
from .sequences import first_words, pads_in_front, reversed_words

MOST = (
    16  # reviews from which on it is quicker to read each direction on its own, in blocks (measured with 1 and 8)
)


def alike(readers: Sequence[Reader]) -> bool:
    """Whether readers can step together: states of one size, and zeros that mean the same to all."""
    return len({(len(reader.recurrent), reader.mask) for reader in readers}) == 1


def read_together(readers: Sequence[Reader], ids: Ids) -> list[Floats]:
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


def _inputs(readers: Sequence[Reader], ids: Ids, first: NDArray[np.int64], start: int) -> Floats:
    """What each word adds to a step, of all readers, from step ``start`` on."""
    n, steps = ids.shape
    backwards = reversed_words(ids, first) if any(reader.backwards for reader in readers) else ids
    inputs = np.empty((steps - start, len(readers), n, len(readers[0].recurrent)))
    for r, reader in enumerate(readers):
        inputs[:, r] = reader.inputs[(backwards if reader.backwards else ids)[:, start:].T]
    return inputs
