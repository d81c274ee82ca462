"""N-grams beside a network in stock Keras layers, and how they come beside it."""

from pathlib import Path

import keras
import numpy as np
import pytest

from sentiflow.baselines import fit
from sentiflow.data.reviews import Reviews
from sentiflow.evaluation.metrics import cross_entropy
from sentiflow.scoring import Network, NGrams, TextScorer, Vocabulary
from sentiflow.scoring.ngrams import occurrences
from sentiflow.training.network.model import build, weights_of, with_ngrams
from sentiflow.training.recipes import TrainConfig
from tests.against_keras import check_scores, held_by

CONFIG = TrainConfig(
    recipe="tiny", vocabulary_size=8, sequence_length=5, embedding_size=4, units=3, mask_zero=True
)
WORDS = Vocabulary([f"w{number}" for number in range(6)])  # ids 4 to 9; the network knows 4 to 7
KINDS = {}, {"ensemble_size": 2, "bidirectional": True, "pooling": "mixed"}


def random_reviews(n: int, seed: int, noise: float = 0.2) -> Reviews:
    """Good where word 4 stands right before 5; some labels are turned."""
    rng = np.random.default_rng(seed)
    tokens = [np.array([1, *rng.integers(4, 10, rng.integers(2, 9))], np.int32) for _ in range(n)]
    good = np.array([any((ids[:-1] == 4) & (ids[1:] == 5)) for ids in tokens])
    label = (good ^ (rng.random(n) < noise)).astype(np.int8)
    return Reviews(np.array([f"{seed}-{i}" for i in range(n)]), np.full(n, "train"), label, tokens)


@pytest.mark.parametrize("kind", KINDS)
def test_plain_keras_loads_the_stock_layers_and_gives_the_scores(kind: dict[str, object], tmp_path: Path) -> None:
    network = build(CONFIG.model_copy(update=kind), seed=3)
    rng = np.random.default_rng(0)
    content = random_reviews(200, 0)
    keys = np.unique(occurrences(content.tokens, 3)[0])[::2]
    ngrams = NGrams(keys, rng.normal(size=len(keys)).astype(np.float32), -0.25, 0.5)
    with_ngrams(network, ngrams).save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    scores = TextScorer(weights_of(network), WORDS, 5, ngrams=ngrams).score_ids(content.tokens)
    check_scores(scores, loaded, {"ids": content.padded(5, 8), "ngrams": held_by(content.tokens, ngrams)})
    assert loaded.count_params() == network.count_params() + len(keys) + 1  # and a zero for padding


def test_validation_chooses_factors_that_no_others_beat_by_much() -> None:
    network = weights_of(build(CONFIG, seed=3))
    held_out = random_reviews(300, 2)
    fitted = fit(random_reviews(600, 1), held_out)
    found = fitted.beside(network, 5, held_out)
    assert found is not None
    ngrams, mixed = found
    loss, accuracy = cross_entropy(held_out.label, mixed), ((mixed > 0.5) == (held_out.label == 1)).mean()
    odds = Network(network).log_odds(held_out.padded(5, 8))[0]

    def loss_of(one: float, other: float) -> float:
        scores = 1 / (1 + np.exp(-one * odds - other * fitted.held_out))
        return float(-np.log(np.where(held_out.label == 1, scores, 1 - scores)).mean())

    assert loss <= min(loss_of(*each) for each in np.random.default_rng(0).uniform(0, 2, (400, 2))) + 1e-4
    factor = ngrams.weights[ngrams.weights != 0][0] / fitted.ngrams.weights[fitted.ngrams.weights != 0][0]
    assert loss == pytest.approx(loss_of(ngrams.network, float(factor)), abs=1e-5)
    assert 0.7 < accuracy < 0.85  # a fifth of the labels say something else


def test_n_grams_that_tell_nothing_are_left_out() -> None:
    network = weights_of(build(CONFIG, seed=3))
    turned = random_reviews(300, 2, noise=0.5)
    assert fit(random_reviews(600, 1, noise=0.5), turned).beside(network, 5, turned) is None
