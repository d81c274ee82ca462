"""Tests of the canonical table."""

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from sentiflow.data.reviews import (
    LABEL_SAMPLE,
    Reviews,
    digest,
    find,
    labelled,
    mark_used,
    of_test,
    read,
    read_vocabulary,
    used_at,
    vocabulary_file,
    write,
)
from sentiflow.errors import ExternalError
from sentiflow.scoring import Vocabulary

VOCABULARY = Vocabulary(["the", "film", "don't", "café"])


def ids(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int32)


def reviews_of(splits: list[str]) -> Reviews:
    """Reviews that can be told apart by name, label and ids."""
    n = len(splits)
    return Reviews(
        np.array([f"r{i}" for i in range(n)]),
        np.array(splits),
        (np.arange(n) % 2).astype(np.int8),
        [ids(1, *[4 + i] * (i % 3 + 1)) for i in range(n)],
    )


FIVE = reviews_of(["train", "test", "train", "validation", "test"])


def same(one: Reviews, other: Reviews) -> bool:
    return (
        one.review_id.tolist() == other.review_id.tolist()
        and one.split.tolist() == other.split.tolist()
        and one.label.tolist() == other.label.tolist()
        and one.label_names == other.label_names
        and [row.tolist() for row in one.tokens] == [row.tolist() for row in other.tokens]
    )


def test_reviews_of_a_split_or_of_row_numbers_are_in_that_order_with_their_own_ids() -> None:
    assert FIVE.n_tokens.tolist() == [2, 3, 4, 2, 3]  # the start marker is one
    test, taken = FIVE.of("test"), FIVE.take(np.array([4, 0]))
    assert (test.review_id.tolist(), [row.tolist() for row in test.tokens]) == (
        ["r1", "r4"],
        [[1, 5, 5], [1, 8, 8]],
    )
    assert (taken.review_id.tolist(), [row[1] for row in taken.tokens]) == (["r4", "r0"], [8, 4])


def test_reviews_that_stand_for_all_are_spread_over_the_table() -> None:
    """Of a table that is sorted by label, the first ones would have one label."""
    some = reviews_of(["train"] * 9).spread(3)
    assert some.review_id.tolist() == ["r0", "r4", "r8"]
    assert len(FIVE.spread(99)) == 5


def test_validation_is_the_last_fifth_of_the_training_split() -> None:
    training, validation = reviews_of(["train"] * 5 + ["test"] + ["train"] * 5).learning_splits(0.2)
    assert training.review_id.tolist() == ["r0", "r1", "r2", "r3", "r4", "r6", "r7", "r8"]
    assert validation.review_id.tolist() == ["r9", "r10"]
    training, validation = FIVE.learning_splits(0.5)  # it has one of its own
    assert (training.review_id.tolist(), validation.review_id.tolist()) == (["r0", "r2"], ["r3"])
    training, validation = reviews_of(["train"] * 7).learning_splits(0.2)
    assert (len(training), len(validation)) == (5, 2)  # Keras trains on the first floor(7 * 0.8) = 5 of 7


def test_padded_cuts_in_front_and_limits() -> None:
    assert FIVE.padded(3, 6).tolist() == [[0, 1, 4], [1, 5, 5], [2, 2, 2], [0, 1, 2], [1, 2, 2]]


CHANGED = {
    "label_names": (replace(FIVE, label_names=("bad", "good")), VOCABULARY),
    "label_names turned": (replace(FIVE, label_names=("positive", "negative")), VOCABULARY),
    "review_id": (replace(FIVE, review_id=np.array(["r0", "r1", "r2", "r3", "x"])), VOCABULARY),
    "split": (replace(FIVE, split=np.array(["train", "test", "train", "test", "test"])), VOCABULARY),
    "label": (replace(FIVE, label=np.array([0, 1, 0, 1, 1], np.int8)), VOCABULARY),
    "token": (replace(FIVE, tokens=[*FIVE.tokens[:4], ids(1, 8, 9)]), VOCABULARY),
    "boundary": (replace(FIVE, tokens=[ids(1), ids(4, 1, 5, 5), *FIVE.tokens[2:]]), VOCABULARY),
    "name-boundary": (replace(FIVE, review_id=np.array(["r0r", "1", "r2", "r3", "r4"])), VOCABULARY),
    "order": (FIVE.take(np.array([1, 0, 2, 3, 4])), VOCABULARY),
    "word": (FIVE, Vocabulary(["the", "film", "don't", "tea"])),
    "rank": (FIVE, Vocabulary(["film", "the", "don't", "café"])),
}


@pytest.mark.parametrize("what", CHANGED)
def test_the_digest_changes_with_each_part_of_the_content(what: str) -> None:
    assert digest(*CHANGED[what]) != digest(FIVE, VOCABULARY)


