"""Tests of the fast network against stock Keras: same weights, same scores, same gradients, same training."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from sentiflow.scoring import Network
from sentiflow.training.network.fast import FastNetwork
from sentiflow.training.network.model import build, members_of, optimizer, weights_of
from sentiflow.training.recipes import TUTORIAL, TrainConfig

SMALL = TrainConfig(recipe="small", vocabulary_size=30, sequence_length=12, embedding_size=6, units=8)
Batch = tuple[NDArray[np.int32], NDArray[np.float32]]


KINDS: dict[str, dict[str, object]] = {
    "read": {"mask_zero": False},
    "masked": {"mask_zero": True},
    "mean": {"mask_zero": True, "pooling": "mean"},
    "both ways": {"mask_zero": True, "bidirectional": True},
    "mean both ways": {"mask_zero": True, "bidirectional": True, "pooling": "mean"},
    "members": {"mask_zero": True, "pooling": "mixed", "ensemble_size": 2},
}


def config(shape: TrainConfig, kind: str) -> TrainConfig:
    return shape.model_copy(update=KINDS[kind])


def batch(of: TrainConfig, reviews: int, seed: int = 0) -> Batch:
    """Reviews as long as IMDB's: most in the length, some cut, one of padding alone.

    With a mean it has one word: the mean of no state is no number to Keras.
    """
    rng = np.random.default_rng(seed)
    ids = rng.integers(1, of.vocabulary_size, size=(reviews, of.sequence_length)).astype(np.int32)
    lengths = np.exp(rng.normal(np.log(of.sequence_length * 0.36), 0.75, reviews)).astype(int)
    lengths[0] = 0
    lengths = np.maximum(lengths, of.pooling != "last")
    for row, length in zip(ids, lengths, strict=True):
        row[: max(0, of.sequence_length - length)] = 0
    return ids, rng.integers(0, 2, size=(reviews, 1)).astype(np.float32)


def fast(
    stock: keras.Model,
    of: TrainConfig,
    vocabulary_dropout: float = 0.0,
    dropout: float = 0.0,
    *,
    gather: bool = False,
) -> FastNetwork:
    return FastNetwork(stock, optimizer(of, 1), vocabulary_dropout, dropout, gather=gather)


def gradients(network: keras.Model, variables: list[keras.Variable], ids: object, labels: object) -> list[object]:
    """The sum of the members' losses by the variables."""
    if isinstance(network, FastNetwork):
        derived, _, _ = network.derive([(ids, labels)] * len(members_of(network.stock)))
        by_variable = {
            id(variable): one for variable, one in zip(network.trainable_variables, derived, strict=True)
        }
        found = [by_variable[id(variable)] for variable in variables]
    else:
        with tf.GradientTape() as tape:
            scores = [member(ids, training=True) for member in members_of(network)]
            loss = tf.add_n([tf.reduce_mean(keras.losses.binary_crossentropy(labels, one)) for one in scores])
        found = tape.gradient(loss, [variable.value for variable in variables])
    return [np.asarray(tf.convert_to_tensor(one)) for one in found]


# Stock Keras takes seconds for each at the tutorial's shape: there not each kind, and not both ways.
SHORTER = TUTORIAL.model_copy(update={"sequence_length": 100})
both_shapes = pytest.mark.parametrize(
    ("shape", "kind"),
    [
        *(pytest.param(SMALL, kind, id=f"small, {kind}") for kind in KINDS),
        pytest.param(TUTORIAL, "read", id="tutorial, read"),
        pytest.param(TUTORIAL, "masked", id="tutorial, masked", marks=pytest.mark.story),
        pytest.param(SHORTER, "mean both ways", id="shorter, mean both ways", marks=pytest.mark.story),
    ],
)


