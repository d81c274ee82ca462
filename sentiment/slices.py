"""Slices of the test reviews: where a model is good, and where it is not.

Shapes: n reviews, w words of all of them.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sentiment import gate
from sentiment.data.reviews import Reviews
from sentiment.gate import ScoreTable
from sentiment.metrics import wilson
from sentiment.scoring import START, Vocabulary
from sentiment.scoring.vocabulary import FIRST_WORD

Rows = NDArray[np.bool_]

LABELS = {
    "short": "short: the shortest quarter",
    "middle": "of middle length",
    "long": "long: the longest quarter",
    "whole": "read whole",
    "truncated": "truncated: longer than what is read",
    "oov_low": "few words out of vocabulary: the lowest quarter",
    "oov_high": "many words out of vocabulary: the highest quarter",
    "negation": "with a negation (not, n't, never, no, ...)",
    "no_negation": "without a negation",
}
"""Every slice, in the order of telling, with what people call it."""

_ACCURACY, _REVIEWS = "slice_accuracy/", "slice_reviews/"
# The tokeniser keeps apostrophes: "don't" is one word, and so are "'not" and "don’t".
_NEGATION = re.compile(
    r"(no|not|never|none|nobody|nothing|nowhere|neither|nor|cannot|.+n['’]t"
    r"|(ai|are|ca|could|did|does|do|had|has|have|is|should|was|were|wo|would)nt)"
)


@dataclass(frozen=True)
class Traits:
    """What reviews are like, whatever a model says of them.

    Attributes:
        unknown: shape (n,), share of words that are out of the vocabulary; 0 for a review without words.
        negated: shape (n,), whether a word of it negates.
    """

    unknown: NDArray[np.float64]
    negated: Rows

    def take(self, rows: NDArray[np.int64]) -> "Traits":
        """The traits of some reviews, by their row numbers."""
        return Traits(self.unknown[rows], self.negated[rows])


@dataclass(frozen=True)
class Slice:
    """How a model does on some of the reviews.

    Attributes:
        name: a key of ``LABELS``.
        reviews: how many.
        accuracy: fraction of right labels.
        low: lower end of its 95% Wilson interval.
        high: its upper end.
    """

    name: str
    reviews: int
    accuracy: float
    low: float
    high: float


def negates(word: str) -> bool:
    """Whether a word, as the tokeniser made it, is a negation.

    Example:
        >>> [negates(word) for word in ("don't", "dont", "'not'", "knot", "want")]
        [True, True, True, False, False]
    """
    return _NEGATION.fullmatch(word.strip("'’")) is not None


def traits_of(reviews: Reviews, words: Vocabulary, vocabulary_size: int) -> Traits:
    """Measure reviews as a model with such a vocabulary reads them, from the first word to the last.

    Args:
        reviews: as ids, rare words not yet replaced.
        words: what the ids from 4 on stand for.
        vocabulary_size: ids from this one on are out of it.
    """
    flat = np.concatenate(reviews.tokens) if len(reviews) else np.empty(0, np.int32)  # (w,)
    ends = np.cumsum(reviews.n_tokens, dtype=np.int64)  # (n,)
    table = np.zeros(max(FIRST_WORD + len(words), int(flat.max(initial=0)) + 1), bool)
    table[FIRST_WORD : FIRST_WORD + len(words)] = [negates(word) for word in words.words]
    marker = flat == START
    outside = (flat >= vocabulary_size) | ((flat < FIRST_WORD) & ~marker)
    counted = _per_review(~marker, ends)
    unknown = _per_review(outside, ends) / np.maximum(counted, 1)
    return Traits(unknown, _per_review(table[flat], ends) > 0)


def rows_of(table: ScoreTable, traits: Traits | None = None) -> dict[str, Rows]:
    """Which reviews each slice holds, shape (n,) each; one of none or of all reviews is left out.

    Length and truncation are cut as the gate does. A quarter holds all reviews that share its limit; ``oov_high``
    leaves out those that are in ``oov_low`` already.

    Args:
        table: of the model.
        traits: of the same reviews; without them, there are no slices by words.
    """
    found = gate.slices(table, table)
    found["middle"] = ~(found["short"] | found["long"])
    found["whole"] = ~found["truncated"]
    if traits is not None:
        low, high = np.quantile(traits.unknown, [0.25, 0.75])
        found["oov_low"] = traits.unknown <= low
        found["oov_high"] = (traits.unknown >= high) & ~found["oov_low"]
        found["negation"], found["no_negation"] = traits.negated, ~traits.negated
    return {name: found[name] for name in LABELS if name in found and 0 < found[name].sum() < len(found[name])}


def measure(right: Rows, rows: Mapping[str, Rows]) -> list[Slice]:
    """Accuracy on each slice.

    Args:
        right: shape (n,), which reviews are labelled rightly.
        rows: of each slice, shape (n,).
    """
    return [_slice(name, int(right[chosen].sum()), int(chosen.sum())) for name, chosen in rows.items()]


def as_metrics(slices: list[Slice]) -> dict[str, float]:
    """Slices as metrics of a run, which MLflow charts in one group each."""
    accuracy = {f"{_ACCURACY}{each.name}": each.accuracy for each in slices}
    return accuracy | {f"{_REVIEWS}{each.name}": float(each.reviews) for each in slices}


def from_metrics(metrics: Mapping[str, float]) -> list[Slice]:
    """What ``as_metrics`` told, intervals included."""
    counts = {name: round(metrics.get(f"{_REVIEWS}{name}", 0)) for name in LABELS}
    return [
        _slice(name, round(metrics[f"{_ACCURACY}{name}"] * n), n)
        for name, n in counts.items()
        if n and f"{_ACCURACY}{name}" in metrics
    ]


def _slice(name: str, right: int, n: int) -> Slice:
    return Slice(name, n, right / n, *wilson(right, n))


def _per_review(mask: Rows, ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many of its words a mask marks, for each review; shape (n,)."""
    counts = np.concatenate([[0], np.cumsum(mask, dtype=np.int32)])  # (w + 1,)
    found: NDArray[np.int64] = np.diff(counts[np.concatenate([[0], ends])])
    return found
