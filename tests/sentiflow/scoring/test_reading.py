"""Tests of word-by-word readings, against scores of the text's beginnings."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sentiflow.scoring import TextScorer, Vocabulary, Weights

WORDS = Vocabulary(
    ["the", "film", "was", "good", "bad", "rare", "rarer"]
)  # ids 4 to 10; with 9 rows, rare (9) and rarer (10) are 2


def scorer(
    length: int, *, mask_zero: bool = False, both_ways: bool = False, pooling: str = "last", members: int = 1
) -> TextScorer:
    random = np.random.default_rng(3)
    shapes = (9, 4), (4, 3), (3, 3), (3,), (6 if both_ways else 3, 1), (1,)
    arrays = [random.normal(size=shape).astype(np.float32) for shape in shapes]
    backward = [random.normal(size=shape).astype(np.float32) for shape in shapes[1:4]] if both_ways else []
    weights = Weights(*arrays, mask_zero, *backward, pooling=pooling)
    others = (replace(weights, embedding=-weights.embedding),) * (members - 1)
    return TextScorer(replace(weights, others=others), WORDS, length)


masked_kinds = pytest.mark.parametrize(
    "kind", [{}, {"pooling": "mean"}, {"both_ways": True}, {"both_ways": True, "pooling": "mean", "members": 2}]
)


@masked_kinds
def test_with_a_mask_the_score_after_each_word_is_the_score_of_the_text_up_to_it(kind: dict[str, Any]) -> None:
    # Padding leaves the state alone, so that a beginning scores as it does inside the whole.
    reader, text = scorer(12, mask_zero=True, **kind), "The film was rare, unseen and good"
    words = text.split()
    reading = reader.explain(text)
    beginnings = [" ".join(words[: i + 1]) for i in range(len(words))]
    assert [word.score for word in reading.words] == pytest.approx(reader.score(beginnings), abs=1e-12)
    assert reading.start == pytest.approx(reader.score([""])[0], abs=1e-12)


def test_without_a_mask_the_score_after_each_word_is_that_of_as_much_padding_and_the_beginning() -> None:
    reader, text = scorer(9), "the film was good bad good"  # a start and six words: two steps of padding
    words = text.split()
    expected = [
        scorer(2 + 1 + i).score([" ".join(words[:i])])[0]  # the padding in front is the same two steps
        for i in range(1, 7)
    ]
    assert [word.score for word in reader.explain(text).words] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    "kind", [{}, {"mask_zero": True}, {"mask_zero": True, "both_ways": True, "pooling": "mean", "members": 2}]
)
@pytest.mark.parametrize("length", [1, 2, 4, 6, 7, 30])
def test_the_last_score_is_the_texts_and_the_changes_add_up_to_it(length: int, kind: dict[str, Any]) -> None:
    reader, text = scorer(length, **kind), "the film xyz was good rare rarer the bad"
    reading = reader.explain(text)
    assert reading.score == pytest.approx(reader.score([text])[0], abs=1e-12)
    assert reading.start + sum(word.change for word in reading.words) == pytest.approx(reading.score, abs=1e-12)


def test_each_word_is_told_its_fate() -> None:
    reading = scorer(4).explain("The film xyz was rare, good")
    # Known: the, film, was, rare, good; the last four of them are read, and the start marker is cut, too.
    assert [(word.text, word.status) for word in reading.words] == [
        ("the", "cut"), ("film", "read"), ("xyz", "unknown"), ("was", "read"), ("rare", "rare"), ("good", "read"),
    ]  # fmt: skip


def test_a_reading_begins_with_the_padding_or_with_the_start_marker_that_is_read() -> None:
    network = scorer(4).network
    steps = [
        network.score_steps(np.array(row, np.int32)).tolist()
        for row in ([0, 1, 4, 5], [1, 4, 5, 7], [4, 5, 7, 8], [5, 7, 8, 6])
    ]
    texts = "the film", "the film good", "the film good bad", "the film good bad was"
    readings = [scorer(4).explain(text) for text in texts]
    assert [reading.start for reading in readings] == [steps[0][2], steps[1][1], steps[2][0], steps[3][0]]


@pytest.mark.parametrize("text", ["", "   ", "xyz", "?!"])
def test_a_text_without_a_known_word_ends_where_it_starts(text: str) -> None:
    reading = scorer(5).explain(text)
    assert reading.score == reading.start == pytest.approx(scorer(5).score([text])[0], abs=1e-12)
