"""Logistic regression on TF-IDF: which words a review holds, in no order."""

import numpy as np
import scipy.sparse
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression

from sentiment.baselines.fitted import Fitted, Floats, loss_and_accuracy
from sentiment.data.reviews import Reviews
from sentiment.recipes import TrainConfig
from sentiment.scoring.vocabulary import FIRST_WORD

# Half-decades around scikit-learn's default of 1. On the IMDB reviews the fourth has the lowest validation loss.
STRENGTHS = (0.3, 1.0, 3.0, 10.0, 30.0)
_MOST_STEPS = 1_000


def counts(reviews: Reviews, config: TrainConfig) -> scipy.sparse.csr_array:
    """How often each word of the vocabulary stands in what a network reads of each review, shape (n, words).

    The same ids as a network's: cut in front, rarer words left out. Start marker and padding are no words.
    """
    ids = reviews.padded(config.sequence_length, config.vocabulary_size)
    row, step = np.nonzero(ids >= FIRST_WORD)
    shape = len(reviews), max(config.vocabulary_size - FIRST_WORD, 1)
    ones = np.ones(len(row))
    return scipy.sparse.csr_array((ones, (row, ids[row, step] - FIRST_WORD)), shape=shape)


def fit(training: Reviews, validation: Reviews, config: TrainConfig) -> Fitted:
    """Learn the words' weights on the training reviews, for each of a few strengths of the penalty.

    The strength whose validation loss is lowest is kept; inverse document frequencies are the training reviews'.
    """
    weigh = TfidfTransformer(sublinear_tf=True).fit(counts(training, config))
    learnt, held_back = (weigh.transform(counts(part, config)) for part in (training, validation))
    tried = []
    for strength in STRENGTHS:
        model = LogisticRegression(C=strength, max_iter=_MOST_STEPS).fit(learnt, training.label)
        tried.append((*loss_and_accuracy(validation.label, _positive(model, held_back)), strength, model))
    loss, accuracy, strength, best = min(tried, key=lambda one: one[0])

    def score(reviews: Reviews) -> Floats:
        return _positive(best, weigh.transform(counts(reviews, config)))

    lines = [f"C {c:g}: validation loss {lost:.4f}, accuracy {right:.2%}" for lost, right, c, _ in tried]
    parameters = best.coef_.size + best.intercept_.size
    told = "\n".join([*lines, f"Kept: C {strength:g}, {parameters:,} weights.", ""])
    return Fitted(score, parameters, loss, accuracy, {"C": strength}, told)


def _positive(model: LogisticRegression, rows: scipy.sparse.csr_array) -> Floats:
    scores: Floats = model.predict_proba(rows)[:, 1]
    return scores
