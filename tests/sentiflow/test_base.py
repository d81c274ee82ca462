"""The network that the package carries."""

from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from benchmarks import base as maker
from sentiflow.base import model as base
from sentiflow.data import reviews
from sentiflow.data.division import BY_WORDS, word_hash
from sentiflow.data.prepare import fetch, prepare
from sentiflow.data.reviews import Reviews
from sentiflow.scoring import TextScorer, Vocabulary, is_positive
from sentiflow.settings import Settings
from tests.sentiflow.scoring.test_forward import random_weights

DIGEST = "8a486d536c04479a36eced1704c210851655a898a0812a3ae625bf9e73bc49ab"


def test_the_file_is_the_one_that_was_made_and_small() -> None:
    """Red if the file is replaced by one that nobody measured."""
    assert base.base().digest == DIGEST
    assert base.FILE.stat().st_size <= 4_000_000
    card = (files("sentiflow.base") / "README.md").read_text(encoding="utf-8")
    assert f"{base.base().accuracy:.2%}" in card
    assert f"{len(base.base().scorer.vocabulary):,} words" in card


def test_it_tells_good_from_bad() -> None:
    scores = base.base().scorer.score(["A wonderful, moving film.", "Boring and badly acted."])
    assert is_positive(scores).tolist() == [True, False]


def test_a_base_is_read_as_it_was_written_but_for_the_precision_of_its_embeddings(tmp_path: Path) -> None:
    weights = random_weights()
    words = Vocabulary([f"word{i}" for i in range(100)])  # more than there are embeddings
    maker.save(TextScorer(weights, words, 7), 0.75, tmp_path / "base.npz")
    found = base.read(tmp_path / "base.npz")
    assert found.accuracy == 0.75
    assert found.scorer.sequence_length == 7
    assert found.scorer.vocabulary.words == words.words[: len(weights.embedding) - 4]
    np.testing.assert_array_equal(found.scorer.weights.embedding, weights.embedding.astype(np.float16))
    np.testing.assert_array_equal(found.scorer.weights.kernel, weights.kernel)


def test_what_it_learnt_is_kept_as_a_run_keeps_it_in_200_kilobytes() -> None:
    found = base.learnt()
    assert (found.dtype, found[0]) == (np.uint64, BY_WORDS)
    assert len(found) == 1 + 24_901  # IMDB's training reviews, each once
    assert (np.diff(found.astype(object)) > 0).all()
    assert base.FILE.with_name(base.LEARNT).stat().st_size <= 200_000


def test_a_learnt_review_is_known_again_by_its_text(tmp_path: Path) -> None:
    """Red if the words of ids and those of a raw text made different hashes."""
    text = "It's <b>GREAT</b>,<br /><br />I know; 10/10!"
    words = Vocabulary(["br", "i", "10", "great", "b", "it's", "know"])
    learnt = [np.array(words.encode(text), np.int32)]
    content = Reviews(np.array(["train-0"]), np.array(["train"]), np.array([1], np.int8), learnt)
    maker.save_learnt(content, words, tmp_path / "learnt.npy")
    assert np.load(tmp_path / "learnt.npy").tolist() == [BY_WORDS, word_hash(text)]


@pytest.mark.story
def test_the_training_reviews_of_imdb_are_known(imdb_settings: Settings, tmp_path: Path) -> None:
    """Red if the packaged hashes are of other reviews."""
    table = prepare(fetch("imdb", imdb_settings), imdb_settings).table
    maker.save_learnt(reviews.read(table).of("train"), reviews.read_vocabulary(table), tmp_path / "learnt.npy")
    assert (tmp_path / "learnt.npy").read_bytes() == base.FILE.with_name(base.LEARNT).read_bytes()
