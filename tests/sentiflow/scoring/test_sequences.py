"""Tests of padding."""

import numpy as np
import pytest

from sentiflow.scoring import pad
from sentiflow.scoring.vocabulary import beginnings, first_words, reversed_words


@pytest.mark.parametrize(
    ("reviews", "length", "size", "expected"),
    [
        ([[1, 5]], 4, 10, [[0, 0, 1, 5]]),  # zeros stand in front
        ([[1, 4, 5, 6, 7]], 3, 10, [[5, 6, 7]]),  # the end is kept
        ([[1, 4, 5]], 3, 10, [[1, 4, 5]]),
        ([[1, 4, 7]], 1, 10, [[7]]),
        ([[]], 3, 10, [[0, 0, 0]]),
        ([[1, 9, 10, 11]], 4, 10, [[1, 9, 2, 2]]),  # ids from the vocabulary's size on
        (
            [np.array([1, 4], np.int32), [1, 4, 5, 6], np.array([1], np.int32)],
            3,
            6,
            [[0, 1, 4], [4, 5, 2], [0, 0, 1]],
        ),
    ],
)
def test_reviews_are_padded_and_cut_in_front(
    reviews: list[list[int]], length: int, size: int, expected: list[list[int]]
) -> None:
    padded = pad(reviews, length, size)
    assert (padded.tolist(), padded.dtype) == (expected, np.int32)
    assert pad([], length, size).shape == (0, length)


def test_reversed_words_stand_behind_their_padding() -> None:
    ids = np.array([[0, 0, 1, 5, 7], [1, 4, 5, 6, 8], [0, 0, 0, 0, 9], [0, 0, 0, 0, 0]], np.int32)
    expected = [[0, 0, 7, 5, 1], [8, 6, 5, 4, 1], [0, 0, 0, 0, 9], [0, 0, 0, 0, 0]]
    assert reversed_words(ids, first_words(ids)).tolist() == expected


def test_beginnings_are_padded_to_the_whole_length() -> None:
    assert beginnings(np.array([1, 5, 4], np.int32)).tolist() == [[0, 0, 0], [0, 0, 1], [0, 1, 5], [1, 5, 4]]
