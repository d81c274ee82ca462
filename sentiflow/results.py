"""What comes of the flows that train: ids, paths and metrics, never models or arrays."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from sentiflow.data.rows import Rejected
from sentiflow.errors import RejectedError
from sentiflow.evaluation.metrics import Baseline, Measured, Spread
from sentiflow.promotion.candidate import Candidate
from sentiflow.reports.blocks import Table
from sentiflow.training.context import RunContext, TrainedFiles
from sentiflow.training.recipes import TrainConfig

COMPLETE, PRUNED, DIVERGED = "complete", "pruned", "diverged"  # how trials of a sweep end


@dataclass(frozen=True)
class Registered:
    """A registered version."""

    name: str
    version: int


@dataclass(frozen=True)
class Skipped:
    """The outcome of a flow run that had nothing to do; ``model`` is what a training would have repeated."""

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
    """The outcome of a flow that registers a version; only one of a table of one's own has a baseline."""

    model: Registered
    baseline: Baseline | None = field(default=None, kw_only=True)
    caveat: str = field(default="", kw_only=True)  # why the test accuracy says little
    neutral: str = field(default="", kw_only=True)  # what a third answer costs
    tested_on: str = field(default="", kw_only=True)  # of which rows it is, if not of all
    rejected: Rejected | None = field(default=None, kw_only=True)
    unread: str = field(default="", kw_only=True)  # what else the table's folder holds
    promotion: Candidate | None = field(default=None, kw_only=True)

    @property
    def summary(self) -> str:
        compared = "".join(f" {sentence}" for sentence in self.comparisons)
        registered = f" Registered as {self.model.name} version {self.model.version}."
        promoted = "" if self.promotion is None else f" {self.promotion.summary}"
        read = "".join(f" {each}." for each in (self.rejected, self.unread) if each)
        return f"{self.accuracy_line}{compared}{registered}{read}{promoted}"

    @property
    def comparisons(self) -> list[str]:
        """What the accuracy is worth: why it says little, against the baseline, and with a third answer."""
        texts = "" if self.baseline is None else self.baseline.text, self.neutral
        return [*filter(None, [self.caveat]), *(f"{text}." for text in texts if text)]

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
        return f"Test accuracy {self.measured.text(self.label_names, self.tested_on)}."


@dataclass(frozen=True)
class SeedResult:
    """One seed of a set of repeats: a child run and its outcome."""

    run: RunContext
    trained: TrainedFiles
    measured: Measured


def best_of(seeds: Sequence[SeedResult]) -> SeedResult:
    """The seed of the lowest validation loss; the first of equals. The test split is never used to choose."""
    return min(seeds, key=lambda result: result.trained.kept.val_loss)


def seeds_table(seeds: Sequence[SeedResult]) -> Table:
    unbalanced = seeds[0].measured.unbalanced
    heading = ["seed", "epoch kept", "validation loss", "validation accuracy", "test accuracy"]
    heading += ["balanced accuracy"] if unbalanced else []
    rows = [
        (
            str(each.run.seed),
            str(each.trained.kept.number),
            f"{each.trained.kept.val_loss:.4f}",
            f"{each.trained.kept.val_accuracy:.2%}",
            f"{each.measured.accuracy:.2%}",
            *([f"{each.measured.balanced_accuracy:.2%}"] if unbalanced else []),
        )
        for each in seeds
    ]
    return Table(heading, rows, words=0)


def seed_metrics(seeds: Sequence[SeedResult]) -> dict[str, list[float]]:
    """Each metric over the seeds, without the ends of intervals."""
    test = [asdict(result.measured) for result in seeds]
    found = {f"test/{name}": [one[name] for one in test] for name in test[0] if "accuracy_" not in name}
    kept = [result.trained.kept for result in seeds]
    return found | {
        "val/loss": [epoch.val_loss for epoch in kept],
        "val/accuracy": [epoch.val_accuracy for epoch in kept],
    }


@dataclass(frozen=True)
class RepeatsResult(ModelResult):
    """The outcome of a set of repeats; ``best``, the seed of the lowest validation loss, is registered."""

    seeds: tuple[SeedResult, ...]
    best: SeedResult
    accuracy: Spread
    seconds: float

    @property
    def accuracy_line(self) -> str:
        mean = f"{self.accuracy.mean:.2%} on average over {len(self.seeds)} seeds"
        on = f", on {self.tested_on}" if self.tested_on else ""
        return f"Test accuracy {mean}, {self.accuracy.text()}{on}."


@dataclass(frozen=True)
class TrialRow:
    """One finished trial."""

    number: int  # Optuna's
    state: str  # it diverged with its own seed, or as the best with others
    loss: float | None  # of the epoch kept, of a trial that is not complete the lowest seen
    epochs: int
    seconds: float  # wall time
    values: Mapping[str, Any]  # of the searched fields
    run_id: str


def by_loss(rows: Sequence[TrialRow]) -> list[TrialRow]:
    """The complete trials, the lowest validation loss first; the first of equals."""
    complete = [row for row in rows if row.state == COMPLETE]
    return sorted(complete, key=lambda row: (row.loss or 0.0, row.number))


@dataclass(frozen=True)
class SweepResult(ModelResult):
    """The outcome of a sweep: its finished trials, in their order, and the seeds of the best recipe."""

    trials: tuple[TrialRow, ...]
    config: TrainConfig  # the best recipe
    recipe: str = field(repr=False)  # its file in the store, whose URI may hold a login
    seeds: tuple[SeedResult, ...]
    best: SeedResult  # of the lowest validation loss, which is registered
    accuracy: Spread | None
    seconds: float

    @property
    def accuracy_line(self) -> str:
        if self.accuracy is None:
            return f"Test accuracy of the best recipe: {self.best.measured.text(on=self.tested_on)}."
        on = f", on {self.tested_on}" if self.tested_on else ""
        return (
            f"Test accuracy of the best recipe over {len(self.seeds)} seeds: mean {self.accuracy.mean:.2%}, "
            f"{self.accuracy.text()}{on}."
        )

    @property
    def metrics(self) -> dict[str, float]:
        """Lowest loss, accuracy over the seeds, or of a single seed with its interval."""
        if self.accuracy is not None:
            found = self.accuracy.as_metrics("test/accuracy")
        else:
            names = ("accuracy", "accuracy_ci_low", "accuracy_ci_high")
            found = {f"test/{name}": getattr(self.best.measured, name) for name in names}
        return {"val/loss": by_loss(self.trials)[0].loss or 0.0, **found}


@dataclass(frozen=True)
class Reproduction(RunResult):
    """A run that was trained again: ``original`` is its id, ``called`` its registered version, else its name."""

    original: str
    called: str
    identical: bool

    @property
    def verdict(self) -> str:
        return "identical" if self.identical else "different"

    @property
    def summary(self) -> str:
        if self.identical:
            return f"{self.called} reproduces: identical, bit for bit."
        return f"{self.called} does not reproduce: other weights came out."

    def need_identical(self) -> None:
        if not self.identical:
            both = f"{self.original[:8]} {self.run_id[:8]}"
            raise RejectedError(self.summary, f"Look at both: sentiflow compare {both}")
