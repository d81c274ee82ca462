"""Tests of what a dataset is like, by the figures of one made by hand."""

import numpy as np
import pytest

from sentiflow.data.division import weak_test
from sentiflow.data.prepare import DatasetFacts, describe
from sentiflow.data.reviews import Reviews, in_both_splits
from sentiflow.scoring import Vocabulary

VOCABULARY = Vocabulary(["the", "film", "good", "bad", "rare"])  # ids 4 to 8; the recipe keeps 4 to 6
SIZES = 7, 4  # of the vocabulary, of a sequence
TOKENS = [[1, 4, 8, 6], [1, 4, 5, 6, 7], [1, 5], [1, 4, 8, 6], [1, 4, 8, 7], [1, 5], [1, 4, 8, 7, 6, 6]]
REVIEWS = Reviews(
    np.array([f"r{i}" for i in range(7)]),
    np.array(["train"] * 4 + ["test"] * 3),
    np.array([1, 0, 0, 0, 1, 0, 1], np.int8),
    [np.array(each, np.int32) for each in TOKENS],
)


@pytest.fixture(scope="module")
def facts() -> DatasetFacts:
    return describe(REVIEWS, VOCABULARY, *SIZES)


def test_the_figures_of_each_split_that_has_reviews(facts: DatasetFacts) -> None:
    train, test = facts.splits
    assert [(split.name, split.reviews, split.shape) for split in facts.splits] == [
        ("train", 4, (4, 4)), ("test", 3, (3, 4)),
    ]  # fmt: skip
    assert (train.positive, test.positive) == pytest.approx((1 / 4, 2 / 3))
    assert (train.mean_length, test.mean_length) == pytest.approx((15 / 4, 4.0))  # with the start marker
    assert (train.truncated, test.truncated) == pytest.approx((1 / 4, 1 / 3))
    assert (train.unknown, test.unknown) == pytest.approx((3 / 11, 4 / 9))  # of words, without start markers
    # the test's lengths are 2, 4 and 6; positions 0, 0.1, 0.5, 1, 1.5, 1.9, 1.98 and 2, where 0.5 and 1.5 tie
    assert [test.quantiles[k] for k in (0, 1, 3, 5, 6, 7)] == [2, 2, 4, 6, 6, 6]
    assert facts.words == 5


def test_words_of_the_training_reviews_are_counted_apart() -> None:
    """Red if a table of a few words is said to have the thousands of the base."""
    facts = describe(REVIEWS.take(np.array([2, 1, 4])), VOCABULARY, *SIZES)
    assert (facts.training_words, facts.kept_words) == (4, 3)


def test_the_first_review_is_shown_as_the_recipe_sees_it(facts: DatasetFacts) -> None:
    assert (facts.first_ids, facts.first_text, facts.first_label) == ((1, 4, 2, 6), "? the ? good", 1)


def test_in_both_splits_compares_whole_ids_before_rare_words_are_replaced() -> None:
    # [1, 5] stands in both; [1, 4, 8, 6] and [1, 4, 8, 7] differ in their last word alone
    assert in_both_splits(REVIEWS) == 1


@pytest.mark.parametrize(("unread", "warns"), [(1, False), (2, True)])
def test_many_test_reviews_without_a_known_word_are_told(unread: int, warns: bool) -> None:
    tokens = [[1, 4], *[[1]] * unread, *[[1, 5]] * (5 - unread)]  # a training review and five of the test split
    split, label = np.array(["train"] + ["test"] * 5), np.ones(6, np.int8)
    reviews = Reviews(split, split, label, [np.array(each, np.int32) for each in tokens])
    expected = "40% of the test reviews share no word with any training review. Is the column of texts right?"
    assert (expected in weak_test(reviews)) == warns


def balanced(train: tuple[int, int], test: tuple[int, int]) -> Reviews:
    """Reviews of so many of each label."""
    label = np.repeat([0, 1, 0, 1], [*train, *test]).astype(np.int8)
    split = np.repeat(["train", "test"], [sum(train), sum(test)])
    return Reviews(split, split, label, [np.array([1, 4 + k], np.int32) for k in range(len(label))])


@pytest.mark.parametrize(
    ("train", "test", "expected"),
    [
        ((400, 400), (100, 100), []),
        # p = 0.5, standard error 0.0395: 0.117 are 2.96 of them, and 0.122 are 3.1
        ((400, 400), (77, 123), []),
        (
            (400, 400),
            (75, 125),
            ["62.5% of the test reviews are positive, and 50.0% of the others: more than chance makes."],
        ),
        ((400, 40), (100, 10), []),
        ((400, 40), (100, 9), ["Of 109 test reviews only 9 are positive: the test says little about these."]),
        ((400, 4), (100, 1), ["Of 101 test reviews only 1 are positive: the test says little about these."]),
        ((40, 400), (9, 100), ["Of 109 test reviews only 9 are negative: the test says little about these."]),
    ],
)
def test_a_test_that_is_unlike_the_rest_or_has_few_of_a_label_is_told(
    train: tuple[int, int], test: tuple[int, int], expected: list[str]
) -> None:
    assert weak_test(balanced(train, test)) == expected
