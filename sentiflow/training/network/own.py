"""A model of a user's own: checked before its training, which is Keras's."""

import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras.src.random import seed_generator

from sentiflow.console import Progress
from sentiflow.data.reviews import Reviews
from sentiflow.errors import UsageError
from sentiflow.evaluation.scores import Epoch
from sentiflow.scoring import OwnNetwork, TextScorer, Vocabulary
from sentiflow.training.context import Build
from sentiflow.training.network.loop import Trained, train
from sentiflow.training.recipes import TrainConfig

_CONTRACT = (
    "It is called as build(vocabulary_size, sequence_length) and returns a keras.Model, not compiled, that takes "
    "int32 ids (n, sequence_length), padded in front with 0, and gives probabilities (n, 1), as those of a "
    "Dense(1, activation='sigmoid')."
)
_LOAD = (
    "import pathlib, sys; from sentiflow.scoring import TextScorer; "
    "TextScorer.load(pathlib.Path(sys.argv[1])).score(['a'])"
)


def train_own(
    build: Build,
    training: Reviews,
    validation: Reviews,
    config: TrainConfig,
    seed: int,
    work: Path,
    on_epoch: Callable[[Epoch], None],
    progress: Progress,
) -> Trained:
    """Build the model, check it and train it; the same arguments on the same machine give the same weights.

    Raises:
        UsageError: it is no such model as is needed, or no other process could load it.
    """
    with seeded(seed):
        network = build(config.vocabulary_size, config.sequence_length)
    if problem := _problem(network, config):
        raise UsageError(f"The function {build.__name__} {problem}.", _CONTRACT)
    _need_loadable(network, build.__name__, config, work / "untrained")
    return train(training, validation, config, seed, on_epoch, progress, network=network)


_SEEDING = threading.Lock()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Layers that are made here without a seed of their own take theirs from this one.

    Keras draws them from Python's ``random``, as any other thread may between two layers: the waiting times of
    Prefect's and MLflow's clients come from there. Here Keras has a generator to itself.
    """
    with _SEEDING:
        keras.utils.set_random_seed(seed)
        seed_generator.python_random = random.Random(seed)
        try:
            yield
        finally:
            seed_generator.python_random = random


def _problem(network: Any, config: TrainConfig) -> str:
    """What is wrong with a new model; else empty."""
    if not isinstance(network, keras.Model):
        return f"returned no Keras model but {type(network).__name__}"
    if network.compiled:
        return "compiled its model: optimizer= and learning_rate= of the training choose its optimizer"
    ids = np.random.default_rng(0).integers(0, config.vocabulary_size, (32, config.sequence_length), np.int32)
    try:
        scores = np.asarray(network(ids))
    except Exception as err:  # noqa: BLE001 - whatever a layer of Keras's says
        return f"returned a model that reads no ids of shape {ids.shape}: {str(err).strip().splitlines()[0]}"
    if scores.shape != (32, 1):
        return f"returned a model that gives the shape {scores.shape} for 32 texts, not (32, 1)"
    if not ((scores >= 0) & (scores <= 1)).all():
        return f"returned a model that gives {scores.min():.3g} to {scores.max():.3g}, not probabilities"
    return ""


def _need_loadable(network: keras.Model, name: str, config: TrainConfig, folder: Path) -> None:
    """Refuse a model that a new process cannot load, as one that answers later has to."""
    folder.mkdir()
    network.save(folder / "model.keras")
    own = OwnNetwork((folder / "model.keras").read_bytes(), config.vocabulary_size)
    TextScorer(own, Vocabulary(["a"]), config.sequence_length).save(folder)
    load = [sys.executable, "-P", "-c", _LOAD, str(folder)]
    done = subprocess.run(load, capture_output=True, text=True, check=False)
    if done.returncode:
        why = done.stderr.strip().splitlines()[-1].partition(": ")[2]
        raise UsageError(
            f"No other process could load the model of {name}: {why}.",
            "Where it answers there are only Keras's own layers. In place of a layer, function or Lambda of your "
            "own, put Keras's layers together, with keras.ops between them, in a keras.Model(inputs, outputs).",
        )
