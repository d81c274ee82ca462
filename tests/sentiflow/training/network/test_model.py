"""Tests of the network."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from sentiflow.training.network.model import build, members_of, optimizer, summary_of, weights_of
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


def test_weights_of_members_are_those_of_each() -> None:
    network = build(MEMBERS)
    for ours, theirs in zip(weights_of(network).members, members_of(network), strict=True):
        np.testing.assert_array_equal(ours.embedding, theirs.get_layer("embedding").get_weights()[0])
        np.testing.assert_array_equal(ours.dense_kernel, theirs.get_layer("score").get_weights()[0])


def test_the_summary_names_layers_and_the_number_of_parameters(seed_network: keras.Model) -> None:
    for network, words in (
        (seed_network, ("embedding", "simple_rnn", "score", "643,137")),
        (build(MEMBERS), ("member_1", "member_2", "simple_rnn", "mean_of_members")),
    ):
        assert [word for word in words if word not in summary_of(network)] == []


@pytest.mark.parametrize("config", [BOTH_WAYS, MEMBERS], ids=["both ways", "members"])
def test_a_saved_network_comes_back_whole(tmp_path: Path, config: TrainConfig) -> None:
    network = build(config)
    network.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    ids = np.array([[0] * 497 + [1, 5, 8], [4] * 500], np.int32)
    np.testing.assert_array_equal(loaded.predict(ids, verbose=0), network.predict(ids, verbose=0))
    for one, other in zip(network.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("mask_zero", [False, True])
def test_padding_is_masked_when_the_recipe_says_so(mask_zero: bool) -> None:
    network = build(TUTORIAL.model_copy(update={"mask_zero": mask_zero}))
    assert network.get_layer("embedding").mask_zero is mask_zero


@pytest.mark.parametrize(
    ("name", "kind"),
    [("rmsprop", keras.optimizers.RMSprop), ("adam", keras.optimizers.Adam), ("sgd", keras.optimizers.SGD)],
)
def test_the_optimizer_is_made_with_the_recipes_rate(name: str, kind: type) -> None:
    found = optimizer(TrainConfig(optimizer=name, learning_rate=0.25), steps=1)
    assert (type(found), float(found.learning_rate)) == (kind, 0.25)


@pytest.mark.parametrize(("step", "rate"), [(0, 0.4), (50, 0.2), (100, 0)])
def test_a_cosine_falls_from_the_rate_through_its_half_to_nothing(step: int, rate: float) -> None:
    found = optimizer(TrainConfig(learning_rate=0.4, learning_rate_schedule="cosine"), steps=100)
    found.build([])
    found.iterations.assign(step)
    assert float(found.learning_rate) == pytest.approx(rate, abs=1e-7)


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


def test_the_recurrent_layer_is_the_tutorials_recurrence() -> None:
    """h_t = tanh(W_hh h_(t-1) + W_xh x_t + b), with columns for states; Keras keeps both matrices transposed."""
    rng = np.random.default_rng(6)
    layer = build(TrainConfig(vocabulary_size=9, sequence_length=7, embedding_size=3, units=4)).get_layer(
        "simple_rnn"
    )
    layer.set_weights([rng.normal(size=array.shape) for array in layer.get_weights()])
    w_xh, w_hh, b = (array.T.astype(np.float64) for array in layer.get_weights())
    x = rng.normal(size=(7, 3))
    h = np.zeros(4)
    for x_t in x:
        h = np.tanh(w_hh @ h + w_xh @ x_t + b)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(layer(x[np.newaxis].astype(np.float32)))[0], h, atol=1e-5
    )


def test_weights_of_names_each_array_as_keras_does(seed_network: keras.Model) -> None:
    weights = weights_of(seed_network)
    recurrent = seed_network.get_layer("simple_rnn").cell
    for ours, theirs in (
        (weights.embedding, seed_network.get_layer("embedding").embeddings),
        (weights.kernel, recurrent.kernel),
        (weights.recurrent_kernel, recurrent.recurrent_kernel),
        (weights.bias, recurrent.bias),
        (weights.dense_kernel, seed_network.get_layer("score").kernel),
        (weights.dense_bias, seed_network.get_layer("score").bias),
    ):
        np.testing.assert_array_equal(ours, keras.ops.convert_to_numpy(theirs), strict=True)


def test_weights_of_two_directions_names_those_of_the_way_back() -> None:
    network = build(BOTH_WAYS)
    weights, layer = weights_of(network), network.get_layer("simple_rnn")
    for ours, theirs in (
        (weights.kernel, layer.forward_layer.cell.kernel),
        (weights.bias, layer.forward_layer.cell.bias),
        (weights.backward_kernel, layer.backward_layer.cell.kernel),
        (weights.backward_recurrent_kernel, layer.backward_layer.cell.recurrent_kernel),
        (weights.backward_bias, layer.backward_layer.cell.bias),
    ):
        np.testing.assert_array_equal(ours, keras.ops.convert_to_numpy(theirs), strict=True)
    assert (weights.pooling, weights.mask_zero) == ("mean", True)


def test_weights_of_copies_so_that_later_training_does_not_reach_them() -> None:
    network = build(TrainConfig(vocabulary_size=9, embedding_size=3, units=4))
    before = weights_of(network)
    network.set_weights([np.full(array.shape, 9.0) for array in network.get_weights()])
    assert not (before.embedding == 9.0).any()


SETTINGS = """
{"backend": "jax", "floatx": "float16", "epsilon": 1, "image_data_format": "channels_first", "nnx_enabled": true}
"""
SHOW = """
print(keras.config.backend(), keras.config.floatx(), keras.config.epsilon(), keras.config.image_data_format(),
    keras.config.dtype_policy().name, keras.config.max_epochs(), keras.config.max_steps_per_epoch())
"""


@pytest.mark.story
@pytest.mark.parametrize("home", ["HOME", "KERAS_HOME"])
def test_what_a_user_has_set_for_keras_changes_nothing(tmp_path: Path, home: str) -> None:
    (tmp_path / ".keras").mkdir()
    (tmp_path / ".keras" / "keras.json").write_text(SETTINGS)
    code = f"import sentiflow.training.network.model, keras{SHOW}"
    own = {"KERAS_BACKEND": "torch", "KERAS_MAX_EPOCHS": "1", "KERAS_MAX_STEPS_PER_EPOCH": "1"}
    own[home] = str(tmp_path if home == "HOME" else tmp_path / ".keras")
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **own}, capture_output=True, text=True, check=True
    )
    assert done.stdout == "tensorflow float32 1e-07 channels_last float32 None None\n"


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
