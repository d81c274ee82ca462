"""The baseline that a network on a user's table is held against: words and pairs of them, without a network."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from sentiflow.data.reviews import Reviews
from sentiflow.errors import UsageError
from sentiflow.evaluation.metrics import cross_entropy
from sentiflow.scoring.vocabulary import FIRST_WORD

ABOUT = "logistic regression on all words and pairs of neighbours, weighted by naive Bayes"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Fitted:
    """A fitted baseline."""

    score: Callable[[Reviews], Floats]  # probability of positive, shape (n,)
    parameters: int
    val_loss: float
    strength: float  # C, chosen by the validation reviews


def fitted(
    score: Callable[[Reviews], Floats], model: LogisticRegression, tried: Sequence[tuple[float, float]]
) -> Fitted:
    """A regression, with the C of the lowest validation loss of those that were tried: pairs of loss and C."""
    loss, strength = min(tried)
    return Fitted(score, model.coef_.size + model.intercept_.size, loss, strength)


def positive(model: LogisticRegression, rows: scipy.sparse.csr_array) -> Floats:
    """Probability of positive of each row, shape (n,)."""
    scores: Floats = model.predict_proba(rows)[:, 1]
    return scores


# On the IMDB reviews 0.3 has the lowest validation loss.
STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)

_SMOOTHING = 1.0  # added to each count
_MOST_WORDS = 20_000_000  # learnt from: they take 2 GB and a minute

Keys = NDArray[np.int64]


def fit(training: Reviews, validation: Reviews) -> Fitted:
    """Choose C by validation loss, then fit once more to training and validation reviews together.

    Words and pairs of neighbours, weighted by naive Bayes, in a logistic regression: Wang and Manning (2012),
    Baselines and Bigrams: Simple, Good Sentiment and Topic Classification. Reviews are read whole; of a very large
    table the first of them. The validation loss is that of the fit that chose.
    """
    if not len(validation) or len(set(training.label.tolist())) != 2:
        problem = "A baseline needs validation reviews, and training reviews of both labels."
        raise UsageError(problem, "Use a larger table, or another validation_fraction.")
    training, validation = _first(training), _first(validation)
    keys, rows = features(training)
    ratio = log_count_ratio(rows, training.label)
    learned, held_out = weighted(rows, ratio), weighted(features(validation, keys)[1], ratio)
    models = ((c, _fit(c, learned, training.label)) for c in STRENGTHS)
    tried = [(cross_entropy(validation.label, positive(model, held_out)), c) for c, model in models]
    both = _first(training.joined(validation))
    final_keys, rows = features(both)
    final_ratio = log_count_ratio(rows, both.label)
    model = _fit(min(tried)[1], weighted(rows, final_ratio), both.label)

    def score(reviews: Reviews) -> Floats:
        return positive(model, weighted(features(reviews, final_keys)[1], final_ratio))

    return fitted(score, model, tried)


def _fit(strength: float, rows: scipy.sparse.csr_array, labels: NDArray[np.int8]) -> LogisticRegression:
    # liblinear takes a tenth of the time of lbfgs; it draws the order of its steps.
    model = LogisticRegression(C=strength, solver="liblinear", dual=True, random_state=0, max_iter=1_000)
    return model.fit(rows, labels)


def _first(reviews: Reviews) -> Reviews:
    """The first reviews, as many as have ``_MOST_WORDS`` together."""
    within = np.cumsum(reviews.n_tokens) <= _MOST_WORDS
    return reviews if within.all() else reviews.take(within)


def features(reviews: Reviews, keys: Keys | None = None) -> tuple[Keys, scipy.sparse.csr_array]:
    """Which words and pairs of neighbours whole reviews hold: all of theirs, or only those of ``keys``.

    Start marker, padding and the id of rare words do not count, and are not between neighbours. Gives the keys,
    rising, (f,): a word by its id, a pair by the first id times 2**32 plus the second; and a matrix (n, f) of 1
    where a review holds one, however often.
    """
    flat = np.concatenate([np.empty(0, np.int32), *reviews.tokens])
    words = flat >= FIRST_WORD
    row = np.repeat(np.arange(len(reviews), dtype=np.int32), reviews.n_tokens)[words]
    ids = flat[words].astype(np.int64)
    neighbours = row[1:] == row[:-1]
    found = np.concatenate([ids, ((ids[:-1] << 32) + ids[1:])[neighbours]])
    row = np.concatenate([row, row[1:][neighbours]])
    if keys is None:
        keys = np.sort(found)
        keys = keys[np.diff(keys, prepend=-1) > 0]  # numpy's unique takes longer
    column = np.searchsorted(keys, found).astype(np.int32)  # scikit-learn asks for 32 bits
    known = np.append(keys, -1)[column] == found
    cells = row[known], column[known]
    matrix = scipy.sparse.csr_array((np.ones(len(cells[0])), cells), shape=(len(reviews), max(len(keys), 1)))
    matrix.data[:] = 1  # duplicates were added up
    return keys, matrix


def weighted(rows: scipy.sparse.csr_array, ratio: Floats) -> scipy.sparse.csr_array:
    """What ``features`` found, each by its log-count ratio, (n, f)."""
    return scipy.sparse.csr_array((ratio[rows.indices], rows.indices, rows.indptr), shape=rows.shape)


def log_count_ratio(rows: scipy.sparse.csr_array, labels: NDArray[np.int8]) -> Floats:
    """Logarithm of how much oftener positive reviews hold each feature than negative ones, smoothed; (f,)."""
    positive, negative = (_SMOOTHING + rows[labels == label].sum(axis=0) for label in (1, 0))
    ratio: Floats = np.log(positive / positive.sum()) - np.log(negative / negative.sum())
    return ratio