def test_the_digest_does_not_depend_on_widths_of_arrays() -> None:
    wide = Reviews(
        FIVE.review_id.astype("<U40"),
        FIVE.split.astype("<U40"),
        FIVE.label.astype(np.int64),
        [row.astype(np.int64) for row in FIVE.tokens],
    )
    assert digest(wide, VOCABULARY) == digest(FIVE, VOCABULARY)


def test_reviews_and_words_survive_write_and_read(tmp_path: Path) -> None:
    for content in (FIVE, reviews_of(["train"])):
        table = write(content, VOCABULARY, tmp_path)
        found = read(table)
        assert same(found, content) and read_vocabulary(table).words == VOCABULARY.words
        assert (found.label.dtype, {row.dtype for row in found.tokens}) == (np.int8, {np.dtype("int32")})
        assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    assert table == write(found, VOCABULARY, tmp_path) and len([*tmp_path.iterdir()]) == 4
    pq.write_table(pq.read_table(table), table, compression="gzip", row_group_size=2)
    assert digest(read(table), VOCABULARY) == table.stem


def test_names_of_labels_stay_with_the_table_and_each_part_of_it(tmp_path: Path) -> None:
    named = replace(FIVE, label_names=("жалоба", 'a"b'))
    found = read(write(named, VOCABULARY, tmp_path))
    assert (
        same(found, named) and found.of("test").label_names == found.joined(FIVE).label_names == named.label_names
    )


def test_places_and_the_texts_of_test_reviews_are_kept_beside_the_content(tmp_path: Path) -> None:
    places, texts = [f"a.csv line {k}" for k in range(5)], [f"Text {k}, as it is." for k in range(5)]
    table = write(FIVE, VOCABULARY, tmp_path, "source", {"place": places, "text": texts})
    assert table.stem == digest(FIVE, VOCABULARY) and same(read(table), FIVE)
    assert find(table, "source") and not find(table, "another")
    assert of_test(table, "place") == {"r1": places[1], "r4": places[4]}
    assert of_test(table, "text") == {"r1": texts[1], "r4": texts[4]}
    assert pd.read_parquet(table)["text"].tolist() == ["", texts[1], "", "", texts[4]]
    table = write(FIVE, VOCABULARY, tmp_path)
    assert (of_test(table, "place"), of_test(table, "text")) == ({"r1": "r1", "r4": "r4"}, {})


@pytest.mark.parametrize("kept", [None, 0, 4, 200, -1])
def test_a_truncated_or_missing_table_is_refused_by_name(tmp_path: Path, kept: int | None) -> None:
    table = write(FIVE, VOCABULARY, tmp_path)
    assert find(table)
    if kept is None:
        table.unlink()
    else:
        table.write_bytes(table.read_bytes()[:kept])
    assert not find(table)
    with pytest.raises(ExternalError, match=table.stem):
        read(table)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, r"vocabulary\.json"),
        ("", r"vocabulary\.json"),
        ('["a"', r"vocabulary\.json"),
        (json.dumps(["a", "a"]), r"vocabulary\.json"),
        (json.dumps([f"{word}x" for word in VOCABULARY.words]), "are damaged"),
    ],
    ids=["missing", "empty", "cut", "twice", "other words"],
)
def test_words_that_are_damaged_or_of_another_table_are_refused(
    tmp_path: Path, content: str | None, told: str
) -> None:
    table = write(FIVE, VOCABULARY, tmp_path)
    if content is None:
        vocabulary_file(table).unlink()
    else:
        vocabulary_file(table).write_text(content, encoding="utf-8")
    with pytest.raises(ExternalError, match=told):
        read_vocabulary(table)
    assert not find(table)


def test_a_table_counts_as_used_when_it_is_marked_or_its_words_are_read(tmp_path: Path) -> None:
    """Red if housekeeping would clear away what each training uses."""
    table = write(FIVE, VOCABULARY, tmp_path)
    for use in (mark_used, read_vocabulary):
        os.utime(table, (1, 2_000))
        os.utime(vocabulary_file(table), (1, 1_000))
        assert used_at(table) == 2_000  # made later than its words were used
        use(table)
        assert time.time() - used_at(table) < 60
        assert table.stat().st_mtime == 2_000


def test_texts_in_use_are_known_by_their_origin_and_by_no_name_of_a_file(tmp_path: Path) -> None:
    places = ["labelled-a-1.jsonl line 1", "labelled-old-2024.csv line 2", "labelled.csv line 1", "a.csv", "b.csv"]
    assert labelled(write(FIVE, VOCABULARY, tmp_path / "a", beside={"place": places})) == []
    origins = ["", LABEL_SAMPLE, LABEL_SAMPLE, "", "elsewhere"]  # of r0 to r4: r1 and r4 are test reviews
    assert labelled(write(FIVE, VOCABULARY, tmp_path / "b", beside={"place": places, "origin": origins})) == ["r1"]
