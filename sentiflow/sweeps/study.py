"""A sweep's memory: an Optuna study in a journal of the data folder, readable after a kill at any moment."""

import hashlib
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import MedianPruner
from optuna.samplers import TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from sentiflow.recipes import TrainConfig
from sentiflow.sweeps.space import Choices, Range, SearchSpace

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
RUN_ID, RETRY_OF, ENDED_AS, REFUSED = "run_id", "retry_of", "ended_as", "refused"  # attributes of a trial
PARENTS = "parents"  # of the study: MLflow runs that it was tried under, the latest last

_NAME = "sweep"
# Before so many trials are complete a median says little, and the first ones are to show the whole course.
_COMPLETE_FIRST = 4


@dataclass(frozen=True)
class Sweep:
    """What the trials of a sweep share.

    Attributes:
        folder: of the study; each beginning has its own.
        space: what is tried.
        config: the recipe that is changed.
        seed: of the search, and of each trial's training: that two trials differ is then the recipe's doing.
    """

    folder: Path
    space: SearchSpace
    config: TrainConfig
    seed: int

    def recipe(self, values: Mapping[str, Any], name: str | None = None) -> TrainConfig:
        """The recipe with other values, checked as every recipe is."""
        named = {} if name is None else {"recipe": name}
        return TrainConfig(**{**self.config.model_dump(), **values, **named})


def identity(config: TrainConfig, seed: int, **others: str) -> str:
    """What tells whether an unfinished sweep is the same: all that its trials' results depend on."""
    content = json.dumps([config.model_dump(), seed, sorted(others.items())])
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def open_study(sweep: Sweep, place: int = 0) -> Study:
    """Open the study, or make it.

    Written: the journal, if there is none.

    Args:
        sweep: whose.
        place: of the trial that will be asked for; with the sweep's seed it seeds the sampler, as one that begins
            anew in each process would else propose the same again.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sweep.folder.mkdir(parents=True, exist_ok=True)
    seed = int.from_bytes(hashlib.sha256(f"{sweep.seed} {place}".encode()).digest()[:4])
    with warnings.catch_warnings():
        # A trial that others run now counts as a bad one, so that two workers do not try the same.
        warnings.simplefilter("ignore", ExperimentalWarning)
        sampler = TPESampler(seed=seed, constant_liar=True)
    return optuna.create_study(
        storage=JournalStorage(Journal(sweep.folder / "journal.log")),
        study_name=_NAME,
        load_if_exists=True,
        sampler=sampler,
        # Median and not Hyperband: a training has a few epochs, which is no budget to divide. A quarter of them is
        # let be: averaged weights and a cosine rate look bad at first.
        pruner=MedianPruner(_COMPLETE_FIRST, max(1, sweep.config.epochs // 4) + 1),
    )


def distributions(space: SearchSpace) -> dict[str, BaseDistribution]:
    """The space, as Optuna takes it."""
    return {name: _distribution(field) for name, field in space.fields.items()}


def finished(study: Study) -> list[FrozenTrial]:
    """The trials that came to an end by themselves, pruned ones among them, in their order."""
    return study.get_trials(deepcopy=False, states=FINISHED)


def _distribution(field: Range | Choices) -> BaseDistribution:
    if isinstance(field, Choices):
        return CategoricalDistribution(field.values)
    if field.whole:
        return IntDistribution(int(field.low), int(field.high), log=field.log, step=int(field.step or 1))
    return FloatDistribution(field.low, field.high, log=field.log, step=field.step)


class Journal(JournalFileBackend):
    """Optuna's journal, but that a line which a kill tore off is cut away before another is written.

    Optuna itself reads past a torn last line, and fails for ever once a line stands behind it.
    """

    def __init__(self, path: Path) -> None:
        # It ends with its process; Optuna's own locks would be waited for half a minute after a kill.
        lock: Any = FileLock(path.with_suffix(".lock"))
        self._path, self._flock = path, lock
        super().__init__(str(path), lock)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write lines."""
        with self._flock:
            _cut_torn_line(self._path)
            super().append_logs(logs)


def _cut_torn_line(path: Path) -> None:
    with path.open("rb+") as file:
        size = file.seek(0, 2)
        if size == 0:
            return
        file.seek(size - 1)
        if file.read(1) != b"\n":
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)
