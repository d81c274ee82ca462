"""Training of the network, epoch by epoch; from the words and weights of another, if one is given."""

import math
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from sentiflow import signals
from sentiflow.console import Progress, no_progress
from sentiflow.data.reviews import Reviews
from sentiflow.errors import DivergedError, UsageError
from sentiflow.evaluation.scores import Epoch
from sentiflow.scoring import ONE_BLAS_THREAD, TextScorer, Vocabulary, Weights
from sentiflow.scoring.vocabulary import FIRST_WORD
from sentiflow.training.fitting import learnt_ids
from sentiflow.training.network.fast import FastNetwork
from sentiflow.training.network.model import (
    build,
    first_weights,
    optimizer,
    prepare_to_fit,
    set_weights,
    weights_of,
    widened,
)
from sentiflow.training.recipes import TrainConfig


class Recorder(keras.callbacks.Callback):  # type: ignore[misc]
    """Turns Keras's events into epochs and progress; ``epoch`` is the number of the one that goes on."""

    def __init__(self, reviews: int, epochs: int, on_epoch: Callable[[Epoch], None], progress: Progress) -> None:
        super().__init__()
        self.history: list[Epoch] = []
        self.epoch = 1
        self.epochs, self._reviews = epochs, reviews
        self._on_epoch, self._progress = on_epoch, progress
        self._bar = ExitStack()

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        self.epoch = epoch + 1
        self._started = time.perf_counter()
        bar = self._progress(f"epoch {epoch + 1}/{self.epochs}", self.params["steps"])
        self._advance, self._done = self._bar.enter_context(bar), 0

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Move the bar on, to this batch: several were done at once."""
        _check(logs)
        done = min(batch + 1, self.params["steps"])
        self._advance(done - self._done)
        self._done = done

    def on_test_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        """Check the loss of the validation reviews, too: a last step may have spoilt the weights."""
        _check(logs)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        _check(logs)
        self.close()
        seconds = time.perf_counter() - self._started
        values = logs or {}
        entry = Epoch(
            number=epoch + 1,
            train_loss=float(values["loss"]),
            train_accuracy=float(values["accuracy"]),
            val_loss=float(values["val_loss"]),
            val_accuracy=float(values["val_accuracy"]),
            learning_rate=float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)),
            seconds=seconds,
            reviews_per_second=self._reviews / seconds,
        )
        self.history.append(entry)
        self._on_epoch(entry)

    def close(self) -> None:
        self._bar.close()


def _check(logs: dict[str, float] | None) -> None:
    """Raise what a signal raised while TensorFlow traced a step or Keras converted these values.

    TensorFlow's C++ code loses about one such exception in thirty. Keras ignores it in a bare ``except``
    (``pythonify_logs``), and leaves the value as it is, which shows where no handler listens to signals.

    Raises:
        FloatingPointError: a value is no finite number.
    """
    values = (logs or {}).values()
    signals.stop_if_asked()
    if not all(isinstance(value, float) for value in values):
        raise KeyboardInterrupt
    if not all(map(math.isfinite, values)):
        raise FloatingPointError


def run_epochs(
    core: keras.Model, learned: tf.data.Dataset, held_out: tf.data.Dataset, recorder: Recorder, patience: int
) -> Epoch:
    """Train a compiled network for the recorder's epochs; with patience, stop early and restore the best.

    Gives the epoch whose weights it ends with. An optimizer that averages the weights leaves those.

    Raises:
        FloatingPointError: the loss or a weight became NaN or infinite.
    """
    epochs = recorder.epochs
    stopper = keras.callbacks.EarlyStopping("val_loss", patience=patience, restore_best_weights=True)
    callbacks = [
        # Before those that look at the weights at the end of an epoch: they are to see the average.
        *([keras.callbacks.SwapEMAWeights(swap_on_epoch=True)] if core.optimizer.use_ema else []),
        recorder,
        *([stopper] if patience else []),
    ]
    try:
        with ONE_BLAS_THREAD:
            core.fit(
                learned, validation_data=held_out, epochs=epochs, callbacks=callbacks, shuffle=False, verbose=0
            )
    except (RuntimeError, tf.errors.InvalidArgumentError) as err:
        # With Keras's own layers the recorder looks too late: TensorFlow fails first, on sparse gradients.
        if _is_finite(core):
            raise
        raise FloatingPointError from err
    finally:
        recorder.close()
    if not _is_finite(core):  # in a word, say, that no validation review holds
        raise FloatingPointError
    if recorder.epoch < epochs and not stopper.stopped_epoch:
        raise RuntimeError(
            f"Keras ended the training after epoch {recorder.epoch} of {epochs}, and not by early stopping"
        )
    return recorder.history[stopper.best_epoch if patience else -1]


# TensorFlow's seed is the whole process's: trainings side by side in threads take turns until it is taken up.
_SEEDING = threading.Lock()


@dataclass(frozen=True)
class Trained:
    """A trained network.

    Attributes:
        network: stock Keras layers, with the weights of the epoch ``kept``: the last, or with early stopping the
            best by validation.
        seconds: wall time of ``fit``, compilation included.
    """

    network: keras.Model
    history: tuple[Epoch, ...]
    kept: Epoch
    seconds: float
    chosen: Weights | None = None  # of the training that chose the epoch, where another came after it


def train(
    training: Reviews,
    validation: Reviews,
    config: TrainConfig,
    seed: int,
    on_epoch: Callable[[Epoch], None] = lambda _epoch: None,
    progress: Progress = no_progress,
    begin: Callable[[Weights], Weights] | None = None,
    network: keras.Model | None = None,
) -> Trained:
    """Train a new network by the fast core, or the one that is given by Keras's ``fit``.

    ``begin`` makes the first weights of those that the seed draws; without it these are they.

    With ``config.deterministic`` the same arguments on the same machine give the same weights, bit for bit.

    The training reviews are shuffled each epoch; the validation reviews are measured after it, never learnt from,
    and with early stopping choose it. The seed, 0 to 2**32 - 1, is of the first weights, the order of reviews and
    what dropout leaves out. Progress takes a step a batch.

    Raises:
        UsageError: a split is empty, the loss became NaN or infinite, or memory is short.
    """
    for name, split in (("training", training), ("validation", validation)):
        if not len(split):
            raise UsageError(f"The {name} split is empty.", "Use a larger table or another validation_fraction.")
    if config.deterministic:  # for the whole process: TensorFlow has no way back
        tf.config.experimental.enable_op_determinism()
    steps = config.epochs * math.ceil(len(training) / config.batch_size)
    recorder = Recorder(len(training), config.epochs, on_epoch, progress)
    try:
        with _SEEDING:
            tf.random.set_seed(seed)  # the order of reviews mixes it in, whatever its own seed
            mixed = batches(training, config, mixed=seed)
        # The processor for the compiled recurrence and all around it, else what TensorFlow chooses, as a GPU.
        with tf.device("CPU:0") if config.backend == "numba" else nullcontext():
            network = network or build(config, seed)
            if begin is not None:
                set_weights(network, begin(weights_of(network)))
            started = time.perf_counter()
            with _core(network, config, steps, seed) as core:
                held_out = batches(validation, config)
                kept = run_epochs(core, mixed, held_out, recorder, config.early_stopping_patience)
    except FloatingPointError as err:
        raise DivergedError(
            f"The training diverged: the loss became NaN or infinite in epoch {recorder.epoch}.",
            f"Lower learning_rate, now {config.learning_rate:g}, or set global_clipnorm.",
        ) from err
    except (tf.errors.ResourceExhaustedError, MemoryError) as err:
        raise UsageError(
            "The training needs more memory than there is.",
            f"Lower batch_size, now {config.batch_size:,}, or sequence_length, units, embedding_size, "
            "vocabulary_size or ensemble_size.",
        ) from err
    return Trained(network, tuple(recorder.history), kept, time.perf_counter() - started)


def train_from(
    start: TextScorer | None,
    words: Vocabulary,
    training: Reviews,
    validation: Reviews,
    config: TrainConfig,
    seed: int,
    on_epoch: Callable[[Epoch], None] = lambda _epoch: None,
    progress: Progress = no_progress,
) -> Trained:
    """Train by the recipe, from another network if one is given, and with ``final_training`` once more.

    Words that the training reviews lack are not trained: they are put beside the trained ones at the end, as the
    start has them; unless rare words, which stand behind them, are to be learnt, too. The final training makes as
    many epochs as were kept, on the validation reviews, too; history and kept epoch are those of the first.
    """
    own, begin = config, None
    if start is not None:
        begin = partial(first_weights, words=words, start=start, training=training)
        every, size = training.joined(validation), config.vocabulary_size
        learnt, _ = learnt_ids(every, FIRST_WORD + len(words))
        behind = np.concatenate([ids[(ids >= learnt) & (ids < size)] for ids in every.tokens])
        if np.isin(behind, start.known_rows(words, size)[0]).all():
            own = config.model_copy(update={"vocabulary_size": min(size, learnt)})
    trained = train(training, validation, own, seed, on_epoch, progress, begin)
    if config.final_training:
        last = own.model_copy(update={"epochs": trained.kept.number, "early_stopping_patience": 0})
        again = train(training.joined(validation), validation, last, seed, progress=progress, begin=begin)
        seconds, chosen = trained.seconds + again.seconds, weights_of(trained.network)
        trained = replace(trained, network=again.network, seconds=seconds, chosen=chosen)
    if start is None or own.vocabulary_size == config.vocabulary_size:
        return trained
    network = build(config, seed)
    set_weights(network, widened(weights_of(trained.network), config.vocabulary_size, words, start))
    return replace(trained, network=network)


# Compiled, and not in use: the next training of the same steps goes on with it, and with its number of steps.
_IDLE: dict[tuple[TrainConfig, int], tuple[FastNetwork, tf.Variable]] = {}
_MANY_WORDS = 10_000  # more than the recipes for IMDB have: from there a step takes two thirds of its time
_MAX_IDLE = 2  # each keeps the weights and the optimizer's memory of a training


@contextmanager
def _core(network: keras.Model, config: TrainConfig, steps: int, seed: int) -> Iterator[keras.Model]:
    """What trains the network in ``steps`` steps; compiled once a process: TensorFlow keeps what it compiles.

    Before a final training it is compiled for any number of steps: a constant would give other last bits.
    """
    if config.backend == "keras":
        core = keras.Sequential([network])
        prepare_to_fit(core, optimizer(config, steps))
        yield core
        return
    key = config, steps
    if config.final_training:
        key = config.model_copy(update={"epochs": 1, "early_stopping_patience": 0}), 0
    core, total = _IDLE.pop(key) if key in _IDLE else _compiled(config, steps, seed)
    total.assign(steps)
    core.begin(network.get_weights(), seed)
    yield core  # one that fails is not used again
    network.set_weights(core.stock.get_weights())
    _IDLE[key] = core, total
    for other in list(_IDLE)[:-_MAX_IDLE]:
        _IDLE.pop(other, None)


def _compiled(config: TrainConfig, steps: int, seed: int) -> tuple[FastNetwork, tf.Variable]:
    total = tf.Variable(float(steps), trainable=False)
    by = optimizer(config, total if config.final_training else steps)
    made = FastNetwork(
        build(config, seed), by, config.vocabulary_dropout, config.dropout, steps_at_once(config),
        gather=config.vocabulary_size > _MANY_WORDS,
    )  # fmt: skip
    return made, total


def steps_at_once(config: TrainConfig) -> int:
    """How many steps to make before Python looks at signals: about a tenth of a second's.

    What Keras does in Python around each call of TensorFlow took a third of an epoch of ``tutorial``.
    """
    read = config.batch_size * config.sequence_length * config.units**2
    products = read + config.vocabulary_size * config.embedding_size * config.units
    return max(1, min(32, 2**31 // (products * config.ensemble_size * (1 + config.bidirectional))))


def batches(reviews: Reviews, config: TrainConfig, *, mixed: int | None = None) -> tf.data.Dataset:
    """Pairs of ids (n, length) and labels (n,); with a seed, shuffled each time they are iterated.

    Several members mix each in an order of its own: ids (members, n, length) and labels (members, n).
    """
    ids = reviews.padded(config.sequence_length, config.vocabulary_size)
    options = tf.data.Options()
    options.autotune.enabled = False  # now and then it holds an epoch up for a second, with nothing to tune here
    if mixed is not None and config.ensemble_size > 1:
        return _mixed_apart(ids, reviews.label, config, mixed).with_options(options)
    pairs = tf.data.Dataset.from_tensor_slices((ids, reviews.label))
    if mixed is not None:
        pairs = pairs.shuffle(len(reviews), seed=mixed)
    return pairs.batch(config.batch_size).with_options(options)


def _mixed_apart(
    ids: NDArray[np.int32], labels: NDArray[np.int8], config: TrainConfig, seed: int
) -> tf.data.Dataset:
    """Batches of every member at once; what is mixed are rows, so that the reviews lie in memory once."""
    source = random.Random(f"order {seed}")
    rows = tf.data.Dataset.range(len(ids))
    orders = [rows.shuffle(len(ids), seed=source.getrandbits(31)) for _ in range(config.ensemble_size)]
    every_id, every_label = tf.constant(ids), tf.constant(labels)

    def look_up(*own: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        stacked = tf.stack(own)  # (members, n)
        return tf.gather(every_id, stacked), tf.gather(every_label, stacked)

    return tf.data.Dataset.zip(*(order.batch(config.batch_size) for order in orders)).map(look_up)


def _is_finite(core: keras.Model) -> bool:
    return all(np.isfinite(array).all() for array in core.get_weights())
