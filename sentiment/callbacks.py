"""What Keras tells while it trains, turned into epochs and progress."""

import math
import time
from collections.abc import Callable
from typing import Any

import keras

from sentiment.history import Epoch
from sentiment.progress import Advance, Progress


class Diverged(RuntimeError):
    """The validation loss is no number: the weights are spoilt."""


class Recorder(keras.callbacks.Callback):  # type: ignore[misc]
    """Turns Keras's events into epochs and progress.

    Attributes:
        history: an entry for each epoch that has ended.
        epoch: number of the one that goes on, or of the last.
    """

    def __init__(self, reviews: int, epochs: int, on_epoch: Callable[[Epoch], None], progress: Progress) -> None:
        super().__init__()
        self.history: list[Epoch] = []
        self.epoch = 1
        self._reviews, self._epochs = reviews, epochs
        self._on_epoch, self._progress = on_epoch, progress
        self._bar: Any = None
        self._advance: Advance = lambda _step: None

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        """Open the epoch's bar."""
        self.epoch = epoch + 1
        self._started = time.perf_counter()
        self._bar = self._progress(f"epoch {epoch + 1}/{self._epochs}", self.params["steps"])
        self._advance = self._bar.__enter__()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        """Move the bar a batch on."""
        self._advance(1)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Write the epoch down and tell it.

        Raises:
            Diverged: the epoch's last step spoilt the weights, which no batch after it could show.
        """
        self.close()
        seconds = time.perf_counter() - self._started
        values = logs or {}
        if not math.isfinite(values["val_loss"]):
            raise Diverged
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
