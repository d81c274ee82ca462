"""What the tasks of a training pass to each other: ids, paths and metrics, never models or arrays."""

import time
from dataclasses import dataclass, field
from pathlib import Path

from sentiflow.evaluation import Epoch
from sentiflow.evaluation.score_table import ScoreTable
from sentiflow.store.client import OpenRun
from sentiflow.store.find import open_store, score_table
from sentiflow.training.recipes import TrainConfig
from sentiflow.training.start_from import Start


@dataclass(frozen=True)
class RunContext(OpenRun):
    """The open run of a training, a baseline or a set of them.

    Attributes:
        config: once the table is prepared, with the values that its rules chose.
        dataset: as the user named it.
        start: what it starts from; nothing until that is chosen.
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
    start: Start = Start()
    parent: "RunContext | None" = field(default=None, repr=False)

    @property
    def seconds(self) -> float:
        """Since ``began``."""
        return time.time() - self.began

    def scores(self) -> ScoreTable:
        """The scores of the test reviews that it has logged."""
        table = score_table(open_store(self.settings), self.record(), self.work)
        if table is None:
            raise ValueError(f"the run {self.run_id} holds no test scores")
        return table


@dataclass(frozen=True)
class TrainedFiles:
    """A training's files in the run's work folder, and the epoch of their weights."""

    keras: Path = field(repr=False)
    weights: Path = field(repr=False)
    history: tuple[Epoch, ...]
    kept: Epoch
