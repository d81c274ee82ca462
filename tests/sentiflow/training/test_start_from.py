"""What a table decides of a recipe, by hand calculations; which networks a recipe may start from."""

import numpy as np
import pytest

from sentiflow.base.model import base
from sentiflow.data.reviews import Reviews
from sentiflow.training.fitting import fit, fitted_text, learnt_ids
from sentiflow.training.recipes import TUNED, load_recipe
from sentiflow.training.start_from import agree


def table(lengths: list[int], ids: int = 9) -> Reviews:
    """Training reviews of these lengths, start marker included; each of the words 4 to ids - 1 stands in one."""
    tokens = [np.full(length, 4, np.int32) for length in lengths]
    tokens[0] = np.arange(4, ids, dtype=np.int32)
    n = len(lengths)
    return Reviews(np.arange(n).astype(str), np.full(n, "train"), np.zeros(n, np.int8), tokens)


def test_a_small_table_that_starts_from_nothing_gets_steps_enough() -> None:
    """1,000 reviews, 800 of them learnt from: 25 steps of 32 an epoch, 20 epochs for 500 steps."""
    config = fit(load_recipe("fitted"), table([20] * 1_000), 9, started=False)
    assert (config.batch_size, config.epochs, config.early_stopping_patience) == (32, 20, 5)
    assert config.ema_momentum == 0.98  # the average of 50 of 500 steps
    assert config.learning_rate == 0.003
    assert (config.vocabulary_size, config.sequence_length) == (9, 20)


@pytest.mark.parametrize(("length", "rate"), [(100, 0.002), (101, 0.001)])
def test_from_a_start_there_are_fewer_steps_and_they_are_smaller(length: int, rate: float) -> None:
    """400 steps of 25 an epoch: 16 epochs."""
    config = fit(load_recipe("fitted"), table([length] * 1_000), 30, started=True)
    assert (config.epochs, config.embedding_weight_decay) == (16, 1.0)
    assert (config.learning_rate, config.vocabulary_size) == (rate, 30)


@pytest.mark.parametrize(
    ("length", "reviews", "started", "networks"),
    [(100, 9_999, True, 8), (101, 9_999, True, 4), (100, 10_000, True, 4), (100, 9_999, False, 4)],
)
def test_short_texts_that_start_from_a_network_have_more_networks(
    length: int, reviews: int, started: bool, networks: int
) -> None:
    config = fit(load_recipe("fitted"), table([length] * reviews), 30, started=started)
    assert config.ensemble_size == networks


@pytest.mark.parametrize(
    ("reviews", "batch", "epochs"),
    [(40, 32, 30), (9_999, 32, 8), (10_000, 64, 8)],  # 8,000 of 10,000 are learnt from
)
def test_epochs_are_bounded_and_a_large_table_has_larger_batches(reviews: int, batch: int, epochs: int) -> None:
    config = fit(load_recipe("fitted"), table([20] * reviews), 9, started=False)
    assert (config.batch_size, config.epochs) == (batch, epochs)


@pytest.mark.parametrize(
    ("lengths", "length"),
    [([10] * 99 + [400] + [9] * 25, 10), ([600] * 125, 500), ([2] * 125, 8)],
)
def test_the_length_is_that_of_nearly_all_within_bounds(lengths: list[int], length: int) -> None:
    """The 98% quantile of the 100 that are learnt from; a few long reviews do not decide."""
    assert fit(load_recipe("fitted"), table(lengths), 9, started=False).sequence_length == length


def test_what_is_set_holds_and_another_recipe_is_left_alone() -> None:
    config = fit(load_recipe("fitted", ["epochs=3", "ensemble_size=3"]), table([20] * 1_000), 9, started=False)
    assert (config.epochs, config.ensemble_size, config.batch_size) == (3, 3, 32)
    assert "epochs" not in fitted_text(config)
    assert fit(TUNED, table([20] * 1_000), 9, started=False) == TUNED


def test_the_learnt_ids_end_at_the_first_word_that_no_review_has() -> None:
    """Words 4 to 8 are learnt, 9 and 10 are the base's, 11 is rare: it stands in a review, behind the base's."""
    content = table([3, 3], ids=9)
    content.tokens[1] = np.array([4, 11], np.int32)
    assert learnt_ids(content, 12) == (9, 11)
    assert learnt_ids(table([3], ids=9), 12) == (9, 12)
    assert learnt_ids(table([3], ids=9), 9) == (9, 9)


def test_a_start_may_have_another_number_of_networks_only_where_a_rule_chooses_how_many() -> None:
    """The base has two. A table that outgrew the rule for short texts starts from its champion all the same."""
    weights = base().scorer.weights
    assert agree(load_recipe("fitted"), weights)
    assert agree(load_recipe("fitted", ["ensemble_size=2"]), weights)
    assert not agree(load_recipe("fitted", ["ensemble_size=4"]), weights)
    assert not agree(load_recipe("fitted", ["units=5"]), weights)
