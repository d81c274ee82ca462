"""Tests of padding."""

import numpy as np
import pytest

from sentiflow.scoring import pad
from sentiflow.scoring.vocabulary import beginnings, first_words, reversed_words


def test_pad_puts_zeros_in_front_of_a_short_review() -> None:
    assert pad([[1, 5]], 4, 10).tolist() == [[0, 0, 1, 5]]


def test_pad_keeps_the_end_of_a_long_review() -> None:
    assert pad([[1, 4, 5, 6, 7]], 3, 10).tolist() == [[5, 6, 7]]


def test_pad_leaves_a_review_of_the_very_length_as_it_is() -> None:
    assert pad([[1, 4, 5]], 3, 10).tolist() == [[1, 4, 5]]


def test_pad_makes_an_empty_review_all_zeros() -> None:
    assert pad([[]], 3, 10).tolist() == [[0, 0, 0]]


def test_pad_replaces_ids_from_the_vocabulary_size_on() -> None:
    assert pad([[1, 9, 10, 11]], 4, 10).tolist() == [[1, 9, 2, 2]]


def test_pad_stacks_reviews_of_many_lengths() -> None:
    reviews = [np.array([1, 4], np.int32), [1, 4, 5, 6], np.array([1], np.int32)]
    assert pad(reviews, 3, 6).tolist() == [[0, 1, 4], [4, 5, 2], [0, 0, 1]]


@pytest.mark.parametrize("count", [0, 2])
def test_pad_gives_int32_of_the_promised_shape(count: int) -> None:
    padded = pad([[1, 4]] * count, 5, 10)
    assert (padded.shape, padded.dtype) == ((count, 5), np.int32)


def test_pad_to_one_keeps_the_last_id() -> None:
    assert pad([[1, 4, 7]], 1, 10).tolist() == [[7]]


def test_reversed_words_stand_behind_their_padding() -> None:
    ids = np.array([[0, 0, 1, 5, 7], [1, 4, 5, 6, 8], [0, 0, 0, 0, 9], [0, 0, 0, 0, 0]], np.int32)
    expected = [[0, 0, 7, 5, 1], [8, 6, 5, 4, 1], [0, 0, 0, 0, 9], [0, 0, 0, 0, 0]]
    assert reversed_words(ids, first_words(ids)).tolist() == expected


def test_beginnings_are_padded_to_the_whole_length() -> None:
    assert beginnings(np.array([1, 5, 4], np.int32)).tolist() == [[0, 0, 0], [0, 0, 1], [0, 1, 5], [1, 5, 4]]
