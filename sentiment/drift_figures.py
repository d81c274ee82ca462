"""The figures by which texts are compared with reviews, measured on both in the same way.

A model reads a word as itself, or it is out of its vocabulary: rare (one id for all such words) or unknown (left
out). A vocabulary is made of the training reviews, so none of their words is unknown; to be measured as a new text
would be, a training review counts a word as unknown that no other training review holds.

The score of the reference is that of the test reviews: of the training reviews the model is surer than of any text
that it has not seen.

Shapes: n texts, w words of all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sentiment.data.reviews import Reviews
from sentiment.drift import FIGURES, Floats, surprise
from sentiment.scoring import TextScorer, tokenize
from sentiment.scoring.vocabulary import FIRST_WORD

UNKNOWN = "unknown"
"""Share of words that no training review holds; told, and not compared, as it is a part of ``oov``."""


@dataclass(frozen=True)
class Unusual:
    """A text that is unlike the reviews.

    Attributes:
        surprise: how unlike, in nats, by vocabulary and length.
        figures: its values by name.
        text: its beginning.
    """

    surprise: float
    figures: dict[str, float]
    text: str


def of_texts(texts: Sequence[str], scorer: TextScorer) -> dict[str, Floats]:
    """Every figure of some raw texts, and the share of unknown words; shape (n,) each."""
    known = len(scorer.weights.embedding)
    counts = np.zeros((3, len(texts)))  # words, out of vocabulary, unknown
    for column, text in enumerate(texts):
        ids = [scorer.vocabulary.id_of(word) for word in tokenize(text)]
        unknown = ids.count(None)
        rare = sum(1 for i in ids if i is not None and i >= known)
        counts[:, column] = len(ids), rare + unknown, unknown
    return _shares(*counts) | {"score": scorer.score(texts)}


def of_reviews(content: Reviews, scorer: TextScorer) -> dict[str, Floats]:
    """Every figure of the training reviews, with the score of the test reviews, and the share of unknown words."""
    train, test = content.of("train"), content.of("test")
    known = len(scorer.weights.embedding)
    words = np.concatenate([ids[1:] for ids in train.tokens])  # (w,), without the start markers
    lengths = train.n_tokens - 1  # (n,)
    review = np.repeat(np.arange(len(train)), lengths)  # (w,)
    alone = _in_one_review(words, review)[words]  # (w,)
    out = alone | (words >= known) | (words < FIRST_WORD)
    outside, unknown = (np.bincount(review, mask, len(train)).astype(float) for mask in (out, alone))
    scores = scorer.network.score(test.padded(scorer.sequence_length, known))
    return _shares(lengths.astype(float), outside, unknown) | {"score": scores}


def most_unusual(
    texts: Sequence[str], now: dict[str, Floats], reference: dict[str, Floats], most: int, characters: int
) -> list[Unusual]:
    """The texts least like the reviews in vocabulary and length, strangest first, cut to so many characters."""
    far = surprise(reference["oov"], now["oov"]) + surprise(reference["length"], now["length"])
    chosen = np.argsort(-far, kind="stable")[:most].tolist()
    return [
        Unusual(float(far[i]), {name: float(now[name][i]) for name in FIGURES}, _cut(texts[i], characters))
        for i in chosen
    ]


def _in_one_review(words: NDArray[np.int32], review: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which ids stand in one review only: the first is the last; shape (highest id + 1,)."""
    first, last = (np.zeros(int(words.max(initial=0)) + 1, np.int64) for _ in range(2))
    first[words[::-1]] = review[::-1]  # of values for one place the last one stays
    last[words] = review
    alone: NDArray[np.bool_] = first == last
    return alone


def _shares(words: Floats, out: Floats, unknown: Floats) -> dict[str, Floats]:
    some = np.maximum(words, 1)  # a text without words has none that is out of vocabulary
    return {"oov": out / some, "length": words, UNKNOWN: unknown / some}


def _cut(text: str, characters: int) -> str:
    return text if len(text) <= characters else f"{text[:characters].rstrip()} ..."
