"""Drift of recent texts against a reference: features of texts, PSI, the KS test and the most unusual texts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ks_2samp

from sentiflow.base import model as base
from sentiflow.data.division import text_id
from sentiflow.data.reviews import Reviews
from sentiflow.scoring import TextScorer
from sentiflow.scoring.vocabulary import FIRST_WORD
from sentiflow.training.fitting import learnt_ids

Floats = NDArray[np.float64]

FEATURES = {"oov": "out-of-vocabulary share", "length": "length in words", "score": "score"}
"""What is compared: labels by name."""

_BINS = 10  # deciles, as is usual


@dataclass(frozen=True)
class FeatureDrift:
    """One feature of the recent texts against the reference."""

    name: str  # one of ``FEATURES``
    reference: float  # median
    recent: float  # median
    psi: float  # population stability index; 0 when both are alike
    p: float  # p-value of the KS test, corrected for the number of features (Holm)
    drifted: bool

    @property
    def label(self) -> str:
        return FEATURES[self.name]


def compare(
    reference: Mapping[str, Floats], recent: Mapping[str, Floats], min_psi: float, alpha: float
) -> tuple[FeatureDrift, ...]:
    """Compare every feature; values by name, shape (n,) each, n as large as that feature has values.

    A feature has drifted if its PSI is at least ``min_psi`` and its p below ``alpha``.
    """
    # Kolmogorov and Smirnov's test is conservative for values with many ties.
    tests = {name: ks_2samp(reference[name], recent[name], method="asymp") for name in FEATURES}
    p_values = holm({name: float(test.pvalue) for name, test in tests.items()})
    compared = []
    for name, p in p_values.items():
        medians = float(np.median(reference[name])), float(np.median(recent[name]))
        index = psi(reference[name], recent[name])
        drifted = index >= min_psi and p < alpha
        compared.append(FeatureDrift(name, *medians, index, p, drifted))
    return tuple(compared)


def psi(reference: Floats, recent: Floats) -> float:
    """Population stability index: the sum over bins of (q - p) * ln(q / p), shares of reference and recent.

    The bins are deciles of the reference. An empty side of a bin counts as half a text: a share of zero would make
    the index infinite.
    """
    edges = bin_edges(reference)
    before, after = (
        np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1) for values in (reference, recent)
    )
    occupied = (before > 0) | (after > 0)
    p, q = np.maximum(before[occupied], 0.5) / len(reference), np.maximum(after[occupied], 0.5) / len(recent)
    return float(np.sum((q - p) * np.log(q / p)))


def bin_edges(reference: Floats) -> Floats:
    """Upper edges (inclusive) of all bins but the last: deciles, and a bin of its own for each frequent value."""
    deciles = np.unique(np.quantile(reference, np.arange(1, _BINS) / _BINS, method="inverted_cdf"))
    heavy = deciles[[np.mean(reference == value) > 1 / _BINS for value in deciles]]
    return np.unique(np.concatenate([deciles, np.nextafter(heavy, -np.inf)]))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Correct p-values for multiple testing (Holm)."""
    names = sorted(p_values, key=lambda name: p_values[name])
    scaled = [(len(names) - rank) * p_values[name] for rank, name in enumerate(names)]
    corrected = dict(zip(names, np.minimum(np.maximum.accumulate(scaled), 1).tolist(), strict=True))
    return {name: corrected[name] for name in p_values}


def surprise(reference: Floats, recent: Floats) -> Floats:
    """How far out in the reference each recent value lies, in nats: -ln of twice its smaller tail; shape (n,)."""
    ordered, n = np.sort(reference), len(reference)
    below = np.searchsorted(ordered, recent, side="right") / n  # share that is at most as large
    above = 1 - np.searchsorted(ordered, recent, side="left") / n  # share that is at least as large
    tails: Floats = np.clip(2 * np.minimum(below, above), 0.5 / n, 1)
    far: Floats = np.log(1 / tails)
    return far


