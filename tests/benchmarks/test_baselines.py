"""The baselines of the benchmark against another way to them and sums by hand."""

import math

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from benchmarks.baselines import STRENGTHS, counts, fit_majority, fit_tfidf
from sentiflow.data.reviews import Reviews
from sentiflow.training.recipes import TrainConfig
from tests.sentiflow.test_baselines import HELD_BACK, LEARNT, OTHERS, blurred, labelled

# ids 4 to 11: eight words, the first two of which give the label
CONFIG = TrainConfig(
    recipe="tiny", vocabulary_size=12, sequence_length=6, embedding_size=3, units=4, epochs=2, batch_size=8
)


def as_text(reviews: Reviews) -> list[str]:
    """The last six ids of each review as words, without the start marker."""
    return [" ".join(f"w{token}" for token in ids[-6:] if token >= 4) for ids in reviews.tokens]


def test_counts_are_of_what_a_network_reads() -> None:
    tokens = [np.array([1, 4, 5, 5, 6, 7, 8, 5], np.int32), np.array([1, 11, 12, 4], np.int32)]
    reviews = Reviews(np.array(["a", "b"]), np.full(2, "train"), np.array([0, 1], np.int8), tokens)
    # The first is cut in front to 5 5 6 7 8 5; of the second, 12 is out of the vocabulary. Columns: ids 4 to 11.
    assert counts(reviews, CONFIG).toarray().tolist() == [[0, 3, 1, 1, 1, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0, 1]]


def test_scores_are_those_of_another_way_to_the_same_model() -> None:
    learnt, held_back = blurred(LEARNT), blurred(HELD_BACK)
    vectoriser = TfidfVectorizer(
        sublinear_tf=True, token_pattern=r"\S+", vocabulary=[f"w{i}" for i in range(4, 12)]
    )
    rows = vectoriser.fit_transform(as_text(learnt))
    losses = {}
    for strength in STRENGTHS:
        model = LogisticRegression(C=strength, max_iter=1000).fit(rows, learnt.label)
        scores = model.predict_proba(vectoriser.transform(as_text(held_back)))[:, 1]
        losses[strength] = -np.log(np.where(held_back.label == 1, scores, 1 - scores)).mean(), model
    expected, best = min(losses.values(), key=lambda one: one[0])
    fitted = fit_tfidf(learnt, held_back, CONFIG)
    assert losses[fitted.strength][1] is best
    assert fitted.val_loss == pytest.approx(expected, abs=1e-6)
    others = best.predict_proba(vectoriser.transform(as_text(OTHERS)))[:, 1]
    assert fitted.score(OTHERS) == pytest.approx(others, abs=1e-6)


def test_every_review_is_scored_with_the_share_of_the_positive_ones() -> None:
    fitted = fit_majority(labelled(1, 1, 0, 1), labelled(1, 0))
    assert fitted.score(labelled(0, 0, 1)).tolist() == [0.75] * 3
    assert fitted.parameters == 1
    # worked out by hand: one right at 0.75, one wrong
    assert fitted.val_loss == pytest.approx(-(math.log(0.75) + math.log(0.25)) / 2)