@both_shapes
def test_scores_are_those_of_stock_keras_and_of_the_scorer_to_1e_5(shape: TrainConfig, kind: str) -> None:
    of = config(shape, kind)
    stock, (ids, _) = build(of), batch(of, 64)
    scores = fast(stock, of).predict(ids, verbose=0)[:, 0]
    np.testing.assert_allclose(scores, stock.predict(ids, verbose=0)[:, 0], atol=1e-5)
    np.testing.assert_allclose(scores, Network(weights_of(stock)).score(ids), atol=1e-5)


@pytest.mark.parametrize("gather", [False, True])
@both_shapes
def test_gradients_are_stock_keras(shape: TrainConfig, kind: str, gather: bool) -> None:
    """Red if a share of a gradient is missing: that of the padding, of the bias, of a review, of a word."""
    of = config(shape, kind)
    stock, (ids, labels) = build(of), batch(of, 32)
    # Larger than at the start, so that what is far back still counts.
    stock.set_weights([array * 1.1 + 0.01 for array in stock.get_weights()])
    ours = gradients(fast(stock, of, gather=gather), stock.trainable_variables, ids, labels)
    theirs = gradients(stock, stock.trainable_variables, ids, labels)
    for variable, one, other in zip(stock.trainable_variables, ours, theirs, strict=True):
        # Stock Keras's own rounding, against itself in float64, is up to 1.3e-5 of the largest.
        np.testing.assert_allclose(one, other, rtol=0, atol=5e-5 * np.abs(other).max(), err_msg=variable.path)


class Summed(keras.Model):
    """Stock Keras, but that its optimizer is handed a word's gradients summed, as the maths of the optimizer says.

    Keras hands over one gradient for each time that a word occurs, and rmsprop and adam then sum their squares
    instead of squaring their sum: decision 0005.
    """

    def __init__(self, network: keras.Model) -> None:
        super().__init__()
        self.network, self.built = network, True

    def call(self, ids: object, training: bool = False) -> object:
        return self.network(ids, training=training)

    def train_step(self, data: object) -> dict[str, object]:
        ids, labels, _ = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            loss = self.compute_loss(ids, labels, self(ids, training=True))
        found = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply([tf.convert_to_tensor(one) for one in found], self.trainable_variables)
        return {"loss": loss}


def assert_an_epoch_is_alike(of: TrainConfig, ids: NDArray[np.int32], labels: object, *, summed: bool) -> None:
    """One epoch by the core and one by Keras, from the same weights, on the same batches in the same order."""
    stock, other = build(of), build(of)
    first = [array.copy() for array in stock.get_weights()]
    other.set_weights(first)
    reference = Summed(other) if summed else other
    reference.compile(optimizer(of, 1), "binary_crossentropy")
    for network in (fast(stock, of), reference):
        network.fit(ids, labels, batch_size=of.batch_size, epochs=1, shuffle=False, verbose=0)
    for before, ours, theirs in zip(first, stock.get_weights(), other.get_weights(), strict=True):
        moved = np.abs(theirs - before).max()
        assert moved > 2e-3  # or agreement would say nothing
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=min(1e-3, moved / 100))
    np.testing.assert_allclose(stock.predict(ids, verbose=0), other.predict(ids, verbose=0), rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("kind", "name", "rate"),
    [
        ("read", "adam", 0.01),
        ("read", "rmsprop", 0.01),
        pytest.param("masked", "sgd", 1.0, marks=pytest.mark.story),
        pytest.param("masked", "adam", 0.01, marks=pytest.mark.story),
        pytest.param("mean both ways", "sgd", 1.0, marks=pytest.mark.story),
    ],
)
def test_an_epoch_trains_as_keras_does(kind: str, name: str, rate: float) -> None:
    changes = {"optimizer": name, "batch_size": 16, "learning_rate": rate, **KINDS[kind]}
    of = SMALL.model_copy(update=changes)
    assert_an_epoch_is_alike(of, *batch(of, 200), summed=name != "sgd")


