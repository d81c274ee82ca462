"""Drift between recent texts and those that the model was tested on: PSI, KS and their figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ks_2samp

from sentiflow.data.reviews import Reviews
from sentiflow.scoring import TextScorer, tokenize
from sentiflow.scoring.vocabulary import FIRST_WORD

Floats = NDArray[np.float64]

FIGURES = {
    "oov": "out-of-vocabulary share",
    "length": "length in words",
    "score": "score",
}
"""What is compared, by name: what people call it."""

_BINS = 10  # deciles of the reference, as is usual


@dataclass(frozen=True)
class Limits:
    """From where on a figure has drifted.

    Attributes:
        psi: population stability index, reached or passed.
        alpha: chance that the test must fall below.
    """

    psi: float
    alpha: float


@dataclass(frozen=True)
class Compared:
    """One figure, now and in the reference.

    Attributes:
        name: one of ``FIGURES``.
        reference: its median in the reference.
        now: its median of late.
        psi: population stability index; 0 when both are alike.
        p: chance of such a difference if nothing changed, for all figures together (Holm).
        drifted: whether both limits are passed.
    """

    name: str
    reference: float
    now: float
    psi: float
    p: float
    drifted: bool

    @property
    def label(self) -> str:
        """What people call it."""
        return FIGURES[self.name]


def compare(reference: Mapping[str, Floats], now: Mapping[str, Floats], limits: Limits) -> tuple[Compared, ...]:
    """Compare every figure.

    Args:
        reference: values by figure; shape (n,), as many as that figure has.
        now: likewise.
        limits: from where on a figure has drifted.
    """
    chances = holm({name: chance(reference[name], now[name]) for name in FIGURES})
    compared = []
    for name, p in chances.items():
        before, late = reference[name], now[name]
        index = psi(before, late)
        drifted = index >= limits.psi and p < limits.alpha
        compared.append(Compared(name, float(np.median(before)), float(np.median(late)), index, p, drifted))
    return tuple(compared)


def psi(reference: Floats, now: Floats) -> float:
    """Population stability index: the sum over bins of (now - reference) * ln(now / reference), shares of each.

    The bins are deciles of the reference. Where one side of a bin is empty, half a text stands in: a share of zero
    would make the index infinite.

    Example:
        >>> round(psi(np.array([0.0, 0, 1, 1]), np.array([0.0, 1, 1, 1])), 4)  # 0.25 * ln 1.5 + 0.25 * ln 2
        0.2747
    """
    cuts = edges(reference)
    before, late = (
        np.bincount(np.searchsorted(cuts, values), minlength=len(cuts) + 1) for values in (reference, now)
    )
    there = (before > 0) | (late > 0)
    p, q = np.maximum(before[there], 0.5) / len(reference), np.maximum(late[there], 0.5) / len(now)
    return float(np.sum((q - p) * np.log(q / p)))


def edges(reference: Floats) -> Floats:
    """Upper ends, included, of all bins but the last: deciles, and a bin of its own for a value that many share.

    Example:
        >>> edges(np.array([0.0] * 8 + [1.0, 2.0])).tolist()
        [-5e-324, 0.0, 1.0]
    """
    deciles = np.unique(np.quantile(reference, np.arange(1, _BINS) / _BINS, method="inverted_cdf"))
    heavy = deciles[[np.mean(reference == value) > 1 / _BINS for value in deciles]]
    return np.unique(np.concatenate([deciles, np.nextafter(heavy, -np.inf)]))


def chance(reference: Floats, now: Floats) -> float:
    """Chance of two samples so different if they came from one population: Kolmogorov and Smirnov's test.

    With values that many texts share it errs on the side of no difference.
    """
    return float(ks_2samp(reference, now, method="asymp").pvalue)


def holm(chances: Mapping[str, float]) -> dict[str, float]:
    """Chances made so that all of them together alarm no more often than one alone (Holm).

    Example:
        >>> holm({"a": 0.5, "b": 0.25, "c": 0.125})
        {'a': 0.5, 'b': 0.5, 'c': 0.375}
    """
    corrected: dict[str, float] = {}
    largest = 0.0
    for rank, name in enumerate(sorted(chances, key=lambda name: chances[name])):
        largest = max(largest, min(1.0, (len(chances) - rank) * chances[name]))
        corrected[name] = largest
    return {name: corrected[name] for name in chances}


def surprise(reference: Floats, now: Floats) -> Floats:
    """How far out in the reference each value lies, in nats: minus the logarithm of its two tails; shape (n,).

    Example:
        >>> surprise(np.array([1.0, 2, 3, 4]), np.array([2.0, 4, 9])).round(2).tolist()  # 2/2, 2/4, and 0.5/4
        [0.0, 0.69, 2.08]
    """
    ordered, n = np.sort(reference), len(reference)
    below = np.searchsorted(ordered, now, side="right") / n  # share that is as small
    above = 1 - np.searchsorted(ordered, now, side="left") / n  # share that is as large
    tails: Floats = np.clip(2 * np.minimum(below, above), 0.5 / n, 1)
    far: Floats = np.log(1 / tails)
    return far


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
