"""What comes of the flows that train: ids, paths and metrics, never models or arrays."""

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

from sentiflow.errors import RejectedError
from sentiflow.evaluation.metrics import Measured, Spread
from sentiflow.evaluation.yardstick import Yardstick
from sentiflow.promotion.candidate import Candidate
from sentiflow.training.context import RunContext, TrainedFiles


@dataclass(frozen=True)
class Registered:
    """A registered version."""

    name: str
    version: int


@dataclass(frozen=True)
class Skipped:
    """The outcome of a flow run that had nothing to do.

    Attributes:
        summary: why.
        model: the version that a training would have repeated.
        promotion: of that version; None unless it was judged now.
    """

    state_name: ClassVar[str] = "Skipped"

    summary: str
    model: Registered | None = None
    promotion: Candidate | None = None


@dataclass(frozen=True)
class RunResult:
    """The outcome of a flow: its run in MLflow."""

    run_id: str
    run_name: str
    run_url: str


@dataclass(frozen=True)
class ModelResult(RunResult):
    """The outcome of a flow that registers a version.

    Attributes:
        yardstick: of the registered version; None unless it is of a table of one's own.
        promotion: None unless one was requested.
    """

    model: Registered
    yardstick: Yardstick | None = field(default=None, kw_only=True)
    promotion: Candidate | None = field(default=None, kw_only=True)

    @property
    def summary(self) -> str:
        """The outcome in a few sentences."""
        compared = "" if self.yardstick is None else f" {self.yardstick.text}."
        registered = f" Registered as {self.model.name} version {self.model.version}."
        promoted = "" if self.promotion is None else f" {self.promotion.summary}"
        return f"{self.accuracy_line}{compared}{registered}{promoted}"

    @property
    @abstractmethod
    def accuracy_line(self) -> str:
        """The test accuracy in a sentence."""


@dataclass(frozen=True)
class TrainingResult(ModelResult):
    """The outcome of a training: metrics on the test split, wall time by stage, what 0 and 1 are called."""

    measured: Measured
    seconds: dict[str, float]
    label_names: tuple[str, str]

    @property
    def accuracy_line(self) -> str:
        """The test accuracy with its interval."""
        return f"Test accuracy {self.measured.text(self.label_names)}."


@dataclass(frozen=True)
class SeedResult:
    """One seed of a set of repeats: a child run and its outcome."""

    run: RunContext
    trained: TrainedFiles
    measured: Measured


@dataclass(frozen=True)
class RepeatsResult(ModelResult):
    """The outcome of a set of repeats; ``best``, the seed of the lowest validation loss, is registered.

    The accuracy is of the test split, over the seeds; the seconds are wall time of the whole.
    """

    seeds: tuple[SeedResult, ...]
    best: SeedResult
    accuracy: Spread
    seconds: float

    @property
    def accuracy_line(self) -> str:
        """The mean test accuracy over the seeds, and its spread."""
        mean = f"{self.accuracy.mean:.2%} on average over {len(self.seeds)} seeds"
        return f"Test accuracy {mean}, {self.accuracy.text()}."


@dataclass(frozen=True)
class Reproduction(RunResult):
    """The outcome of a run that was trained again.

    Attributes:
        original: id of that run.
        called: its registered version, like ``imdb-sentiment/3``, else its name.
        same_weights: whether weights and words are the same, bit for bit.
        score_change: largest change of the score of a test review.
        accuracy: on the test split, now; ``accuracy_then`` is the original's.
        differences: what decides a training and is otherwise than then, a line each.
    """

    original: str
    called: str
    same_weights: bool
    score_change: float
    accuracy: float
    accuracy_then: float
    differences: tuple[str, ...]

    @property
    def identical(self) -> bool:
        """Whether weights and scores are the same, bit for bit."""
        return self.same_weights and self.score_change == 0

    @property
    def summary(self) -> str:
        """The outcome in a sentence."""
        if self.identical:
            return f"{self.called} reproduces: identical, bit for bit (test accuracy {self.accuracy:.2%})."
        return (
            f"{self.called} does not reproduce: {'the same' if self.same_weights else 'other'} weights, largest "
            f"change of a score {self.score_change:.1e}, accuracy {self.accuracy_then:.2%} then, "
            f"{self.accuracy:.2%} now."
        )

    def need_identical(self) -> None:
        """Check that it is.

        Raises:
            RejectedError: it is not.
        """
        if not self.identical:
            both = f"{self.original[:8]} {self.run_id[:8]}"
            raise RejectedError(self.summary, f"Look at both: sentiflow compare {both}")
