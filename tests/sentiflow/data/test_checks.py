"""Tests of the checks: each rule, broken once."""

from dataclasses import replace

import numpy as np
import pytest

from sentiflow.data.reviews import Reviews
from sentiflow.data.table import check
from sentiflow.errors import ExternalError
from sentiflow.scoring import Vocabulary

VOCABULARY = Vocabulary(["the", "film", "good", "bad"])  # ids 4 to 7


def ids(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int32)


@pytest.fixture
def reviews() -> Reviews:
    return Reviews(
        np.array([f"r{i}" for i in range(6)]),
        np.array(["train", "train", "validation", "validation", "test", "test"]),
        np.array([0, 1, 0, 1, 0, 1], np.int8),
        [ids(1, 4), ids(1, 7, 4), ids(1, 5), ids(1, 6), ids(1, 4, 5, 6, 7), ids(1, 6)],
    )


def with_tokens(reviews: Reviews, row: int, tokens: np.ndarray) -> Reviews:
    return replace(reviews, tokens=[tokens if i == row else old for i, old in enumerate(reviews.tokens)])


def with_label(reviews: Reviews, row: int, label: int) -> Reviews:
    labels = reviews.label.copy()
    labels[row] = label
    return replace(reviews, label=labels)


def refused(reviews: Reviews, name: str = "mine") -> str:
    with pytest.raises(ExternalError) as caught:
        check(name, reviews, VOCABULARY)
    return str(caught.value.args[0])


def test_a_sound_dataset_passes_at_both_ends_of_the_id_range(reviews: Reviews) -> None:
    check("mine", reviews, VOCABULARY)


@pytest.mark.parametrize("tokens", [ids(), ids(1)], ids=["no-ids", "start-alone"])
def test_a_training_review_without_a_word_is_refused(reviews: Reviews, tokens: np.ndarray) -> None:
    message = refused(with_tokens(reviews, 1, tokens))
    assert "every training review holds a word" in message
    assert f"the first is r1 (n_tokens = {len(tokens)})" in message


def test_the_count_is_of_the_named_rule_alone(reviews: Reviews) -> None:
    """A review without ids also lacks the start marker: one review, not two."""
    assert "every training review holds a word: 1 reviews" in refused(with_tokens(reviews, 1, ids()))


def test_a_test_review_of_words_that_no_training_review_holds_passes(reviews: Reviews) -> None:
    """Red if a table of one's own with one rare word in it could not be trained on."""
    check("mine", with_tokens(reviews, 4, ids(1)), VOCABULARY)


@pytest.mark.parametrize("first", [0, 2, 4])
def test_a_review_that_does_not_begin_with_the_start_marker_is_refused(reviews: Reviews, first: int) -> None:
    message = refused(with_tokens(reviews, 1, ids(first, 4)))
    assert f"a review begins with the start marker: 1 reviews, the first is r1 (first_id = {first})" in message


def test_a_test_review_without_any_id_is_refused(reviews: Reviews) -> None:
    message = refused(with_tokens(reviews, 4, ids()))
    assert "a review begins with the start marker: 1 reviews, the first is r4 (first_id = 0)" in message


@pytest.mark.parametrize("low", [-1, 0, 1, 2, 3])
def test_an_id_below_the_first_word_is_refused(reviews: Reviews, low: int) -> None:
    message = refused(with_tokens(reviews, 4, ids(1, 4, low, 5)))
    assert f"ids begin at 4: 1 reviews, the first is r4 (lowest_id = {low})" in message


@pytest.mark.parametrize("tokens", [ids(1, 8, 4), ids(1, 8)], ids=len)
def test_an_id_beyond_the_vocabulary_is_refused(reviews: Reviews, tokens: np.ndarray) -> None:
    message = refused(with_tokens(reviews, 5, tokens))
    assert "ids end at 7: 1 reviews, the first is r5 (highest_id = 8)" in message


def test_a_label_other_than_0_and_1_is_refused(reviews: Reviews) -> None:
    assert "labels are 0 and 1: 1 reviews, the first is r2 (label = 9)" in refused(with_label(reviews, 2, 9))


def test_an_unknown_split_is_refused(reviews: Reviews) -> None:
    split = np.array(["train", "train", "dev", "dev", "test", "test"])
    assert "splits are train, validation, test: 2 reviews, the first is r2" in refused(
        replace(reviews, split=split)
    )


@pytest.mark.parametrize(
    ("row", "label", "message"),
    [
        (0, 1, "train split: expected reviews of both labels; got 2 of label 1 among 2"),
        (1, 0, "train split: expected reviews of both labels; got 0 of label 1 among 2"),
        (4, 1, "test split: expected reviews of both labels; got 2 of label 1 among 2"),
        (5, 0, "test split: expected reviews of both labels; got 0 of label 1 among 2"),
    ],
)
def test_a_split_of_a_single_label_is_refused(reviews: Reviews, row: int, label: int, message: str) -> None:
    assert message in refused(with_label(reviews, row, label))


def test_a_missing_split_is_refused(reviews: Reviews) -> None:
    split = np.array(["train"] * 4 + ["validation"] * 2)
    assert "test split: expected reviews of both labels; got 0 of label 1 among 0" in refused(
        replace(reviews, split=split)
    )


def test_imdb_of_other_counts_is_refused_with_both_counts(reviews: Reviews) -> None:
    expected = "train split: expected 25,000 reviews, 12,500 of them positive; got 2 and 1"
    assert expected in refused(reviews, "imdb")


def test_imdb_has_half_of_its_reviews_positive() -> None:
    labels = np.array([1, 0] * 25_000, np.int8)
    split = np.array(["train"] * 25_000 + ["test"] * 25_000)
    many = Reviews(np.arange(50_000).astype(str), split, labels, [ids(1, 4)] * 50_000)
    check("imdb", many, VOCABULARY)
    assert "got 25,000 and 12,501" in refused(with_label(many, 1, 1), "imdb")
