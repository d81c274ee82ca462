import pytest

from sentiflow.baselines.simple import ABOUT, NAMES, TRAINING_PARAMS, choose, parameters_of
from sentiflow.errors import UsageError
from sentiflow.training.recipes import TUNED, TUTORIAL


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
