"""Training the baselines that are networks, by Keras's own layers."""

from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from sentiment.baselines import effort as efforts
from sentiment.baselines.fitted import Fitted, Floats
from sentiment.baselines.networks import build
from sentiment.callbacks import Diverged, Recorder
from sentiment.data.reviews import Reviews
from sentiment.errors import UsageError
from sentiment.history import Epoch, best_epoch
from sentiment.model import summary_of
from sentiment.progress import Progress
from sentiment.recipes import TrainConfig

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
    effort, epochs = efforts.EFFORTS[network.name], efforts.epochs(network.name, config)
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
