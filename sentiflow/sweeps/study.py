"""A sweep's Optuna study: a journal in the data folder that stays readable whenever a process is killed."""

import hashlib
import json
import warnings
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import MedianPruner
from optuna.samplers import BaseSampler, PartialFixedSampler, RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState
from pydantic import ValidationError

from sentiflow.errors import UsageError, plain_reason
from sentiflow.files import make_folder
from sentiflow.locks import brief_lock
from sentiflow.recipes import TrainConfig
from sentiflow.sweeps.space import Choices, Range, SearchSpace, is_whole

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
# Attributes of a trial. Its number here is not Optuna's: a trial that is tried again keeps it.
NUMBER, RUN_ID, ENDED_AS, REFUSED, FAILED = "number", "run_id", "ended_as", "refused", "failed"
# Attributes of the study: its MLflow parent runs, the latest last; the trials that diverged with another seed.
PARENTS, UNSTABLE = "parents", "unstable"

_COMPLETE_FIRST = 4  # trials before any is pruned: the median of fewer says little
_MAX_ASKED = 1_000  # times in a row for values that go together
_MAX_FAILED = 2  # attempts at a trial that end in an error


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
        left = [name for name in self.config.fit_to_table if name not in values]
        return TrainConfig(**{**self.config.model_dump(), "fit_to_table": left, **values})

    def best(self, values: Mapping[str, Any]) -> TrainConfig:
        """The recipe with the best values, by a name of its own; what rules chose for the trials stays.

        By these values the rules would choose others: epochs by another batch size, say.
        """
        return self.recipe({**values, "recipe": f"{self.config.recipe}-best"[:60], "fit_to_table": ()})


def identity(config: TrainConfig, seed: int, **others: str) -> str:
    """A digest of all that the results of trials depend on: with the same one a sweep can be continued."""
    content = json.dumps([config.model_dump(), seed, sorted(others.items())])
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def open_study(sweep: Sweep) -> Study:
    """Open the study of a sweep; its journal is made if there is none."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    make_folder(sweep.folder)
    return optuna.create_study(
        storage=JournalStorage(Journal(sweep.folder / "journal.log")),
        study_name="sweep",
        load_if_exists=True,
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
    """Complete and pruned trials, by their numbers."""
    return sorted(study.get_trials(deepcopy=False, states=FINISHED), key=lambda trial: trial.user_attrs[NUMBER])


def numbers_left(study: Study, trials: int) -> list[int]:
    """Numbers of the trials that are still to be run, until ``trials`` are finished."""
    done = {trial.user_attrs[NUMBER] for trial in finished(study)}
    failed = Counter(
        trial.user_attrs[NUMBER] for trial in study.get_trials(deepcopy=False) if FAILED in trial.user_attrs
    )
    left = (number for number in count() if number not in done and failed[number] < _MAX_FAILED)
    return list(islice(left, max(0, trials - len(done))))


def mark_unstable(study: Study, number: int) -> None:
    """Note that a complete trial's recipe diverged with another seed, so that it is not the best any more."""
    study.set_user_attr(UNSTABLE, [*study.user_attrs.get(UNSTABLE, []), number])


def ask(study: Study, sweep: Sweep, number: int) -> tuple[Trial, TrainConfig]:
    """Ask for the values of a trial: those it had when it was killed or failed, else new ones.

    The first has those of the unchanged recipe, if it lies in the space: the best is then at least as good.
    Proposals that make no valid recipe are marked as failed, and so is an attempt that still runs: Dask gives a
    trial to another worker when it hears nothing from the first.

    Raises:
        UsageError: a thousand proposals in a row were invalid.
    """
    fail_running(study, number)
    for attempt in range(_MAX_ASKED):
        study.sampler = _sampler(study, sweep, number, attempt)
        trial = study.ask(distributions(sweep.space))
        try:
            config = sweep.recipe(trial.params)
        except ValidationError as err:
            why = plain_reason(err.errors()[0]["msg"])
            trial.set_user_attr(REFUSED, why)
            study.tell(trial, state=TrialState.FAIL)
        else:
            trial.set_user_attr(NUMBER, number)
            return trial, config
    raise UsageError(f"The search space's values do not go together: {why}.", "Leave some of its choices out.")


def _sampler(study: Study, sweep: Sweep, number: int, attempt: int) -> BaseSampler:
    """What proposes the values of a trial; its seed is the same however often the sweep was killed."""
    key = f"{sweep.seed} {number} {attempt}" if attempt else f"{sweep.seed} {number}"
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4])
    if attempt:  # TPE learns nothing from what was refused, and would propose it again and again
        return RandomSampler(seed)
    trials = study.get_trials(deepcopy=False)
    earlier = [trial.params for trial in trials if trial.user_attrs.get(NUMBER) == number]
    if number == 0 and not sweep.space.outside(sweep.config):
        earlier.append(sweep.config.model_dump(include=set(sweep.space.fields)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        # constant_liar: a running trial counts as a bad one, so that two workers do not try the same values.
        sampler = TPESampler(seed=seed, constant_liar=True)
        return PartialFixedSampler(earlier[0], sampler) if earlier else sampler


def fail_running(study: Study, number: int | None = None) -> None:
    """Mark trials, or attempts at one, as failed: their processes are gone, or notice that they are not wanted."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if number in (None, trial.user_attrs.get(NUMBER)):
            study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)


class Journal(JournalFileBackend):
    """Optuna's journal file, which also removes an incomplete last line before it appends.

    Optuna reads past such a line, left by a killed process, but fails permanently once another line follows it.
    """

    def __init__(self, path: Path) -> None:
        lock: Any = _Lock(path)  # it has the two methods of Optuna's own
        super().__init__(str(path), lock)


class _Lock:
    """Ends with its process; one of Optuna's own blocks others for 30 s after a kill."""

    def __init__(self, journal: Path) -> None:
        self._journal = journal
        self._held = ExitStack()

    def acquire(self) -> bool:
        """Take the lock of the journal, whose last line is whole then."""
        with ExitStack() as taken:
            taken.enter_context(brief_lock(self._journal.with_suffix(".lock"), "Another trial's entry"))
            if self._journal.exists():
                _cut_torn_line(self._journal)
            self._held = taken.pop_all()
        return True

    def release(self) -> None:
        """Give it back."""
        self._held.close()


def _cut_torn_line(path: Path) -> None:
    with path.open("rb+") as file:
        size = file.seek(0, 2)
        file.seek(max(size - 1, 0))
        if file.read(1) not in (b"", b"\n"):
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)
