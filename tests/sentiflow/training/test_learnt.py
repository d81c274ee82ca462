"""Tests of what a run keeps of the texts that its training has learnt from."""

from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from sentiflow.data.division import BY_WORDS, known, text_id, word_hash
from sentiflow.data.reviews import Reviews
from sentiflow.run.record import RunRecord
from sentiflow.store.records import Store
from sentiflow.training.learnt import LEARNT, NOTHING, by_texts_alone, learnt_by, learnt_in, write_learnt
from tests.sentiflow.reports.made import record


def reviews(**splits: str) -> Reviews:
    """A review of each text."""
    ids = np.array([text_id(text) for text in splits])
    content = Reviews(
        ids, np.array(list(splits.values())), np.zeros(len(ids), np.int8), [np.array([1])] * len(ids)
    )
    return replace(content, words=np.array([word_hash(text) for text in splits], np.uint64))


def hashed(*texts: str) -> list[int]:
    """Of texts and of their words, by hand, behind the format."""
    every = {hash for text in texts for hash in (text, text.lower())}
    return [2, *sorted(int(sha256(each.encode()).hexdigest()[:16], 16) for each in every)]


class Kept:
    """A store whose runs keep their files in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def file(self, _record: RunRecord, name: str, _folder: Path) -> Path | None:
        return self.folder / name if (self.folder / name).is_file() else None


def kept(folder: Path) -> Store:
    return cast("Store", Kept(folder))


def test_training_and_validation_are_learnt_and_what_was_before(tmp_path: Path) -> None:
    """Red if an epoch that was chosen by a text counts as one that has never seen it."""
    first = learnt_in(reviews(A="train", b="validation", c="test"))
    second = learnt_in(reviews(b="test", d="train", A="train"), first)
    assert (first.tolist(), second.tolist()) == (hashed("A", "b"), hashed("A", "b", "d"))
    folder = write_learnt(second, tmp_path / "learnt")
    found = learnt_by(kept(folder), record(), tmp_path)
    assert found is not None and found.tolist() == second.tolist()
    assert (folder / LEARNT).stat().st_size == 128 + 8 * 5  # a text in small letters is its words


def test_a_text_in_other_capitals_is_known_unless_exact_texts_alone_were_kept() -> None:
    """Red if a release that kept hashes of exact texts counts as one that knows words, without a word about it."""
    by_words = learnt_in(reviews(**{"A good film": "train", "A bad film": "test"}))
    earlier = by_words[by_words == int(sha256(b"A good film").hexdigest()[:16], 16)]
    tested = reviews(**{"A good film": "test", "a GOOD, film!": "test", "A bad film": "test"})
    assert known(tested.review_id, tested.words, by_words).tolist() == [True, True, False]
    assert known(tested.review_id, None, by_words).tolist() == [True, False, False]  # of an earlier table
    assert known(tested.review_id, tested.words, earlier).tolist() == [True, False, False]
    assert by_words[0] == BY_WORDS
    assert (by_texts_alone("v", by_words), by_texts_alone("v", NOTHING)) == ("", "")
    assert "exact texts" in by_texts_alone("v", earlier)


@pytest.mark.parametrize("content", [None, b"", b"\x93NUMPY", b"PK"])
def test_what_is_gone_or_damaged_is_not_known(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / LEARNT).write_bytes(content)
    assert learnt_by(kept(tmp_path), record(), tmp_path) is None


def test_of_a_built_in_dataset_nothing_is_kept(tmp_path: Path) -> None:
    of_imdb = replace(record(), tags={"dataset": "imdb"})
    assert learnt_by(kept(tmp_path), of_imdb, tmp_path) is NOTHING
