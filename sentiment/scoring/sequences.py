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
    for row, review in zip(rows, reviews, strict=True):
        kept = np.asarray(review[-length:], dtype=np.int32)
        if len(kept):
            row[-len(kept) :] = kept
    return limit(rows, vocabulary_size)
