"""The baselines that are networks: sizes, masks, training."""

import keras
import numpy as np
import pytest

from sentiflow.baselines import fit, networks
from sentiflow.baselines.networks import build
from sentiflow.baselines.simple import FitInput
from sentiflow.data.reviews import Reviews
from sentiflow.evaluation import Epoch
from sentiflow.training.recipes import TUNED

from .conftest import CONFIG, generated_reviews

pytestmark = pytest.mark.story

LEARNT, HELD_BACK, OTHERS = generated_reviews(64, 1), generated_reviews(24, 2), generated_reviews(20, 3)
NETWORKS = ("embeddings", "gru", "lstm")


@pytest.mark.parametrize(
    ("name", "behind"),
    [
        ("embeddings", 48 * 64 + 48 + 48 + 1),
        ("gru", 3 * (13 * 64 + 13 * 13 + 2 * 13) + 13 + 1),
        ("lstm", 4 * (10 * 64 + 10 * 10 + 10) + 10 + 1),
    ],
)
def test_networks_are_of_like_size_to_the_recipes(name: str, behind: int) -> None:
    """By hand; the recipe's has 640,000 numbers of embeddings and 3,137 behind them."""
    assert build(name, TUNED, 0).count_params() == 640_000 + behind
    assert abs(behind - 3_137) < 150


@pytest.mark.parametrize("name", NETWORKS)
def test_scores_do_not_depend_on_padding(name: str) -> None:
    """Red if a mask were lost."""
    network = build(name, CONFIG, 3)
    padded = OTHERS.padded(CONFIG.sequence_length, CONFIG.vocabulary_size)
    more = np.pad(padded, ((0, 0), (5, 0)))
    together = networks.scores_of(network, OTHERS, CONFIG)
    assert together == pytest.approx(network.predict(more, verbose=0)[:, 0], abs=1e-6)
    assert len(set(together.round(5))) > 10


def trained(name: str, seed: int) -> list[float]:
    epochs: list[Epoch] = []
    config = CONFIG.model_copy(update={"epochs": 1})
    fitted = fit(name, FitInput(LEARNT, HELD_BACK, config, seed, epochs.append))
    assert tuple(epochs) == fitted.history
    return fitted.score(OTHERS).tolist()


@pytest.mark.parametrize("name", ["embeddings", "gru"])
def test_the_same_seed_gives_the_same_scores(name: str) -> None:
    first = trained(name, 5)
    keras.utils.set_random_seed(99)
    assert first == trained(name, 5)


def test_the_epoch_of_the_lowest_validation_loss_is_what_scores() -> None:
    """Turned labels: what is learnt makes the held back reviews worse, and the first epoch is the best."""
    turned = Reviews(HELD_BACK.review_id, HELD_BACK.split, (1 - HELD_BACK.label).astype(np.int8), HELD_BACK.tokens)
    config = CONFIG.model_copy(update={"epochs": 12})
    fitted = fit("embeddings", FitInput(generated_reviews(2_000, 4), turned, config, 1))
    losses = [epoch.val_loss for epoch in fitted.history]
    assert fitted.val_loss == min(losses) < losses[-1]
    scores = fitted.score(turned)
    right = np.where(turned.label == 1, scores, 1 - scores)
    assert -np.log(right).mean() == pytest.approx(fitted.val_loss, abs=1e-5)
