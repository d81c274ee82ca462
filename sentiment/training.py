"""Training the network with Keras's ``fit``."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from sentiment.data.reviews import Reviews
from sentiment.errors import UsageError
from sentiment.history import Epoch
from sentiment.model import build
from sentiment.progress import Advance, Progress, no_progress
from sentiment.recipes import TrainConfig


@dataclass(frozen=True)
class Trained:
    """A trained network, with the weights of its last epoch.

    Attributes:
        network: stock Keras layers.
        history: an entry an epoch.
        seconds: wall time of ``fit``.
    """

    network: keras.Model
    history: tuple[Epoch, ...]
    seconds: float


def train(
    training: Reviews,
    validation: Reviews,
    config: TrainConfig,
    seed: int,
    on_epoch: Callable[[Epoch], None] = lambda _epoch: None,
    progress: Progress = no_progress,
) -> Trained:
    """Train a new network. The same arguments on the same machine give the same weights, bit for bit.

    Args:
        training: reviews to learn from; mixed anew each epoch.
        validation: reviews measured after each epoch, never learnt from.
        config: the recipe.
        seed: of the first weights and of the order of reviews, 0 to 2**32 - 1.
        on_epoch: called after each epoch.
        progress: shown within each epoch, a step a batch.

    Raises:
        UsageError: a split is empty, or the loss became NaN or infinite.
    """
    for name, split in (("training", training), ("validation", validation)):
        if not len(split):
            raise UsageError(f"The {name} split is empty.", "Use a larger table or another validation_fraction.")
    _make_repeatable(seed)
    network = build(config)
    shape = config.sequence_length, config.vocabulary_size
    recorder = _Recorder(len(training), config.epochs, on_epoch, progress)
    started = time.perf_counter()
    try:
        network.fit(
            training.padded(*shape),
            training.label,
            validation_data=(validation.padded(*shape), validation.label),
            batch_size=config.batch_size,
            epochs=config.epochs,
            callbacks=[keras.callbacks.TerminateOnNaN(raise_error=True), recorder],
            verbose=0,
        )
    except (RuntimeError, tf.errors.InvalidArgumentError) as err:
        # Keras's own check comes too late for optimizers that divide sparse gradients: TensorFlow fails first.
        if "NaN or Inf loss" not in str(err) and _is_finite(network):
            raise
        raise UsageError(
            f"The training diverged: the loss became NaN or infinite in epoch {len(recorder.history) + 1}.",
            f"Lower learning_rate, now {config.learning_rate:g}.",
        ) from err
    finally:
        recorder.close()
    return Trained(network, tuple(recorder.history), time.perf_counter() - started)


def _make_repeatable(seed: int) -> None:
    keras.utils.set_random_seed(seed)
    # Without it the embedding's gradient is summed in whatever order the threads come, and runs of one seed end
    # points of accuracy apart. It costs no measurable time here.
    tf.config.experimental.enable_op_determinism()


def _is_finite(network: keras.Model) -> bool:
    return all(np.isfinite(array).all() for array in network.get_weights())


class _Recorder(keras.callbacks.Callback):  # type: ignore[misc]
    """Turns Keras's events into epochs and progress."""

    def __init__(self, reviews: int, epochs: int, on_epoch: Callable[[Epoch], None], progress: Progress) -> None:
        super().__init__()
        self.history: list[Epoch] = []
        self._reviews, self._epochs = reviews, epochs
        self._on_epoch, self._progress = on_epoch, progress
        self._bar: Any = None
        self._advance: Advance = lambda _step: None

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        self._started = time.perf_counter()
        self._bar = self._progress(f"epoch {epoch + 1}/{self._epochs}", self.params["steps"])
        self._advance = self._bar.__enter__()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        self._advance(1)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
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
        """End the bar of the current epoch, if one is open."""
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
            self._bar = None
