"""A process that trains and scores in one way, ready and warm, and times what it is asked to do.

    python -m benchmarks.worker (core | keras | torch)

A line on standard input names the work, a line on standard output gives the seconds. Between two lines it waits
without using the processor. All ways get the same padded reviews: 20,000 to learn from, 5,000 to validate on,
25,000 to score, 500 ids each.
"""

import os
import sys
import time
from abc import ABC, abstractmethod
from functools import cached_property

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from numpy.typing import NDArray

from sentiflow.data import prepare, reviews
from sentiflow.data.reviews import Reviews
from sentiflow.settings import load_settings
from sentiflow.training.recipes import TUTORIAL as RECIPE  # the network of the tutorial

SHAPE = RECIPE.sequence_length, RECIPE.vocabulary_size


class Way(ABC):
    """One way to train the network of the recipe `tutorial`."""

    def __init__(self) -> None:
        settings = load_settings()
        self.content = reviews.read(prepare.prepare(prepare.fetch("imdb", settings), settings).table)
        self.learnt, self.held_back = self.content.learning_splits(RECIPE.validation_fraction)

    @cached_property
    def test_ids(self) -> NDArray[np.int32]:
        return self.content.of("test").padded(*SHAPE)

    @abstractmethod
    def warm(self) -> None:
        """Compile whatever the work needs; what work there is, its methods say."""


class Keras(Way):
    """Stock layers, as a plain script uses them."""

    def __init__(self) -> None:
        super().__init__()
        self.network = self.fresh()
        self.ids = self.learnt.padded(*SHAPE)

    @staticmethod
    def fresh():  # noqa: ANN205 - importing Keras is this class's own affair
        from sentiflow.training.network.model import build, optimizer

        network = build(RECIPE)
        network.compile(optimizer(RECIPE, 1), "binary_crossentropy", metrics=["accuracy"])
        return network

    def warm(self) -> None:
        self.network.fit(self.ids[:512], self.learnt.label[:512], batch_size=RECIPE.batch_size, verbose=0)
        self.network.evaluate(self.test_ids[:64], self.content.of("test").label[:64], verbose=0)

    def epoch(self) -> float:
        """Seconds of one more epoch of training, without validation."""
        return timed(
            lambda: self.network.fit(self.ids, self.learnt.label, batch_size=RECIPE.batch_size, verbose=0)
        )

    def fit(self) -> float:
        """Seconds of the recipe's five epochs, building and compiling included."""
        held_back = self.held_back.padded(*SHAPE), self.held_back.label

        def whole() -> None:
            network, batch = self.fresh(), RECIPE.batch_size
            network.fit(
                self.ids,
                self.learnt.label,
                validation_data=held_back,
                batch_size=batch,
                epochs=RECIPE.epochs,
                verbose=0,
            )

        return timed(whole)

    def evaluate(self) -> float:
        """Seconds to score the test split with ``evaluate`` at its own batch size."""
        return timed(lambda: self.network.evaluate(self.test_ids, self.content.of("test").label, verbose=0))


class Core(Way):
    """The fast core."""

    def __init__(self) -> None:
        super().__init__()
        from threadpoolctl import threadpool_limits

        from sentiflow.training.network.fast import FastNetwork
        from sentiflow.training.network.loop import steps_at_once
        from sentiflow.training.network.model import build, optimizer

        threadpool_limits(1, user_api="blas")  # as ``train`` does
        self.network = FastNetwork(build(RECIPE), optimizer(RECIPE, 1), steps_at_once=steps_at_once(RECIPE))

    def fit_on(self, learnt: Reviews) -> None:
        from sentiflow.training.network.loop import batches

        self.network.fit(batches(learnt, RECIPE, mixed=0), shuffle=False, verbose=0)

    def warm(self) -> None:
        self.fit_on(self.learnt.take(np.arange(512)))

    def epoch(self) -> float:
        return timed(lambda: self.fit_on(self.learnt))


class Fit(Way):
    """The fast core in a process that has trained nothing yet."""

    def warm(self) -> None:
        import sentiflow.training.network.loop  # noqa: F401 - TensorFlow's import is no part of the training

    def fit(self) -> float:
        from sentiflow.training.network.loop import train

        return timed(lambda: train(self.learnt, self.held_back, RECIPE, 0))


class Scorer(Way):
    """The forward pass in numpy, without TensorFlow."""

    def warm(self) -> None:
        from sentiflow.scoring import Weights

        shapes = (
            (SHAPE[1], RECIPE.embedding_size),
            (RECIPE.embedding_size, RECIPE.units),
            (RECIPE.units, RECIPE.units),
        )
        arrays = (
            np.random.default_rng(0).normal(0, 0.1, shape)
            for shape in (*shapes, RECIPE.units, (RECIPE.units, 1), 1)
        )
        self.weights = Weights(*(array.astype(np.float32) for array in arrays))
        assert self.test_ids.shape == (25_000, 500)

    def evaluate(self) -> float:
        """Seconds to score the padded test split."""
        from sentiflow.scoring import Network

        return timed(lambda: Network(self.weights).score(self.test_ids))

    def evaluate_raw(self) -> float:
        """Seconds to pad and score the test split."""
        from sentiflow.scoring import Network

        return timed(lambda: Network(self.weights).score(self.content.of("test").padded(*SHAPE)))


class Torch(Way):
    """PyTorch's own layers, all threads, padded to full length as Keras is."""

    def __init__(self) -> None:
        super().__init__()
        import torch
        from torch import nn

        class Network(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.embedding = nn.Embedding(SHAPE[1], RECIPE.embedding_size)
                self.rnn = nn.RNN(RECIPE.embedding_size, RECIPE.units, batch_first=True)
                self.score = nn.Linear(RECIPE.units, 1)

            def forward(self, ids: torch.Tensor) -> torch.Tensor:
                return self.score(self.rnn(self.embedding(ids))[1][0])[:, 0]

        torch.manual_seed(0)
        self.torch, self.loss, self.network = torch, nn.BCEWithLogitsLoss(), Network()
        self.optimizer = torch.optim.RMSprop(
            self.network.parameters(), lr=RECIPE.learning_rate, alpha=0.9, eps=1e-7
        )
        self.ids = torch.from_numpy(self.learnt.padded(*SHAPE).astype(np.int64))
        self.labels = torch.from_numpy(self.learnt.label.astype(np.float32))

    def step(self, rows: object) -> None:
        self.optimizer.zero_grad()
        self.loss(self.network(self.ids[rows]), self.labels[rows]).backward()
        self.optimizer.step()

    def warm(self) -> None:
        self.step(self.torch.arange(RECIPE.batch_size))

    def epoch(self) -> float:
        def whole() -> None:
            for rows in self.torch.randperm(len(self.ids)).split(RECIPE.batch_size):
                self.step(rows)

        return timed(whole)


def timed(work: object) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    way = {"core": Core, "keras": Keras, "torch": Torch, "fit": Fit, "scorer": Scorer}[sys.argv[1]]()
    way.warm()
    print("ready", flush=True)  # noqa: T201 - the protocol
    for line in sys.stdin:
        print(getattr(way, line.strip())(), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
