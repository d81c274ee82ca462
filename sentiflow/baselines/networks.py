"""The baselines that train a network."""

import random
from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from sentiflow.baselines import models
from sentiflow.baselines.models import EFFORTS, Fitted, Floats
from sentiflow.data.reviews import Reviews
from sentiflow.errors import UsageError
from sentiflow.network.history import Epoch, best_epoch
from sentiflow.network.model import build as build_recipe
from sentiflow.network.model import summary_of
from sentiflow.network.training import Diverged, Recorder
from sentiflow.progress import Progress
from sentiflow.recipes import TrainConfig

_PER_WORD = (None, None, 1)  # a word is left out as a whole


def build(name: str, config: TrainConfig, seed: int) -> keras.Model:
    """Build a network of like size to the recipe's; ids of shape (n, any length) in, (n, 1) out.

    Padding is left out wherever it stands, whatever the recipe does.

    Args:
        name: embeddings, gru or lstm.
        config: the recipe that it is held against.
        seed: of the first weights, and of what is left out while training.
    """
    effort = EFFORTS[name]
    source = random.Random(f"{name} {seed}")
    seeds = [source.getrandbits(31) for _ in range(6)]
    return keras.Sequential(
        [
            keras.Input((None,), dtype="int32", name="ids"),
            keras.layers.Embedding(
                config.vocabulary_size,
                config.embedding_size,
                embeddings_initializer=keras.initializers.RandomUniform(seed=seeds[0]),
                mask_zero=True,
                name="embedding",
            ),
            keras.layers.Dropout(effort.word_dropout, _PER_WORD, seed=seeds[1], name="word_dropout"),
            *_readers(name, units_of(name, config), seeds[2:4]),
            keras.layers.Dropout(effort.dropout, seed=seeds[4], name="dropout"),
            keras.layers.Dense(
                1,
                activation="sigmoid",
                kernel_initializer=keras.initializers.GlorotUniform(seed=seeds[5]),
                name="score",
            ),
        ],
        name=name,
    )


def units_of(name: str, config: TrainConfig) -> int:
    """Units that bring the parameters nearest to those of one member of the recipe's; the fewer of equals."""
    one = config.model_copy(update={"members": 1})
    target = build_recipe(one).count_params() - config.vocabulary_size * config.embedding_size
    size, best = 1, 1
    while _parameters(name, config.embedding_size, size) <= target:
        best, size = size, size + 1
    distances = {units: abs(_parameters(name, config.embedding_size, units) - target) for units in (best, size)}
    return min(distances, key=distances.__getitem__)


def _parameters(name: str, d: int, u: int) -> int:
    """Parameters behind an embedding of size d, with u units; a gate has d u + u u weights and its biases."""
    reader = {
        "embeddings": d * u + u,
        "gru": 3 * (d * u + u * u + 2 * u),  # Keras's reset_after: a bias for the words, one for the state
        "lstm": 4 * (d * u + u * u + u),
    }
    return reader[name] + u + 1


def _readers(name: str, units: int, seeds: list[int]) -> list[keras.layers.Layer]:
    """The layers that make one vector of a review."""
    kernel = keras.initializers.GlorotUniform(seed=seeds[0])
    if name == "embeddings":
        dense = keras.layers.Dense(units, activation="relu", kernel_initializer=kernel, name="dense")
        return [keras.layers.GlobalAveragePooling1D(name="mean"), dense]
    recurrent = keras.initializers.Orthogonal(seed=seeds[1])
    layer = {"gru": keras.layers.GRU, "lstm": keras.layers.LSTM}[name]
    return [layer(units, kernel_initializer=kernel, recurrent_initializer=recurrent, name=name)]


_POOL = 32  # batches that are sorted by length together: enough to save padding, few enough to stay mixed
_SCORED = 512  # reviews that are scored at once
_IDS = tf.TensorSpec((None, None), tf.int32)

Rows = NDArray[np.int64]
Plan = Callable[[], list[Rows]]


def fit(
    name: str,
    training: Reviews,
    validation: Reviews,
    config: TrainConfig,
    seed: int,
    on_epoch: Callable[[Epoch], None],
    progress: Progress,
) -> Fitted:
    """Train embeddings, gru or lstm; the validation split chooses the epoch.

    The same arguments on the same machine give the same weights: TensorFlow's operations are made deterministic
    for the whole process.

    Raises:
        UsageError: the loss became NaN or infinite.
    """
    tf.config.experimental.enable_op_determinism()
    tf.random.set_seed(seed)
    network = build(name, config, seed)
    history = _train(network, training, validation, config, seed, on_epoch, progress)
    kept = best_epoch(history)

    def score(reviews: Reviews) -> Floats:
        return scores_of(network, reviews, config)

    return Fitted(
        score, network.count_params(), kept.val_loss, kept.val_accuracy, {"units": _units(network)},
        summary_of(network), tuple(history),
    )  # fmt: skip