def test_members_are_trained_as_if_each_were_alone_on_batches_of_its_own() -> None:
    """Red if their loss were that of the mean of their scores: each would then learn what the others get wrong."""
    of = config(SMALL, "members").model_copy(update={"optimizer": "sgd", "learning_rate": 1.0})
    shares = [batch(of, 60, seed) for seed in (0, 1)]
    together = build(of)
    alone = [build(of.model_copy(update={"ensemble_size": 1, "pooling": pooling})) for pooling in ("mean", "last")]
    for one, member in zip(alone, members_of(together), strict=True):
        one.set_weights(member.get_weights())
    core = fast(together, of)
    both = tuple(np.stack(parts) for parts in zip(*shares, strict=True))
    core.fit(tf.data.Dataset.from_tensors(both).repeat(3), verbose=0)
    for one, share in zip(alone, shares, strict=True):
        fast(one, of).fit(*share, batch_size=60, epochs=3, shuffle=False, verbose=0)
    for one, member in zip(alone, members_of(together), strict=True):
        for ours, theirs in zip(member.get_weights(), one.get_weights(), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)


# Trains `large` in small; prints a digest of its weights, and how many recurrences worked at once.
TRAIN = """
import hashlib, sys, threading
import numpy as np
import tensorflow as tf
from sentiflow.data.reviews import Reviews
from sentiflow.training.network import loop as training
from sentiflow.training.network.recurrence import Recurrence
from sentiflow.training.recipes import load_recipe

tf.config.threading.set_inter_op_parallelism_threads(int(sys.argv[1]))

def counted(work):
    def count(*given):
        global working, most
        with lock:
            working += 1
            most = max(most, working)
        try:
            return work(*given)
        finally:
            with lock:
                working -= 1
    return count

lock, working, most = threading.Lock(), 0, 0
Recurrence.read, Recurrence.gradients = counted(Recurrence.read), counted(Recurrence.gradients)
source = np.random.default_rng(0)
tokens = [source.integers(1, 1_000, length).astype(np.int32) for length in source.integers(50, 250, 320)]
labels = source.integers(0, 2, 320).astype(np.int8)
reviews = Reviews(np.array([str(k) for k in range(320)]), np.full(320, "train"), labels, tokens)
config = load_recipe("large", ["epochs=1", "sequence_length=200", "vocabulary_size=1000"])
network = training.train(reviews, reviews, config, seed=0).network
print(hashlib.sha256(b"".join(each.tobytes() for each in network.get_weights())).hexdigest(), most)
"""


@pytest.mark.story
@pytest.mark.weekly
def test_members_and_directions_are_read_side_by_side_with_the_same_weights_for_any_number_of_threads() -> None:
    """Red if they wait for each other, or if a sum depends on who comes first."""
    found = {}
    for threads in (1, 8):
        done = subprocess.run([sys.executable, "-c", TRAIN, str(threads)], stdout=subprocess.PIPE, check=True)
        weights, at_once = done.stdout.decode().split()
        found[threads] = weights, int(at_once)
    assert len({weights for weights, _ in found.values()}) == 1
    assert found[1][1] == 1 and found[8][1] > 2  # of four members, each in two directions


@pytest.mark.parametrize("gather", [False, True])
def test_dropped_words_get_no_gradient_and_others_do(gather: bool) -> None:
    """Half of 30 words: 15 within 5 standard deviations of 2.7."""
    stock, (ids, labels) = build(SMALL), batch(SMALL, 200)
    embedding = stock.get_layer("embedding").embeddings
    (found,) = gradients(fast(stock, SMALL, vocabulary_dropout=0.5, gather=gather), [embedding], ids, labels)
    rows = np.abs(np.asarray(found)).sum(axis=1)
    assert 2 <= (rows == 0).sum() <= 28


def test_nothing_is_dropped_when_scoring() -> None:
    stock, (ids, _) = build(SMALL), batch(SMALL, 20)
    core = fast(stock, SMALL, vocabulary_dropout=0.9, dropout=0.9)
    np.testing.assert_allclose(core.predict(ids, verbose=0), stock.predict(ids, verbose=0), atol=1e-5)
