"""The baseline that a network is held against, and goes on from: n-grams in a logistic regression."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from sentiflow.data.reviews import Reviews
from sentiflow.errors import UsageError
from sentiflow.evaluation.metrics import cross_entropy
from sentiflow.scoring import Weights
from sentiflow.scoring.forward import Network, mean_score
from sentiflow.scoring.ngrams import CHUNK, LONGEST, NGrams, Table, occurrences

ABOUT = "logistic regression on words, pairs and triples of neighbours, weighted by naive Bayes"

Floats = NDArray[np.float64]

STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)  # of C; on the IMDB reviews 0.3 has the lowest validation loss
LEAST = 2  # reviews that hold an n-gram which counts: of those of one review alone nothing is learnt for others

_SMOOTHING = 1.0  # added to each count
_MOST_WORDS = 20_000_000  # learnt from: they take 2 GB and a minute


@dataclass(frozen=True)
class Fitted:
    """A fitted baseline."""

    ngrams: NGrams
    held_out: Floats  # log-odds of the validation reviews by the fit that chose, (v,)
    val_loss: float
    strength: float  # C

    def score(self, reviews: Reviews) -> Floats:
        """Probability of positive, shape (n,)."""
        return mean_score(self.ngrams.log_odds(reviews.tokens)[np.newaxis])

    def beside(self, network: Weights, length: int, validation: Reviews) -> tuple[NGrams, Floats] | None:
        """Its n-grams beside a network, and the scores that both together give the validation reviews.

        Validation reviews, from which neither has learnt, choose a factor for the log-odds of each. None where
        that lowers their loss by no more than its standard error.
        """
        validation = validation.take(np.arange(len(self.held_out)))
        log_odds = Network(network).log_odds(validation.padded(length, network.size))

        def scores(factors: Sequence[float]) -> Floats:
            return mean_score(factors[0] * log_odds + factors[1] * self.held_out)

        def loss(factors: Sequence[float]) -> float:
            return cross_entropy(validation.label, scores(factors))

        found = minimize(loss, (0.5, 0.75), bounds=[(0, 2)] * 2)
        mixed, alone = scores(found.x), scores((1.0, 0.0))
        gain = _losses(validation.label, alone) - _losses(validation.label, mixed)
        if not gain.mean() > gain.std() / np.sqrt(len(gain)):
            return None
        network_factor, own = map(float, found.x)
        weights = (own * self.ngrams.weights).astype(np.float32)
        ngrams = NGrams(self.ngrams.keys, weights, own * self.ngrams.constant, network_factor)
        return ngrams, mixed

    def save(self, path: Path, scores: Floats) -> None:
        """Write it, with its scores of the test reviews."""
        entries: dict[str, Any] = self.ngrams.entries() | {"held_out": self.held_out, "scores": scores}
        np.savez(path, loss=self.val_loss, strength=self.strength, **entries)

    @classmethod
    def load(cls, path: Path) -> tuple["Fitted", Floats]:
        """Read what ``save`` wrote in this training."""
        with np.load(path, allow_pickle=False) as file:
            ngrams = NGrams(file["ngram_keys"], file["ngram_weights"], float(file["constant"]))
            return cls(ngrams, file["held_out"], float(file["loss"]), float(file["strength"])), file["scores"]


def _losses(labels: NDArray[np.int8], scores: Floats) -> Floats:
    """The cross-entropy of each review, (n,)."""
    right = np.where(labels == 1, scores, 1 - scores)
    losses: Floats = -np.log(np.clip(right, 1e-7, 1))
    return losses


def fit(training: Reviews, validation: Reviews, longest: int = LONGEST) -> Fitted:
    """Choose C, and how many reviews must hold an n-gram, by validation loss; then fit to all reviews.

    N-grams, present or not, weighted by naive Bayes, in a logistic regression: Wang and Manning (2012), Baselines
    and Bigrams: Simple, Good Sentiment and Topic Classification. Reviews are read whole; of a very large table the
    first of them. The validation loss is that of the fit that chose.
    """
    if not len(validation) or len(set(training.label.tolist())) != 2:
        problem = "A baseline needs validation reviews, and training reviews of both labels."
        raise UsageError(problem, "Use a larger table, or another validation_fraction.")
    training, validation = _first(training), _first(validation)
    learnt = Features(training, longest)
    held_out = learnt.holds(validation)
    tried: dict[int, tuple[float, Floats]] = {}
    at = STRENGTHS.index(0.3)
    while True:
        for each in {at - 1, at, at + 1} & set(range(len(STRENGTHS))) - set(tried):
            ngrams = learnt.fit(STRENGTHS[each])
            log_odds = held_out @ ngrams.weights + ngrams.constant
            tried[each] = cross_entropy(validation.label, mean_score(log_odds[np.newaxis])), log_odds
        best = min(tried, key=lambda each: tried[each][0])
        if best == at:
            break
        at = best
    both = Features(_first(training.joined(validation)), longest)
    return Fitted(both.fit(STRENGTHS[best]), tried[best][1], tried[best][0], STRENGTHS[best])


def _first(reviews: Reviews) -> Reviews:
    """The first reviews, as many as have ``_MOST_WORDS`` together."""
    within = np.cumsum(reviews.n_tokens) <= _MOST_WORDS
    return reviews if within.all() else reviews.take(within)


class Features:
    """The n-grams that at least ``LEAST`` of the reviews hold, and which review holds which."""

    def __init__(self, reviews: Reviews, longest: int) -> None:
        self._labels, self._longest = reviews.label, longest
        starts = range(0, len(reviews), CHUNK)
        parts = [occurrences(reviews.tokens[start : start + CHUNK], longest)[0] for start in starts]
        keys = np.concatenate([np.empty(0, np.int64), *parts])
        keys.sort()
        often = keys[: len(keys) - LEAST + 1] == keys[LEAST - 1 :]
        often[1:] &= keys[1 : len(often)] != keys[: len(often) - 1]
        self._keys = keys[: len(often)][often]
        rows = self.holds(reviews)
        held = np.bincount(rows.indices, minlength=len(self._keys)) >= LEAST  # not often in one review alone
        self._keys, rows = self._keys[held], rows[:, np.flatnonzero(held)]
        self.ratio = log_count_ratio(rows, self._labels)
        shape = len(reviews), max(len(self._keys), 1)  # scikit-learn asks for a column
        self._weighted = scipy.sparse.csr_array((self.ratio[rows.indices], rows.indices, rows.indptr), shape)

    def holds(self, reviews: Reviews) -> scipy.sparse.csr_array:
        """1 where a review holds an n-gram, however often; shape (n, k)."""
        found = list(Table(self._keys).rows(reviews.tokens, self._longest))
        counts, columns = (np.concatenate([np.empty(0, np.int32), *each]) for each in zip(*found, strict=True))
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)  # scikit-learn asks for 32 bits
        shape = len(reviews), len(self._keys)
        return scipy.sparse.csr_array((np.ones(len(columns)), columns, starts), shape)

    def fit(self, strength: float) -> NGrams:
        """The regression with a C; its weights are on 1 and 0, without the ratio."""
        # liblinear takes a tenth of the time of lbfgs; it draws the order of its steps.
        model = LogisticRegression(C=strength, solver="liblinear", dual=True, random_state=0, max_iter=1_000)
        model.fit(self._weighted, self._labels)
        weights = (model.coef_[0, : len(self._keys)] * self.ratio).astype(np.float32)
        return NGrams(self._keys, weights, float(model.intercept_[0]))


def log_count_ratio(rows: scipy.sparse.csr_array, labels: NDArray[np.int8]) -> Floats:
    """Logarithm of how much oftener positive reviews hold each feature than negative ones, smoothed; (f,)."""
    positive, negative = (_SMOOTHING + rows[labels == label].sum(axis=0) for label in (1, 0))
    ratio: Floats = np.log(positive / positive.sum()) - np.log(negative / negative.sum())
    return ratio
