"""The baseline ``nb-bigrams``: words and pairs of neighbours, weighted by naive Bayes, in a logistic regression.

Wang and Manning (2012), Baselines and Bigrams: Simple, Good Sentiment and Topic Classification.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import scipy.sparse
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from sentiflow.baselines.simple import FitInput, Fitted, Floats, loss_and_accuracy, positive
from sentiflow.data.reviews import Reviews
from sentiflow.scoring.vocabulary import FIRST_WORD

STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Values of C that are tried; on the IMDB reviews 0.3 has the lowest validation loss."""

_SMOOTHING = 1.0  # added to each count
_MOST_WORDS = 20_000_000  # learnt from: they take 2 GB and a minute

Keys = NDArray[np.int64]


@dataclass(frozen=True)
class Weights:
    """What some reviews hold: naive Bayes weights of words and pairs.

    Attributes:
        keys: rising, (f,): a word by its id, a pair by the first id times 2**32 plus the second.
        ratio: log-count ratio of each, (f,).
    """

    keys: Keys
    ratio: Floats

    @classmethod
    def of(cls, reviews: Reviews) -> Self:
        """Of all words and pairs of labelled reviews."""
        keys, rows = features(reviews)
        return cls(keys, log_count_ratio(rows, reviews.label))

    def matrix(self, reviews: Reviews) -> scipy.sparse.csr_array:
        """The weights of what each review holds, (n, f); what is not among the keys counts for nothing."""
        _, rows = features(reviews, self.keys)
        return scipy.sparse.csr_array((self.ratio[rows.indices], rows.indices, rows.indptr), shape=rows.shape)


def fit_nb_bigrams(given: FitInput) -> Fitted:
    """Choose C by validation loss, then fit once more to training and validation reviews together.

    Reviews are read whole, with all words, whatever the recipe cuts; of a very large table the first of them. The
    validation loss is that of the fit that chose.
    """
    training, validation = _first(given.training), _first(given.validation)
    weights, tried = Weights.of(training), []
    learned, held_out = weights.matrix(training), weights.matrix(validation)
    for strength in STRENGTHS:
        scores = positive(_fit(strength, learned, training.label), held_out)
        tried.append((*loss_and_accuracy(validation.label, scores), strength))
    loss, accuracy, strength = min(tried)
    both = _first(training.joined(validation))
    final = Weights.of(both)
    model = _fit(strength, final.matrix(both), both.label)
    lines = [f"C {c:g}: validation loss {lost:.4f}, accuracy {right:.2%}" for lost, right, c in tried]
    parameters = model.coef_.size + model.intercept_.size
    kept = f"Kept: C {strength:g}, fitted again with the validation reviews, {parameters:,} weights."
    return Fitted(
        score=lambda reviews: positive(model, final.matrix(reviews)),
        parameters=parameters,
        val_loss=loss,
        val_accuracy=accuracy,
        found={"C": strength},
        summary="\n".join([*lines, kept, ""]),
    )


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

    Start marker, padding and the id of rare words do not count, and are not between neighbours.

    Returns:
        The keys (see ``Weights``), (f,), and a matrix (n, f) of 1 where a review holds one, however often.
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


def log_count_ratio(rows: scipy.sparse.csr_array, labels: NDArray[np.int8]) -> Floats:
    """Logarithm of how much oftener positive reviews hold each feature than negative ones, smoothed; (f,)."""
    positive, negative = (_SMOOTHING + rows[labels == label].sum(axis=0) for label in (1, 0))
    ratio: Floats = np.log(positive / positive.sum()) - np.log(negative / negative.sum())
    return ratio