@dataclass(frozen=True)
class UnusualText:
    """The beginning of a text that is unlike the reviews, with the features of the whole text."""

    features: dict[str, float]
    text: str
    id: str  # as ``text_id`` makes it of the whole text


def features_of_texts(texts: Sequence[str], scorer: TextScorer) -> dict[str, Floats]:
    """Every feature of some raw texts; shape (n,) each."""
    known = scorer.weights.size
    counts = np.zeros((2, len(texts)))  # words, and those out of vocabulary
    for column, text in enumerate(texts):
        ids = [scorer.vocabulary.id_of(word) for word in scorer.vocabulary.tokenize(text)]
        counts[:, column] = len(ids), sum(1 for i in ids if i is None or i >= known)
    return _shares(*counts) | {"score": scorer.score(texts)}


def features_of_reviews(content: Reviews, scorer: TextScorer) -> dict[str, Floats]:
    """Every feature of the training reviews, and the scores of the test reviews.

    Each training review is measured as if it were new: a word that occurs in no other review counts as unknown,
    unless the vocabulary holds it all the same, as it holds the base's words beside those of a user's table.
    Equal reviews count once, as equal texts do.
    """
    train, test = _distinct(content.of("train")), _distinct(content.of("test"))
    known = scorer.weights.size
    words = np.concatenate([ids[1:] for ids in train.tokens])  # (w,), without the start markers
    lengths = train.n_tokens - 1  # (n,)
    review = np.repeat(np.arange(len(train)), lengths)  # (w,)
    once = _in_one_review(words, review)[words]  # (w,)
    own, besides = learnt_ids(content.of("train"), FIRST_WORD + len(scorer.vocabulary))
    there = _of_base(scorer)[words] if besides > own else np.zeros(len(words), bool)
    # A word of the base would stand among the others of the base, which the network knows or not.
    out = (once & ~there) | (once & (known <= own)) | (words >= known) | (words < FIRST_WORD)
    outside = np.bincount(review, out, len(train)).astype(float)
    scores = scorer.score_ids(test.tokens)
    return _shares(lengths.astype(float), outside) | {"score": scores}


def _of_base(scorer: TextScorer) -> NDArray[np.bool_]:
    """Which ids stand for words that the base has, shape (ids,)."""
    words = set(base.base().scorer.vocabulary.words)
    return np.array([False] * FIRST_WORD + [word in words for word in scorer.vocabulary.words])


def _distinct(content: Reviews) -> Reviews:
    places: dict[bytes, int] = {}
    for place, ids in enumerate(content.tokens):
        places.setdefault(ids.tobytes(), place)
    return content.take(np.array([*places.values()], np.int64))


def most_unusual(
    texts: Sequence[str], recent: dict[str, Floats], reference: dict[str, Floats], limit: int, characters: int
) -> list[UnusualText]:
    """The texts least like the reviews in vocabulary and length, farthest first, each cut to ``characters``."""
    far = surprise(reference["oov"], recent["oov"]) + surprise(reference["length"], recent["length"])
    chosen = np.argsort(-far, kind="stable")[:limit].tolist()
    return [
        UnusualText(
            {name: float(recent[name][i]) for name in ("oov", "length")},  # who labels it must not know the score
            texts[i] if len(texts[i]) <= characters else f"{texts[i][:characters].rstrip()} ...",
            text_id(texts[i]),
        )
        for i in chosen
    ]


def _in_one_review(words: NDArray[np.int32], review: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which ids occur in one review only, whose first review is also the last; shape (highest id + 1,)."""
    first, last = (np.zeros(int(words.max(initial=0)) + 1, np.int64) for _ in range(2))
    first[words[::-1]] = review[::-1]  # numpy keeps the last value assigned to an index
    last[words] = review
    alone: NDArray[np.bool_] = first == last
    return alone


def _shares(words: Floats, out: Floats) -> dict[str, Floats]:
    return {"oov": out / np.maximum(words, 1), "length": words}  # of a text without words no share is out
