"""Tests of the IMDB loader on a few reviews made by hand."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sentiflow.data import imdb
from sentiflow.data.reviews import Reviews
from sentiflow.errors import ExternalError, UsageError
from sentiflow.scoring import Vocabulary
from sentiflow.settings import Settings

INDEX = {"film": 3, "the": 1, "good": 4, "and": 2}
X_TRAIN = [[1], [2, 4], [3, 3, 3], [4, 1], [1, 2]]
Y_TRAIN = [1, 0, 1, 0, 0]
X_TEST = [[4], [3, 88_584], [2, 1, 4]]
Y_TEST = [1, 0, 1]


def ragged(rows: list[object]) -> np.ndarray:
    array = np.empty(len(rows), dtype=object)
    array[:] = rows
    return array


def write(folder: Path, index: object = INDEX, **changed: object) -> tuple[Path, Path]:
    arrays = {"x_train": ragged(X_TRAIN), "y_train": Y_TRAIN, "x_test": ragged(X_TEST), "y_test": Y_TEST}
    np.savez(folder / "imdb.npz", **{**arrays, **changed})
    (folder / "index.json").write_text(json.dumps(index), encoding="utf-8")
    return folder / "imdb.npz", folder / "index.json"


def orders() -> tuple[list[int], list[int]]:
    """`load_data`'s orders: one generator, seeded with 113, mixes the training rows and then the test rows."""
    generator = np.random.RandomState(113)
    train, test = np.arange(5), np.arange(3)
    generator.shuffle(train)
    generator.shuffle(test)
    return train.tolist(), test.tolist()


def test_reviews_stand_in_load_datas_order_with_start_offset_labels_and_splits(tmp_path: Path) -> None:
    reviews, vocabulary = imdb.load(*write(tmp_path))
    train, test = orders()
    assert train != [0, 1, 2, 3, 4] and test != [0, 1, 2]  # an unmixed loader must not pass
    rows = [X_TRAIN[i] for i in train] + [X_TEST[i] for i in test]
    assert [ids.tolist() for ids in reviews.tokens] == [[1, *(rank + 3 for rank in row)] for row in rows]
    assert reviews.label.tolist() == [Y_TRAIN[i] for i in train] + [Y_TEST[i] for i in test]
    assert reviews.review_id.tolist() == [f"train-{i}" for i in range(5)] + [f"test-{i}" for i in range(3)]
    assert reviews.split.tolist() == ["train"] * 5 + ["test"] * 3
    assert {ids.dtype for ids in reviews.tokens} | {reviews.label.dtype} == {np.dtype("int32"), np.dtype("int8")}
    assert vocabulary.words == ("the", "and", "film", "good")


def test_a_missing_array_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x_train=np.array([1]))
    with pytest.raises(ExternalError, match="y_train"):
        imdb.load(tmp_path / "a.npz", tmp_path / "index.json")


@pytest.mark.parametrize("kept", [0, 10, 100, 300, -1])
def test_a_truncated_archive_is_refused_with_the_settings_of_the_mirror(tmp_path: Path, kept: int) -> None:
    reviews_file, index_file = write(tmp_path)
    reviews_file.write_bytes(reviews_file.read_bytes()[:kept])
    with pytest.raises(ExternalError, match=r"Cannot read .*imdb\.npz") as refused:
        imdb.load(reviews_file, index_file)
    assert "SENTIFLOW_IMDB_SHA256" in refused.value.hint


OFFICIAL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
SHA = "ab" * 32


def test_without_a_mirror_the_addresses_are_keras_own(settings: Settings) -> None:
    hashes = (
        "69664113be75683a8fe16e3ed0ab59fda8886cb3cd7ada244f7d9544e4676b9f",
        "027313fe9a320280f3bf0fac5baf58c4a683cf39a7ed9c3d3d3912bde4284cf6",
    )
    names = "imdb.npz", "imdb_word_index.json"
    expected = [imdb.Address(name, OFFICIAL + name, sha256) for name, sha256 in zip(names, hashes, strict=True)]
    assert list(imdb.addresses(settings)) == expected


def test_keras_own_word_index_has_the_hash_that_is_asked_for(settings: Settings, imdb_settings: Settings) -> None:
    """The mirror's words, written as Keras's file has them, give the MD5 that Keras publishes."""
    files, _ = imdb.fetch(imdb_settings)
    content = json.dumps(json.loads(files[1].read_text(encoding="utf-8"))).encode()
    assert hashlib.md5(content, usedforsecurity=False).hexdigest() == "bfafd718b763782e994055a2d397834f"
    assert imdb.addresses(settings)[1].sha256 == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(("position", "field"), [(0, "imdb"), (1, "word_index")])
def test_a_mirror_of_one_file_is_used_with_its_hash_and_leaves_the_other_where_it_is(
    position: int, field: str
) -> None:
    addresses = imdb.addresses(Settings(**{f"{field}_url": "/srv/mirror", f"{field}_sha256": SHA}))
    assert (addresses[position].url, addresses[position].sha256) == ("/srv/mirror", SHA)
    assert addresses[1 - position].url.startswith(OFFICIAL)


@pytest.mark.parametrize("field", ["imdb", "word_index"])
def test_a_mirror_without_its_hash_is_refused_by_name(field: str) -> None:
    with pytest.raises(
        UsageError, match=f"SENTIFLOW_{field.upper()}_URL is set without SENTIFLOW_{field.upper()}_SHA256"
    ):
        imdb.addresses(Settings(**{f"{field}_url": "/srv/mirror"}))


def mirrored(settings: Settings, folder: Path) -> Settings:
    fields = {}
    for field, path in zip(("imdb", "word_index"), write(folder), strict=True):
        fields[f"{field}_url"] = str(path)
        fields[f"{field}_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    return settings.model_copy(update=fields)


def test_fetch_brings_both_files_into_the_data_folder_once(settings: Settings, tmp_path: Path) -> None:
    mirror = mirrored(settings, tmp_path)
    files, fetched = imdb.fetch(mirror)
    names = "imdb.npz", "index.json"
    assert [file.read_bytes() for file in files] == [(tmp_path / name).read_bytes() for name in names]
    assert all(file.is_relative_to(settings.data_dir / "downloads") for file in files)
    assert (fetched, imdb.fetch(mirror)) == (True, (files, False))


def test_the_published_reviews_are_25_000_a_split_of_known_words_and_half_of_them_positive() -> None:
    label = np.array([1, 0] * 25_000, np.int8)
    split = np.array(["train"] * 25_000 + ["test"] * 25_000)
    tokens = [np.array([1, 4], np.int32)] * 50_000
    many, words = Reviews(np.arange(50_000).astype(str), split, label, tokens), Vocabulary(["film"])
    imdb.check(many, words)
    for wrong in ([1], [1, 5], [1, 3], [1, -1]):
        with pytest.raises(ExternalError, match="words of the word index"):
            imdb.check(replace(many, tokens=[np.array(wrong, np.int32), *tokens[1:]]), words)
    for at, value in ((1, 1), (0, 9)):
        other = label.copy()
        other[at] = value
        with pytest.raises(ExternalError, match="train split: expected 25,000 reviews, half of them positive"):
            imdb.check(replace(many, label=other), words)
    with pytest.raises(ExternalError, match="test split"):
        imdb.check(many.take(np.arange(49_998)), words)
