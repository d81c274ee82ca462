"""What tasks pass to each other: ids, paths and metrics, never models or arrays."""

import time
from abc import abstractmethod
from dataclasses import dataclass, field
from pathlib import Path

from sentiflow.evaluation.metrics import Measured, Spread
from sentiflow.network import Epoch
from sentiflow.recipes import TrainConfig
from sentiflow.tracking.client import OpenRun
from sentiflow.tracking.promotion import Outcome


@dataclass(frozen=True)
class RunContext(OpenRun):
    """The open run of a training, a baseline or a set of them.

    Attributes:
        dataset: as the user named it.
        model_name: of the registered model that gets its version.
        work: folder for files of this run, deleted when the run ends.
        began: start of the process, or in a shared process of the flow (seconds since the epoch).
    """

    config: TrainConfig
    dataset: str
    dataset_name: str
    seed: int
    model_name: str
    work: Path = field(repr=False)
    began: float = field(repr=False)
    parent: "RunContext | None" = field(default=None, repr=False)

    @property
    def seconds(self) -> float:
        """Since ``began``."""
        return time.time() - self.began


@dataclass(frozen=True)
class TrainedFiles:
    """A training's files in the run's work folder, and the epoch of their weights."""

    keras: Path = field(repr=False)
    weights: Path = field(repr=False)
    history: tuple[Epoch, ...]
    kept: Epoch


@dataclass(frozen=True)
class Registered:
    """A registered version."""

    name: str
    version: int


registered_here: list[Registered] = []
"""Versions registered by this process; a command that fails later names them."""


@dataclass(frozen=True)
class RunResult:
    """The outcome of a flow: its run in MLflow."""

    run_id: str
    run_name: str
    run_url: str


@dataclass(frozen=True)
class ModelResult(RunResult):
    """The outcome of a flow that registers a version; ``promotion`` is None unless one was requested."""

    model: Registered
    promotion: Outcome | None = field(default=None, kw_only=True)

    @property
    def summary(self) -> str:
        """The outcome in a few sentences."""
        registered = f"{self.accuracy_line} Registered as {self.model.name} version {self.model.version}."
        return registered if self.promotion is None else f"{registered} {self.promotion.summary}"

    @property
    @abstractmethod
    def accuracy_line(self) -> str:
        """The test accuracy in a sentence."""


@dataclass(frozen=True)
class TrainingResult(ModelResult):
    """The outcome of a training: metrics on the test split, and wall time by stage."""

    measured: Measured
    seconds: dict[str, float]

    @property
    def accuracy_line(self) -> str:
        """The test accuracy with its interval."""
        return f"Test accuracy {self.measured.text()}."


@dataclass(frozen=True)
class SeedResult:
    """One seed of a set of repeats: a child run and its outcome."""

    run: RunContext
    trained: TrainedFiles
    measured: Measured


@dataclass(frozen=True)
class RepeatsResult(ModelResult):
    """The outcome of a set of repeats.

    Attributes:
        best: the seed of the lowest validation loss; it is registered.
        accuracy: of the test split, over the seeds.
        seconds: wall time of the whole.
    """

    seeds: tuple[SeedResult, ...]
    best: SeedResult
    accuracy: Spread
    seconds: float

    @property
    def accuracy_line(self) -> str:
        """The mean test accuracy over the seeds."""
        return f"Test accuracy {self.accuracy.mean:.2%} on average over {len(self.seeds)} seeds."
