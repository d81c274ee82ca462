"""Tests of the forward pass against the network that it stands for."""

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from sentiflow.scoring import Network, Weights, pad
from sentiflow.training.network.model import build, weights_of
from sentiflow.training.recipes import TrainConfig
from tests.against_keras import in_float64

SMALL = TrainConfig(vocabulary_size=30, sequence_length=11, embedding_size=6, units=5)
KINDS: dict[str, dict[str, object]] = {
    "read": {},
    "masked": {"mask_zero": True},
    "mean": {"mask_zero": True, "pooling": "mean"},
    "both ways": {"mask_zero": True, "bidirectional": True},
    "mean both ways": {"mask_zero": True, "bidirectional": True, "pooling": "mean"},
    "members": {"mask_zero": True, "bidirectional": True, "pooling": "mixed", "ensemble_size": 3},
}


@pytest.fixture(scope="module", params=KINDS.values(), ids=KINDS)
def config(request: pytest.FixtureRequest) -> TrainConfig:
    return SMALL.model_copy(update=request.param)


@pytest.fixture(scope="module")
def ids(config: TrainConfig) -> NDArray[np.int32]:
    """Reviews of many lengths, one of padding alone, but for a mean: that of no state is no number to Keras."""
    rng = np.random.default_rng(3)
    lengths = [0, 1, 2, 11, 11, 15, *rng.integers(0, 14, 58)]
    ids = pad([rng.integers(0, 30, length).tolist() for length in lengths], 11, 30)
    return ids[ids.any(axis=1)] if config.pooling != "last" else ids


@pytest.fixture(scope="module")
def network(config: TrainConfig) -> keras.Model:
    """A network with large random weights, biases included, as fresh ones would leave those out of the test."""
    rng = np.random.default_rng(4)
    network = build(config)
    network.set_weights([rng.normal(0, 0.6, array.shape) for array in network.get_weights()])
    return network


@pytest.fixture(scope="module")
def weights(network: keras.Model) -> Weights:
    return weights_of(network)


def test_scores_agree_with_keras_to_a_millionth(
    network: keras.Model, weights: Weights, ids: NDArray[np.int32]
) -> None:
    expected = network.predict(ids, verbose=0)[:, 0]
    np.testing.assert_allclose(Network(weights).score(ids), expected, rtol=0, atol=1e-6)


def test_scores_agree_with_keras_in_float64_to_a_million_millionth(
    network: keras.Model, weights: Weights, ids: NDArray[np.int32]
) -> None:
    expected = in_float64(network).predict(ids, verbose=0)[:, 0]
    np.testing.assert_allclose(Network(weights).score(ids), expected, rtol=0, atol=1e-12)
