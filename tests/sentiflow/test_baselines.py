"""The baseline against another way to it and sums by hand: n-grams."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from sentiflow.baselines import STRENGTHS, Features, fit, log_count_ratio
from sentiflow.data.reviews import Reviews
from sentiflow.errors import UsageError


def generated_reviews(n: int, seed: int, split: str = "train") -> Reviews:
    """Reviews of 2 to 8 ids whose label follows from one word: 4 in positive ones, 5 in negative ones."""
    rng = np.random.default_rng(seed)
    label = rng.permutation(np.arange(n) % 2).astype(np.int8)
    tokens = [
        np.array([1, 4 if positive else 5, *rng.integers(6, 12, rng.integers(0, 7))], np.int32)
        for positive in label
    ]
    return Reviews(np.array([f"{split}-{i}" for i in range(n)]), np.full(n, split), label, tokens)


def blurred(reviews: Reviews) -> Reviews:
    """Every fifth label turned, so that the strength of the penalty makes a difference."""
    label = reviews.label.copy()
    label[::5] = 1 - label[::5]
    return replace(reviews, label=label)


LEARNT, HELD_BACK, OTHERS = generated_reviews(60, 1), generated_reviews(30, 2), generated_reviews(20, 3)


def labelled(*labels: int) -> Reviews:
    n = len(labels)
    tokens = [np.array([1, 4], np.int32)] * n
    return Reviews(np.array([f"r{i}" for i in range(n)]), np.full(n, "train"), np.array(labels, np.int8), tokens)


@pytest.mark.parametrize(
    ("training", "validation"),
    [(labelled(1, 1), labelled(1, 0)), (labelled(1, 0), labelled()), (labelled(), labelled(1))],
)
def test_parts_that_nothing_can_be_learnt_from_are_refused(training: Reviews, validation: Reviews) -> None:
    with pytest.raises(UsageError, match="training reviews of both labels"):
        fit(training, validation)


def reviews_of(*tokens: list[int], label: list[int] | None = None) -> Reviews:
    ids = np.array([f"row-{i}" for i in range(len(tokens))])
    labels = np.array(label or [i % 2 for i in range(len(tokens))], np.int8)
    return Reviews(ids, np.full(len(tokens), "train"), labels, [np.array(each, np.int32) for each in tokens])


def as_whole_text(reviews: Reviews) -> list[str]:
    return [" ".join(f"w{token}" for token in ids if token >= 4) for ids in reviews.tokens]


NOISY, NOISY_HELD_BACK = blurred(LEARNT), blurred(HELD_BACK)


def test_an_n_gram_counts_once_in_a_review_if_two_hold_it() -> None:
    content = reviews_of([1, 4, 5, 4, 5], [1, 2, 6, 6, 4, 5], [1])
    learnt = Features(content, 3)
    assert learnt.fit(1.0).keys.tolist() == [4, 5, (4 << 21) + 5]  # 6 is twice in one review alone
    assert learnt.holds(content).toarray().tolist() == [[1, 1, 1], [1, 1, 1], [0, 0, 0]]


def test_ratios_by_hand() -> None:
    # Word 4 in both positive reviews, 5 in one; 5 in the negative one. With 1 added: 3, 2 of 5 and 1, 2 of 3.
    rows = csr_array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    found = log_count_ratio(rows, np.array([1, 0, 1], np.int8))
    assert found == pytest.approx([math.log((3 / 4) / (1 / 3)), math.log((1 / 4) / (2 / 3))])


def test_scores_are_those_of_another_way_to_the_same_model() -> None:
    """scikit-learn's vectoriser and another solver; the last fit has the validation reviews, too."""

    def fitted(learnt: Reviews, strength: float, asked: Reviews) -> np.ndarray:
        vectoriser = CountVectorizer(binary=True, ngram_range=(1, 3), min_df=2, token_pattern=r"\S+")
        rows = vectoriser.fit_transform(as_whole_text(learnt)).toarray()
        share = [1 + rows[learnt.label == label].sum(axis=0) for label in (1, 0)]
        ratio = np.log(share[0] / share[0].sum() / (share[1] / share[1].sum()))
        ones = np.ones((len(rows), 1))  # liblinear's constant is penalised as any weight
        model = LogisticRegression(C=strength, fit_intercept=False, tol=1e-8, max_iter=10_000)
        model.fit(np.hstack([rows * ratio, ones]), learnt.label)
        others = vectoriser.transform(as_whole_text(asked)).toarray() * ratio
        return model.predict_proba(np.hstack([others, np.ones((len(others), 1))]))[:, 1]

    losses = {}
    for strength in STRENGTHS:
        scores = fitted(NOISY, strength, NOISY_HELD_BACK)
        losses[strength] = -np.log(np.where(NOISY_HELD_BACK.label == 1, scores, 1 - scores)).mean()
    best = min(losses, key=losses.__getitem__)
    assert best not in (min(STRENGTHS), max(STRENGTHS))
    found = fit(NOISY, NOISY_HELD_BACK)
    assert found.strength == best
    assert found.val_loss == pytest.approx(losses[best], abs=1e-3)
    tokens, label = NOISY.tokens + NOISY_HELD_BACK.tokens, np.concatenate([NOISY.label, NOISY_HELD_BACK.label])
    both = reviews_of(*tokens, label=label.tolist())
    assert found.score(OTHERS) == pytest.approx(fitted(both, best, OTHERS), abs=2e-3)


def test_the_same_reviews_give_the_same_bits() -> None:
    one, other = (fit(NOISY, NOISY_HELD_BACK) for _ in range(2))
    assert (one.score(OTHERS) == other.score(OTHERS)).all()


def test_texts_of_one_word_or_none_and_validation_reviews_of_one_label_are_no_error() -> None:
    words = reviews_of([1, 4], [1, 5], [1, 4], [1, 5], [1])
    held_back = reviews_of([1, 5], label=[1])
    negative, positive = fit(words, held_back).score(words)[:2]
    assert negative < positive
    nothing = reviews_of([1], [1], [1])  # two of three are negative
    assert (fit(nothing, nothing).score(words) < 0.5).all()
