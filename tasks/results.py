"""What tasks pass to each other: ids, paths and figures, never models or arrays."""

from dataclasses import dataclass
from pathlib import Path

from sentiment.metrics import Measured
from sentiment.recipes import TrainConfig


@dataclass(frozen=True)
class RunContext:
    """An open MLflow run.

    Attributes:
        run_id: of MLflow.
        name: of the run.
        config: the recipe.
        dataset: as the user named it.
        dataset_name: of the dataset.
        seed: of the training.
        model_name: what its version will be registered under.
        work: folder for files of this run; gone when the run ends.
        began: when the process, or in a shared process the flow, began (seconds since the epoch).
    """

    run_id: str
    name: str
    config: TrainConfig
    dataset: str
    dataset_name: str
    seed: int
    model_name: str
    work: Path
    began: float


@dataclass(frozen=True)
class TrainedFiles:
    """What a training left in the run's work folder."""

    keras: Path
    weights: Path
    history: Path


@dataclass(frozen=True)
class Registered:
    """A registered version."""

    name: str
    version: str
    model_id: str


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
    """

    run_id: str
    run_name: str
    run_url: str
    model: Registered
    measured: Measured
    seconds: dict[str, float]