def _train(
    network: keras.Model,
    training: Reviews,
    validation: Reviews,
    config: TrainConfig,
    seed: int,
    on_epoch: Callable[[Epoch], None],
    progress: Progress,
) -> list[Epoch]:
    """Train a network that ``build`` made, in place; it is left with the weights of the best epoch."""
    effort, epochs = models.EFFORTS[network.name], models.epochs(network.name, config)
    optimizer = keras.optimizers.Adam(effort.learning_rate, use_ema=True, ema_momentum=effort.ema_momentum)
    # Not by XLA: it would compile anew for each length.
    network.compile(optimizer, "binary_crossentropy", metrics=["accuracy"], jit_compile=False)
    recorder = Recorder(len(training), epochs, on_epoch, progress)
    callbacks = [
        keras.callbacks.SwapEMAWeights(swap_on_epoch=True),  # first: the others are to see the average
        recorder,
        keras.callbacks.EarlyStopping("val_loss", patience=effort.patience, restore_best_weights=True),
    ]
    learnt = _batches(training, config, _mixed(training, config, effort.batch_size, seed))
    held_back = _batches(validation, config, _in_order(validation, config))
    try:
        with threadpool_limits(1, user_api="blas"):
            network.fit(
                learnt, validation_data=held_back, epochs=epochs, callbacks=callbacks, shuffle=False, verbose=0
            )
    except Diverged as err:
        raise UsageError(
            f"The baseline {network.name} diverged in epoch {recorder.epoch}.",
            "Leave it out: --only with the others.",
        ) from err
    finally:
        recorder.close()
    return recorder.history


def scores_of(network: keras.Model, reviews: Reviews, config: TrainConfig) -> Floats:
    """Score reviews, shape (n,), in batches of like length."""
    ids = reviews.padded(config.sequence_length, config.vocabulary_size)
    lengths = _lengths(reviews, config)
    read = tf.function(lambda batch: network(batch, training=False)[:, 0], [_IDS])
    scores = np.empty(len(reviews))
    for rows in _in_order(reviews, config)():
        scores[rows] = read(ids[rows, -lengths[rows].max() :]).numpy()
    return scores


def _units(network: keras.Model) -> int:
    """Size of the vector that the score is made of."""
    return int(network.get_layer("score").kernel.shape[0])


def _lengths(reviews: Reviews, config: TrainConfig) -> Rows:
    return np.minimum(reviews.n_tokens, config.sequence_length).astype(np.int64)


def _in_order(reviews: Reviews, config: TrainConfig) -> Plan:
    """Batches from the shortest review to the longest."""
    order = np.argsort(_lengths(reviews, config), kind="stable")
    batches = [order[first : first + _SCORED] for first in range(0, len(order), _SCORED)]
    return lambda: batches


def _mixed(reviews: Reviews, config: TrainConfig, size: int, seed: int) -> Plan:
    """Batches of reviews of like length, mixed anew each time."""
    lengths, source = _lengths(reviews, config), np.random.default_rng(seed)

    def plan() -> list[Rows]:
        mixed = source.permutation(len(lengths))
        batches = []
        for first in range(0, len(mixed), size * _POOL):
            pool = mixed[first : first + size * _POOL]
            pool = pool[np.argsort(lengths[pool], kind="stable")]
            batches += [pool[start : start + size] for start in range(0, len(pool), size)]
        return [batches[i] for i in source.permutation(len(batches))]

    return plan


def _batches(reviews: Reviews, config: TrainConfig, plan: Plan) -> tf.data.Dataset:
    """Pairs of ids (n, length) and labels (n,), without the padding that a whole batch shares.

    A network that leaves padding out gives the same with it, in twice the steps on the IMDB reviews.
    """
    ids = reviews.padded(config.sequence_length, config.vocabulary_size)
    lengths = _lengths(reviews, config)

    def pairs() -> Iterator[tuple[NDArray[np.int32], NDArray[np.int8]]]:
        for rows in plan():
            yield ids[rows, -lengths[rows].max() :], reviews.label[rows]

    count = len(plan())
    made = tf.data.Dataset.from_generator(pairs, output_signature=(_IDS, tf.TensorSpec((None,), tf.int8)))
    return made.apply(tf.data.experimental.assert_cardinality(count))
