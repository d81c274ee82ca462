"""A Keras model of a user's own in place of the arrays: its file, and what Keras scores with it."""

import io
import json
import os
import tempfile
import threading
import zipfile
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .forward import Floats, Ids, ignore

FILE = "model.keras"
_BATCH = 32


class OwnNetwork:
    """The file of a Keras model, of ids (n, t) to one probability (n, 1); Keras loads it at the first score.

    Always so many texts are computed together, so that the score of one does not depend on how many are asked for.
    """

    readings = 1

    def __init__(self, content: bytes, size: int) -> None:
        self.content, self.size = content, size
        self._one_at_a_time = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return OwnNetwork, (self.content, self.size)

    @property
    def parameters(self) -> int:
        return int(self.model.count_params())

    @cached_property
    def model(self) -> Any:
        """The model, loaded in Keras's safe mode: layers and functions of Keras's own alone.

        Raises:
            ImportError: Keras, or TensorFlow, is not installed.
            ValueError: Keras cannot load it.
        """
        os.environ.setdefault("KERAS_BACKEND", "tensorflow")
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        import keras

        with tempfile.TemporaryDirectory() as folder:
            (file := Path(folder) / FILE).write_bytes(self.content)
            try:
                return keras.saving.load_model(file, compile=False, safe_mode=True)
            except Exception as err:
                raise ValueError(f"Keras cannot load {FILE}: {str(err).strip().partition('. ')[0]}") from err

    def score(
        self,
        ids: Ids,
        threads: int | None = None,  # noqa: ARG002 - Keras chooses
        advance: Callable[[int], object] = ignore,
    ) -> Floats:
        """Score reviews: ids of shape (n, t), padded in front with 0, to probabilities, shape (n,)."""
        scores = np.empty(len(ids))
        for start in range(0, len(ids), _BATCH):
            rows = ids[start : start + _BATCH]
            batch = np.zeros((_BATCH, ids.shape[1]), np.int32)
            batch[: len(rows)] = rows
            with self._one_at_a_time:
                found = np.asarray(self.model.predict_on_batch(batch))
            scores[start : start + _BATCH] = found[: len(rows), 0]
            advance(len(rows))
        if not ((scores >= 0) & (scores <= 1)).all():
            raise ValueError("the model gives scores that are no probabilities from 0 to 1")
        return scores

    def entries(self) -> dict[str, NDArray[Any]]:
        """What its scores depend on, whenever and in whichever process it was saved: layers and arrays."""
        import h5py  # it comes with Keras

        found: dict[str, NDArray[Any]] = {"size": np.asarray(self.size)}
        try:
            with zipfile.ZipFile(io.BytesIO(self.content)) as archive:
                layers = _numbered(json.loads(archive.read("config.json")), {})
                arrays = io.BytesIO(archive.read("model.weights.h5"))
            with h5py.File(arrays) as file:
                file.visititems(
                    lambda name, each: found.update({name: each[()]} if isinstance(each, h5py.Dataset) else {})
                )
        except (OSError, KeyError, zipfile.BadZipFile) as err:
            raise ValueError(f"{FILE} is damaged: {err}") from err
        return found | {"layers": np.frombuffer(json.dumps(layers).encode(), np.uint8)}

    def save(self, path: Path) -> None:
        path.write_bytes(self.content)


def _numbered(given: Any, names: dict[str, str], key: str = "") -> Any:
    """A description of layers with numbers in place of their names, which differ from process to process."""
    if isinstance(given, dict):
        return {key: _numbered(each, names, key) for key, each in given.items() if key != "shared_object_id"}
    if isinstance(given, list):
        return [_numbered(each, names) for each in given]
    if key == "name" and isinstance(given, str):
        names.setdefault(given, f"#{len(names)}")
    return names.get(given, given) if isinstance(given, str) else given
