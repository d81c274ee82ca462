"""Ids made in array operations, against ``Vocabulary.encode`` and ``pad``, word by word."""

import string

import numpy as np
import pytest

from sentiflow.batch.worker import BulkScorer
from sentiflow.data.reviews import Reviews
from sentiflow.scoring import TextScorer, Vocabulary, Weights, pad

WORDS = [
    "the", "good", "i", "i̇", "ß", "straße", "ς", "σ", "日本", "a\x00", "\x00a", "a\xa0b", "a\rb", "don't",
    "x" * 300,
]  # fmt: skip
IMPOSSIBLE = ["well-made", "Good", "a b", "", " "]  # no text gives these words


def scorer_of(words: list[str], length: int, size: int) -> TextScorer:
    rng = np.random.default_rng(1)
    shapes = (size, 3), (3, 4), (4, 4), (4,), (4, 1), (1,)
    return TextScorer(Weights(*(rng.normal(size=s).astype(np.float32) for s in shapes)), Vocabulary(words), length)


def slowly(scorer: TextScorer, texts: list[str]) -> np.ndarray:
    return pad(
        [scorer.vocabulary.encode(text) for text in texts], scorer.sequence_length, len(scorer.weights.embedding)
    )


EDGES = [
    "", " ", "\n", "the", "The GOOD, the good.", "unheard of", "the " * 5, "the " * 6, "the " * 7,
    "x" * 300, "x" * 299,
    "I İ İstanbul", "STRASSE Straße ẞ", "ΟΔΥΣΣΕΥΣ Σ ς σ ΣΑΣ", "日本 日本語", "a\x00 \x00a a \x00",
    "a\xa0b a\u2028b a\rb",
    "don't DON'T dont", "well-made Good a b", "😀 good😀 😀good", " good", "good ", "the\tgood\nthe",
    "(the)[good]",
    string.printable, "".join(map(chr, range(0x20, 0x2FF))),
]  # fmt: skip


@pytest.mark.parametrize("size", [3, 8, 100])
@pytest.mark.parametrize("length", [1, 6, 50])
def test_edges_give_the_ids_that_the_vocabulary_gives(length: int, size: int) -> None:
    scorer = scorer_of(WORDS + IMPOSSIBLE, length, size)
    np.testing.assert_array_equal(BulkScorer(scorer).encode(EDGES), slowly(scorer, EDGES))
    for text in EDGES:
        np.testing.assert_array_equal(BulkScorer(scorer).encode([text]), slowly(scorer, [text]))


def test_scores_are_those_of_the_scorer() -> None:
    scorer = scorer_of(WORDS, 6, 8)
    np.testing.assert_allclose(BulkScorer(scorer).score(EDGES), scorer.score(EDGES), rtol=0, atol=1e-14)


@pytest.mark.story
def test_the_real_reviews_give_their_own_ids(imdb: tuple[Reviews, Vocabulary]) -> None:
    content, vocabulary = imdb
    test = content.of("test")
    scorer = scorer_of(list(vocabulary.words), 500, 10_000)
    texts = [vocabulary.decode(ids, unknown="") for ids in test.tokens]
    np.testing.assert_array_equal(BulkScorer(scorer).encode(texts), test.padded(500, 10_000))
