"""Tests of the network."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from sentiflow.training.network.model import build, members_of, optimizer, weights_of
from sentiflow.training.recipes import TUTORIAL, TrainConfig


@pytest.fixture(scope="module")
def seed_network() -> keras.Model:
    return build(TUTORIAL)


def test_the_seed_recipe_has_the_tutorials_layers_and_parameters_and_all_are_trained(
    seed_network: keras.Model,
) -> None:
    stock = [keras.layers.Embedding, keras.layers.SimpleRNN, keras.layers.Dense]
    assert [type(layer) for layer in seed_network.layers] == stock
    # 10,000 * 64; 64 * 32 + 32 * 32 + 32; 32 + 1
    assert [layer.count_params() for layer in seed_network.layers] == [640_000, 3_104, 33]
    assert sum(int(np.prod(array.shape)) for array in seed_network.trainable_weights) == 643_137
    assert (seed_network.input_shape, seed_network.output_shape) == ((None, 500), (None, 1))


BOTH_WAYS = TrainConfig(
    vocabulary_size=9, embedding_size=3, units=4, mask_zero=True, bidirectional=True, pooling="mean"
)


def test_a_mean_of_two_directions_is_four_stock_layers() -> None:
    network = build(BOTH_WAYS)
    layers = keras.layers
    stock = [layers.Embedding, layers.Bidirectional, layers.GlobalAveragePooling1D, layers.Dense]
    assert [type(layer) for layer in network.layers] == stock
    # 9 * 3; twice 3 * 4 + 4 * 4 + 4; nothing; 8 + 1
    assert [layer.count_params() for layer in network.layers] == [27, 64, 0, 9]


def test_the_two_directions_start_from_numbers_of_their_own() -> None:
    """Red if the second were made from the first one's description, its seeds included, as Keras does."""
    weights = weights_of(build(BOTH_WAYS))
    assert weights.backward_kernel is not None
    assert not np.isclose(weights.kernel, weights.backward_kernel).any()
    assert np.abs(weights.recurrent_kernel - weights.backward_recurrent_kernel).max() > 0.1


MEMBERS = BOTH_WAYS.model_copy(update={"ensemble_size": 2})


def test_members_are_networks_of_their_own_whose_scores_are_averaged() -> None:
    network = build(MEMBERS)
    one, other = members_of(network)
    assert network.count_params() == 2 * build(BOTH_WAYS).count_params()
    ids = np.array([[0] * 497 + [1, 5, 8], [4] * 500], np.int32)
    scores = [member.predict(ids, verbose=0) for member in (one, other)]
    assert np.abs(scores[0] - scores[1]).max() > 1e-4
    np.testing.assert_allclose(network.predict(ids, verbose=0), (scores[0] + scores[1]) / 2, rtol=1e-6)


def test_the_first_member_starts_as_the_network_without_others() -> None:
    for ours, theirs in zip(
        members_of(build(MEMBERS, 3))[0].get_weights(), build(BOTH_WAYS, 3).get_weights(), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_mixed_members_take_turns_between_the_mean_and_the_last_state() -> None:
    network = build(MEMBERS.model_copy(update={"pooling": "mixed", "ensemble_size": 3}))
    assert [member.pooling for member in weights_of(network).members] == ["mean", "last", "mean"]


@pytest.mark.parametrize("config", [BOTH_WAYS, MEMBERS], ids=["both ways", "members"])
def test_a_saved_network_comes_back_whole(tmp_path: Path, config: TrainConfig) -> None:
    network = build(config)
    network.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    ids = np.array([[0] * 497 + [1, 5, 8], [4] * 500], np.int32)
    np.testing.assert_array_equal(loaded.predict(ids, verbose=0), network.predict(ids, verbose=0))
    for one, other in zip(network.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_gradients_are_cut_to_the_norm_that_they_have_together() -> None:
    """Two gradients of norm 3 and 4 have 5 together: cut to 1, a step of 1 takes a fifth of each."""
    variables = [keras.Variable([0.0]), keras.Variable([0.0])]
    found = optimizer(TrainConfig(optimizer="sgd", learning_rate=1, global_clipnorm=1), steps=1)
    found.apply([keras.ops.array([3.0]), keras.ops.array([4.0])], variables)
    assert [float(variable.numpy()[0]) for variable in variables] == pytest.approx([-0.6, -0.8])


def test_the_recurrent_kernel_starts_as_the_recipe_says() -> None:
    small = TrainConfig(vocabulary_size=9, embedding_size=3, units=4)
    changes = {"recurrent_initializer": "identity", "recurrent_init_scale": 0.95}
    identity = weights_of(build(small.model_copy(update=changes))).recurrent_kernel
    np.testing.assert_allclose(identity, 0.95 * np.eye(4), rtol=1e-6)
    random = weights_of(build(small)).recurrent_kernel
    np.testing.assert_allclose(random @ random.T, np.eye(4), atol=1e-6)
    assert np.abs(random - np.diag(np.diag(random))).max() > 0.01


def test_weight_decay_takes_from_the_embedding_alone() -> None:
    """Without gradients: 1 less 0.5 times 0.1 for each word's numbers, and everything else as it was."""
    network = build(TrainConfig(vocabulary_size=9, embedding_size=3, units=4))
    network.set_weights([np.ones(array.shape) for array in network.get_weights()])
    found = optimizer(TrainConfig(optimizer="adam", learning_rate=0.1, embedding_weight_decay=0.5), steps=1)
    variables = network.trainable_variables
    found.apply([keras.ops.zeros(variable.shape) for variable in variables], variables)
    assert [np.unique(array).tolist() for array in network.get_weights()] == [[pytest.approx(0.95)], *[[1]] * 5]


SHOW = """
print(keras.config.backend(), keras.config.floatx(), keras.config.epsilon(), keras.config.image_data_format(),
    keras.config.dtype_policy().name, keras.config.max_epochs(), keras.config.max_steps_per_epoch())
"""


@pytest.mark.story
def test_what_a_program_has_set_for_keras_before_changes_nothing(tmp_path: Path) -> None:
    """Red if a program that imported Keras first trained with half the precision, or stopped after a batch."""
    settings = {"floatx": "float16", "epsilon": 0.1, "image_data_format": "channels_first"}
    (tmp_path / "keras.json").write_text(json.dumps(settings))
    code = (
        "import os, keras\n"
        "keras.layers.Dense(1)\n"
        "keras.config.set_max_epochs(1); keras.config.set_max_steps_per_epoch(1); del os.environ['KERAS_HOME']\n"
        f"import sentiflow.training.network.model{SHOW}"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "KERAS_HOME": str(tmp_path)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "tensorflow float32 1e-07 channels_last float32 None None\n"
