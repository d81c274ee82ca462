"""The baselines that are no networks, against other ways to them and sums by hand; TF-IDF first."""

import math
from dataclasses import replace

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from sentiflow.baselines import fit
from sentiflow.baselines.simple import (
    ABOUT,
    NAMES,
    STRENGTHS,
    TRAINING_PARAMS,
    FitInput,
    choose,
    counts,
    parameters_of,
)
from sentiflow.data.reviews import Reviews
from sentiflow.errors import UsageError
from sentiflow.training.recipes import TUNED, TUTORIAL, TrainConfig

from .conftest import blurred, generated_reviews

LEARNT, HELD_BACK, OTHERS = generated_reviews(60, 1), generated_reviews(30, 2), generated_reviews(20, 3)


def as_text(reviews: Reviews) -> list[str]:
    """The last six ids of each review as words, without the start marker."""
    return [" ".join(f"w{token}" for token in ids[-6:] if token >= 4) for ids in reviews.tokens]


def test_counts_are_of_what_a_network_reads(config: TrainConfig) -> None:
    tokens = [np.array([1, 4, 5, 5, 6, 7, 8, 5], np.int32), np.array([1, 11, 12, 4], np.int32)]
    reviews = Reviews(np.array(["a", "b"]), np.full(2, "train"), np.array([0, 1], np.int8), tokens)
    # The first is cut in front to 5 5 6 7 8 5; of the second, 12 is out of the vocabulary. Columns: ids 4 to 11.
    assert counts(reviews, config).toarray().tolist() == [[0, 3, 1, 1, 1, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0, 1]]


def test_scores_are_those_of_another_way_to_the_same_model(config: TrainConfig) -> None:
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
    fitted = fit("tfidf", FitInput(learnt, held_back, config, 0))
    assert losses[fitted.found["C"]][1] is best
    assert fitted.val_loss == pytest.approx(expected, abs=1e-6)
    others = best.predict_proba(vectoriser.transform(as_text(OTHERS)))[:, 1]
    assert fitted.score(OTHERS) == pytest.approx(others, abs=1e-6)


def test_validation_reviews_choose_and_are_not_learnt_from(config: TrainConfig) -> None:
    """Whatever they are, the model is one of the five that the training reviews give."""
    strengths = {}
    for held_back in (HELD_BACK, blurred(HELD_BACK), replace(HELD_BACK, label=1 - HELD_BACK.label)):
        fitted = fit("tfidf", FitInput(LEARNT, held_back, config, 0))
        scores = fitted.score(OTHERS).tolist()
        assert strengths.setdefault(fitted.found["C"], scores) == scores
    assert len(strengths) > 1


def test_a_vocabulary_without_words_is_no_error(config: TrainConfig) -> None:
    fitted = fit("tfidf", FitInput(LEARNT, HELD_BACK, config.model_copy(update={"vocabulary_size": 4}), 0))
    assert fitted.score(OTHERS) == pytest.approx([0.5] * 20)


def labelled(*labels: int) -> Reviews:
    n = len(labels)
    tokens = [np.array([1, 4], np.int32)] * n
    return Reviews(np.array([f"r{i}" for i in range(n)]), np.full(n, "train"), np.array(labels, np.int8), tokens)


def test_every_review_is_scored_with_the_share_of_the_positive_ones(config: TrainConfig) -> None:
    fitted = fit("majority", FitInput(labelled(1, 1, 0, 1), labelled(1, 0), config, 0))
    assert fitted.score(labelled(0, 0, 1)).tolist() == [0.75] * 3
    assert fitted.parameters == 1
    # worked out by hand: one right at 0.75, one wrong
    assert fitted.val_accuracy == 0.5
    assert fitted.val_loss == pytest.approx(-(math.log(0.75) + math.log(0.25)) / 2)
    assert fitted.history == ()


@pytest.mark.parametrize("name", ["majority", "tfidf", "lstm"])
@pytest.mark.parametrize(
    ("training", "validation"),
    [(labelled(1, 1), labelled(1, 0)), (labelled(1, 0), labelled()), (labelled(), labelled(1))],
)
def test_parts_that_nothing_can_be_learnt_from_are_refused(
    name: str, training: Reviews, validation: Reviews, config: TrainConfig
) -> None:
    with pytest.raises(UsageError, match="training reviews of both labels"):
        fit(name, FitInput(training, validation, config, 0))


def test_no_name_means_all_of_them() -> None:
    assert choose([]) == NAMES == tuple(ABOUT)


def test_names_are_put_in_the_order_of_their_running_and_once_each() -> None:
    assert choose(["lstm", "tfidf", "lstm"]) == ("tfidf", "lstm")


def test_an_unknown_name_is_told_with_those_that_there_are() -> None:
    with pytest.raises(
        UsageError, match="No baseline is named 'bert'.\nThere are: majority, tfidf, nb-bigrams, embeddings"
    ):
        choose(["tfidf", "bert"])


def test_a_recipe_of_few_epochs_lowers_those_of_the_networks_and_one_of_many_does_not_raise_them() -> None:
    assert parameters_of("gru", TUTORIAL.model_copy(update={"epochs": 1}), 0)["epochs"] == 1
    many = TUNED.model_copy(update={"epochs": 999})
    assert parameters_of("gru", many, 0)["epochs"] == TRAINING_PARAMS["gru"].epochs


def test_what_has_no_epochs_logs_no_settings_of_a_training() -> None:
    assert parameters_of("tfidf", TUNED, 7) == {
        "vocabulary_size": 10_000, "sequence_length": 500, "validation_fraction": 0.2, "seed": 7,
    }  # fmt: skip
