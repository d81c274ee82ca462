"""Tests of slices, on reviews that can be counted by hand."""

import numpy as np

from sentiflow.data.reviews import Reviews
from sentiflow.evaluation.metrics import (
    Slice,
    Traits,
    measure_slices,
    negates,
    slice_metrics,
    slice_rows,
    slice_tags,
    slices_logged,
    traits_of,
)
from sentiflow.evaluation.scores import ScoreTable
from sentiflow.evaluation.statistics import wilson
from sentiflow.scoring import Vocabulary

WORDS = Vocabulary(["film", "not", "good", "don't", "rare"])  # ids 4 to 8


def reviews(*tokens: list[int]) -> Reviews:
    n = len(tokens)
    ids = [np.array(each, np.int32) for each in tokens]
    return Reviews(np.array([f"r{i}" for i in range(n)]), np.full(n, "test"), np.zeros(n, np.int8), ids)


def table(lengths: list[int], right: list[bool] | None = None, reads: int = 100) -> ScoreTable:
    """Scores of positive reviews, above one half where they are right."""
    n = len(lengths)
    score = np.where(np.array(right or [True] * n), 0.9, 0.1)
    ids = np.array([f"r{i}" for i in range(n)])
    return ScoreTable(ids, np.ones(n, np.int8), score, np.array(lengths, np.int32), reads)


NEGATIONS = "not no never nothing cannot don't don’t isn't 'not' dont wasnt aint"
OTHERS = "knot note want dent went n't nose noted paint '"


def test_words_that_negate_and_that_do_not() -> None:
    found = " ".join(word for word in f"{NEGATIONS} {OTHERS}".split() if negates(word))
    assert (found, negates("")) == (NEGATIONS, False)


def test_a_review_is_negated_by_one_of_its_words_wherever_it_stands() -> None:
    found = traits_of(reviews([1, 5], [1, 4, 6], [1, 4, 7], [1, 6, 4, 5, 4], [1]), WORDS, 100)
    assert found.negated.tolist() == [True, False, True, True, False]
    assert traits_of(reviews([5, 4], [4, 5]), WORDS, 100).negated.tolist() == [True, True]  # no start marker
    assert traits_of(reviews(), WORDS, 100).negated.tolist() == []


def test_the_share_of_unknown_words_leaves_the_start_marker_out() -> None:
    # of 4 words two are rare (6 and 8 of a vocabulary of 6), of 2 words one was out before (2), none of none
    found = traits_of(reviews([1, 4, 6, 8, 5], [1, 2, 4], [1], [4, 5]), WORDS, 6)
    assert found.unknown.tolist() == [0.5, 0.5, 0.0, 0.0]
    # an id beyond the vocabulary, too
    assert traits_of(reviews([1, 8], [1, 4, 9]), WORDS, 6).unknown.tolist() == [1.0, 0.5]


def test_quarters_by_length_and_what_lies_between() -> None:
    found = slice_rows(table([10, 20, 30, 40, 50]))  # quarters end at 20 and begin at 40
    assert {name: rows.nonzero()[0].tolist() for name, rows in found.items()} == {
        "short": [0, 1], "middle": [2], "long": [3, 4],
    }  # fmt: skip


def test_a_review_as_long_as_what_is_read_is_read_whole() -> None:
    found = slice_rows(table([99, 100, 101]))
    assert (found["whole"].tolist(), found["truncated"].tolist()) == ([True, True, False], [False, False, True])


def test_slices_by_words_are_quarters_of_the_unknown_share_and_negation() -> None:
    traits = Traits(np.array([0.0, 0.1, 0.2, 0.3, 0.4]), np.array([True, False, True, True, False]))
    found = slice_rows(table([10, 20, 30, 40, 50]), traits)
    rows = {name: found[name].nonzero()[0].tolist() for name in list(found)[-4:]}
    assert rows == {"oov_low": [0, 1], "oov_high": [3, 4], "negation": [0, 2, 3], "no_negation": [1, 4]}


def test_accuracy_of_a_slice_has_its_own_count_and_interval() -> None:
    found = measure_slices(table([1, 1, 1, 9, 9], [True, True, False, False, True]))
    assert found == [Slice("short", 3, 2 / 3, *wilson(2, 3)), Slice("long", 2, 1 / 2, *wilson(1, 2))]


def test_metrics_of_slices_lead_back_to_them() -> None:
    found = measure_slices(table([7, 1, 3, 200, 5, 9, 11], [True, False, True, True, False, True, False]))
    metrics = slice_metrics(found)
    assert metrics["test_slices/truncated"] == 1.0 and "truncated 1" in slice_tags(found)["slice_reviews"]
    assert slices_logged(metrics | {"test/accuracy": 0.5}, slice_tags(found)) == found
