"""What tasks pass to each other: ids, paths and figures, never models or arrays."""

import time
from dataclasses import dataclass
from pathlib import Path

from sentiflow.evaluation.metrics import Measured, Spread
from sentiflow.network.history import Epoch
from sentiflow.recipes import TrainConfig
from sentiflow.tracking.client import OpenRun
from sentiflow.tracking.promotion import Outcome


@dataclass(frozen=True)
class RunContext(OpenRun):
    """The open run of a training, a baseline or a set of them.

    Attributes:
        config: the recipe.
        dataset: as the user named it.
        dataset_name: of the dataset.
        seed: of the training.
        model_name: what its version will be registered under.
        work: folder for files of this run; gone when the run ends.
        began: when the process, or in a shared process the flow, began (seconds since the epoch).
        parent: the run that this is a part of.
    """

    config: TrainConfig
    dataset: str
    dataset_name: str
    seed: int
    model_name: str
    work: Path
    began: float
    parent: "RunContext | None" = None

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.time() - self.began


@dataclass(frozen=True)
class TrainedFiles:
    """What a training left in the run's work folder, and the epoch whose weights these are."""

    keras: Path
    weights: Path
    history: Path
    kept: Epoch


@dataclass(frozen=True)
class Registered:
    """A registered version."""

    name: str
    version: str
    model_id: str


registered_here: list[Registered] = []
"""What this process has registered: a command that fails later says so."""


@dataclass(frozen=True)
class TrainingResult:
    """The outcome of a training flow.

    Attributes:
        run_id: of MLflow.
        run_name: likewise.
        run_url: where the MLflow UI shows it.
        model: the registered version.
        measured: figures on the test split.
        seconds: wall time by stage.
        promotion: what came of it, if one was asked for.
    """

    run_id: str
    run_name: str
    run_url: str
    model: Registered
    measured: Measured
    seconds: dict[str, float]
    promotion: Outcome | None = None


@dataclass(frozen=True)
class SeedResult:
    """One seed of a set of repeats: a child run, and what came of it."""

    run: RunContext
    trained: TrainedFiles
    measured: Measured


@dataclass(frozen=True)
class RepeatsResult:
    """The outcome of a set of repeats.

    Attributes:
        run_id: of the parent run in MLflow.
        run_name: likewise.
        run_url: where the MLflow UI shows it.
        seeds: a result a seed, in the order of training.
        best: the one whose validation loss is lowest; it is registered.
        model: the registered version.
        accuracy: of the test split, over the seeds.
        seconds: wall time of the whole.
        promotion: what came of it, if one was asked for.
    """

    run_id: str
    run_name: str
    run_url: str
    seeds: tuple[SeedResult, ...]
    best: SeedResult
    model: Registered
    accuracy: Spread
    seconds: float
    promotion: Outcome | None = None
