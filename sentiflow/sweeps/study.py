"""A sweep's Optuna study: a journal in the data folder that stays readable whenever a process is killed."""

import hashlib
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import MedianPruner
from optuna.samplers import RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState
from pydantic import ValidationError

from sentiflow.errors import UsageError, plain_reason
from sentiflow.recipes import TrainConfig
from sentiflow.sweeps.space import Choices, Range, SearchSpace, is_whole

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
RUN_ID, RETRY_OF, ENDED_AS, REFUSED = "run_id", "retry_of", "ended_as", "refused"  # attributes of a trial
PARENTS = "parents"  # attribute of the study: its MLflow parent runs, the latest last

_NAME = "sweep"
_COMPLETE_FIRST = 4  # trials before any is pruned: the median of fewer says little
_MAX_ASKED = 100  # times in a row for values that go together


@dataclass(frozen=True)
class Sweep:
    """What the trials of a sweep share.

    Attributes:
        folder: of the study; every fresh start has its own.
        config: the recipe that is changed.
        seed: of the search, and of each trial's training, so that trials differ by their values only.
    """

    folder: Path
    space: SearchSpace
    config: TrainConfig
    seed: int

    def recipe(self, values: Mapping[str, Any]) -> TrainConfig:
        """The recipe with other values, checked as every recipe is."""
        return TrainConfig(**{**self.config.model_dump(), **values})


def identity(config: TrainConfig, seed: int, **others: str) -> str:
    """A digest of all that the results of trials depend on: with the same one a sweep can be continued."""
    content = json.dumps([config.model_dump(), seed, sorted(others.items())])
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def open_study(sweep: Sweep, place: int = 0) -> Study:
    """Open the study of a sweep; its journal is made if there is none.

    The place of the next trial seeds the sampler, together with the sweep's seed: every process makes a new
    sampler, which would otherwise propose the same values again.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sweep.folder.mkdir(parents=True, exist_ok=True)
    seed = int.from_bytes(hashlib.sha256(f"{sweep.seed} {place}".encode()).digest()[:4])
    with warnings.catch_warnings():
        # constant_liar: a running trial counts as a bad one, so that two workers do not try the same values.
        warnings.simplefilter("ignore", ExperimentalWarning)
        sampler = TPESampler(seed=seed, constant_liar=True)
    return optuna.create_study(
        storage=JournalStorage(Journal(sweep.folder / "journal.log")),
        study_name=_NAME,
        load_if_exists=True,
        sampler=sampler,
        # Not Hyperband: a training has only a few epochs, too small a budget to divide. The first quarter is never
        # pruned, because averaged weights and a cosine rate look bad at first.
        pruner=MedianPruner(_COMPLETE_FIRST, max(1, sweep.config.epochs // 4) + 1),
    )


def distributions(space: SearchSpace) -> dict[str, BaseDistribution]:
    """The space as Optuna takes it."""
    return {name: _distribution(name, field) for name, field in space.fields.items()}


def _distribution(name: str, field: Range | Choices) -> BaseDistribution:
    if isinstance(field, Choices):
        return CategoricalDistribution(field.choices)
    if is_whole(name):
        return IntDistribution(int(field.low), int(field.high), log=field.log, step=int(field.step or 1))
    return FloatDistribution(field.low, field.high, log=field.log, step=field.step)


def finished(study: Study) -> list[FrozenTrial]:
    """Complete and pruned trials, in their order."""
    return study.get_trials(deepcopy=False, states=FINISHED)


def places_left(study: Study, trials: int) -> range:
    """Places of the trials that are still to be run, counted on from those that have begun."""
    begun = sum(trial.state != TrialState.WAITING for trial in study.get_trials(deepcopy=False))
    return range(begun, begun + max(0, trials - len(finished(study))))


def ask(study: Study, sweep: Sweep) -> tuple[Trial, TrainConfig]:
    """Ask for values until they make a valid recipe; trials whose values do not are marked as failed.

    Raises:
        UsageError: a hundred proposals in a row were invalid.
    """
    for _ in range(_MAX_ASKED):
        trial = study.ask(distributions(sweep.space))
        try:
            return trial, sweep.recipe(trial.params)
        except ValidationError as err:
            why = plain_reason(err.errors()[0]["msg"])
            trial.set_user_attr(REFUSED, why)
            study.tell(trial, state=TrialState.FAIL)
            # The sampler learns nothing from failed trials, and would propose the same again and again.
            study.sampler = RandomSampler(seed=trial.number)
    raise UsageError(f"The search space's values do not go together: {why}.", "Leave some of its choices out.")


def enqueue_recipe(study: Study, sweep: Sweep) -> None:
    """Make the unchanged recipe the first trial, if it lies in the space: the best is then at least as good."""
    if sweep.space.holds(sweep.config):
        values = sweep.config.model_dump(include=set(sweep.space.fields))
        study.enqueue_trial(values, skip_if_exists=True)


def requeue_unfinished(study: Study) -> None:
    """Mark running trials as failed, and queue the values of all trials that deserve another attempt."""
    trials = study.get_trials(deepcopy=False)
    retried = {trial.user_attrs.get(RETRY_OF) for trial in trials}
    for trial in trials:
        if trial.number not in retried and _deserves_retry(trial):
            study.enqueue_trial(trial.params, user_attrs={RETRY_OF: trial.number})
        if trial.state == TrialState.RUNNING:
            study.tell(trial.number, state=TrialState.FAIL)


def _deserves_retry(trial: FrozenTrial) -> bool:
    """Whether it was killed, or failed for the first time with values that make a recipe."""
    if trial.state == TrialState.RUNNING:
        return True
    return trial.state == TrialState.FAIL and RETRY_OF not in trial.user_attrs and REFUSED not in trial.user_attrs


class Journal(JournalFileBackend):
    """Optuna's journal file, which also removes an incomplete last line before it appends.

    Optuna reads past such a line, left by a killed process, but fails permanently once another line follows it.
    """

    def __init__(self, path: Path) -> None:
        # A FileLock ends with its process; one of Optuna's own blocks others for 30 s after a kill.
        lock: Any = FileLock(path.with_suffix(".lock"))
        self._path, self._flock = path, lock
        super().__init__(str(path), lock)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append log entries, one line each."""
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
