"""Reviews of many lengths as one matrix."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .vocabulary import PAD, limit


def pad(
    reviews: Sequence[Sequence[int] | NDArray[np.int32]], length: int, vocabulary_size: int
) -> NDArray[np.int32]:
    """Stack reviews in rows of ``length`` ids: padded in front with 0, cut in front (the end is kept).

    Args:
        reviews: ids of each review, rarer words not yet replaced.
        length: ids in a row.
        vocabulary_size: ids from this one on become 2, out of vocabulary.

    Returns:
        Shape (reviews, length), int32.

    Example:
        >>> pad([[1, 5], [1, 4, 5, 6]], 3, 6).tolist()
        [[0, 1, 5], [4, 5, 2]]
    """
    rows = np.full((len(reviews), length), PAD, dtype=np.int32)
    kept = [np.asarray(review[-length:], dtype=np.int32) for review in reviews]
    if kept:
        pads = length - np.array([len(ids) for ids in kept])
        rows[np.arange(length) >= pads[:, np.newaxis]] = limit(np.concatenate(kept), vocabulary_size)
    return rows


def first_words(ids: NDArray[np.int32]) -> NDArray[np.int64]:
    """The step at which the padding in front of each row ends; the row's length where nothing else follows.

    Example:
        >>> first_words(np.array([[0, 0, 1], [1, 0, 5], [0, 0, 0]])).tolist()
        [2, 0, 3]
    """
    words = ids != PAD
    first: NDArray[np.int64] = np.where(words.any(axis=1), words.argmax(axis=1), ids.shape[1])
    return first


def pads_in_front(ids: NDArray[np.int32]) -> NDArray[np.int32]:
    """Move zeros between or behind words to the front: the same to a network that skips zeros wherever they are.

    Example:
        >>> pads_in_front(np.array([[0, 1, 0, 5, 0]])).tolist()
        [[0, 0, 0, 1, 5]]
    """
    words = ids != PAD
    if words.sum() == ids.size - first_words(ids).sum():
        return ids
    return np.take_along_axis(ids, np.argsort(words, axis=1, kind="stable"), axis=1)


def reversed_words(ids: NDArray[np.int32], first: NDArray[np.int64]) -> NDArray[np.int32]:
    """Each row's words in reverse order, its padding still in front; ``first`` is the step at which that ends.

    Example:
        >>> reversed_words(np.array([[0, 1, 5, 7], [1, 4, 5, 6]]), np.array([1, 0])).tolist()
        [[0, 7, 5, 1], [6, 5, 4, 1]]
    """
    steps = ids.shape[1]
    # Modulo the length, what stands before a row's first word comes from its padding, too.
    columns = (first[:, np.newaxis] + (steps - 1) - np.arange(steps)) % steps
    return np.take_along_axis(ids, columns, axis=1)


def beginnings(ids: NDArray[np.int32]) -> NDArray[np.int32]:
    """The first 0, 1, 2, ... ids of one review, each padded in front to its whole length.

    Example:
        >>> beginnings(np.array([4, 5])).tolist()
        [[0, 0], [0, 4], [4, 5]]
    """
    padded = np.concatenate([np.full_like(ids, PAD), ids])
    return np.lib.stride_tricks.sliding_window_view(padded, len(ids))
