"""Tests of the forward pass against the network that it stands for."""

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from sentiment.model import build, weights_of
from sentiment.recipes import TrainConfig
from sentiment.scoring import Weights, forward, pad

SMALL = TrainConfig(vocabulary_size=30, sequence_length=11, embedding_size=6, units=5)


@pytest.fixture(scope="module")
def ids() -> NDArray[np.int32]:
    rng = np.random.default_rng(3)
    lengths = [0, 1, 2, 11, 11, 15, *rng.integers(0, 14, 58)]
    return pad([rng.integers(0, 30, length).tolist() for length in lengths], 11, 30)


@pytest.fixture(scope="module", params=[False, True], ids=["read", "masked"])
def network(request: pytest.FixtureRequest) -> keras.Model:
    """A network with large random weights, biases included, as fresh ones would leave those out of the test."""
    rng = np.random.default_rng(4)
    network = build(SMALL.model_copy(update={"mask_zero": request.param}))
    network.set_weights([rng.normal(0, 0.6, array.shape) for array in network.get_weights()])
    return network


@pytest.fixture(scope="module")
def weights(network: keras.Model) -> Weights:
    return weights_of(network)


def test_scores_agree_with_keras_to_a_millionth(
    network: keras.Model, weights: Weights, ids: NDArray[np.int32]
) -> None:
    expected = network.predict(ids, verbose=0)[:, 0]
    np.testing.assert_allclose(forward(weights, ids), expected, rtol=0, atol=1e-6)


def test_scores_agree_with_keras_in_float64_to_a_million_millionth(
    weights: Weights, ids: NDArray[np.int32]
) -> None:
    exact = keras.Sequential(
        [
            keras.Input((11,), dtype="int32"),
            keras.layers.Embedding(30, 6, mask_zero=weights.mask_zero, dtype="float64"),
            keras.layers.SimpleRNN(5, dtype="float64"),
            keras.layers.Dense(1, activation="sigmoid", dtype="float64"),
        ]
    )
    exact.set_weights([weights.embedding, weights.kernel, weights.recurrent_kernel, weights.bias,
                       weights.dense_kernel, weights.dense_bias])  # fmt: skip
    np.testing.assert_allclose(forward(weights, ids), exact.predict(ids, verbose=0)[:, 0], rtol=0, atol=1e-12)
