"""Tests of what a run keeps of the texts that its training has learnt from."""

from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from sentiflow.data.division import text_id
from sentiflow.data.reviews import Reviews
from sentiflow.runs import RunRecord
from sentiflow.store import Store
from sentiflow.training.context import LEARNT, NOTHING, learnt_by, learnt_in, write_learnt
from tests.sentiflow.reports.made import record


def reviews(**splits: str) -> Reviews:
    """A review of each text."""
    ids = np.array([text_id(text) for text in splits])
    return Reviews(ids, np.array(list(splits.values())), np.zeros(len(ids), np.int8), [np.array([1])] * len(ids))


def hashed(*texts: str) -> list[int]:
    return sorted(int(text_id(text).removeprefix("text-"), 16) for text in texts)


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
    first = learnt_in(reviews(a="train", b="validation", c="test"))
    second = learnt_in(reviews(b="test", d="train", a="train"), first)
    assert (first.tolist(), second.tolist()) == (hashed("a", "b"), hashed("a", "b", "d"))
    folder = write_learnt(second, tmp_path / "learnt")
    found = learnt_by(kept(folder), record(), tmp_path)
    assert found is not None and found.tolist() == second.tolist()
    assert (folder / LEARNT).stat().st_size < 128 + 9 * 3  # 8 bytes a text


@pytest.mark.parametrize("content", [None, b"", b"\x93NUMPY", b"PK"])
def test_what_is_gone_or_damaged_is_not_known(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / LEARNT).write_bytes(content)
    assert learnt_by(kept(tmp_path), record(), tmp_path) is None


@pytest.mark.parametrize("other", [np.zeros((2, 2), np.uint64), np.zeros(2, np.int64)])
def test_another_array_is_not_taken_for_hashes(tmp_path: Path, other: np.ndarray) -> None:
    np.save(tmp_path / LEARNT, other)
    assert learnt_by(kept(tmp_path), record(), tmp_path) is None


def test_of_a_built_in_dataset_nothing_is_kept(tmp_path: Path) -> None:
    of_imdb = replace(record(), tags={"dataset": "imdb"})
    assert learnt_by(kept(tmp_path), of_imdb, tmp_path) is NOTHING
