"""A sweep's Optuna study: a SQLite file in the data folder, until the sweep is finished."""

import hashlib
import json
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from optuna.pruners import MedianPruner
from optuna.samplers import TPESampler
from optuna.storages import RDBStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState
from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError

from sentiflow.errors import ExternalError, UsageError, first_line, plain_reason
from sentiflow.files import make_folder
from sentiflow.redaction import redact
from sentiflow.run.record import PARENT_RUN
from sentiflow.store.find import open_store
from sentiflow.store.records import Store
from sentiflow.sweeps.space import SearchSpace
from sentiflow.training.context import RunContext
from sentiflow.training.recipes import TrainConfig

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
RUN_ID, ENDED_AS = "run_id", "ended_as"  # attributes of a trial
# Attributes of the study: its latest MLflow parent run; the trials that diverged with another seed.
PARENT, UNSTABLE = "parent", "unstable"

_COMPLETE_FIRST = 4  # trials before any is pruned: the median of fewer says little
_MAX_ASKED = 1_000  # times in a row for values that go together
_PATIENCE = 60.0  # seconds that a process waits for another one's entry


@dataclass(frozen=True)
class Sweep:
    """What its trials share: a folder for each start, and one seed, so that trials differ by values only."""

    folder: Path
    space: SearchSpace
    config: TrainConfig
    seed: int

    def recipe(self, values: Mapping[str, Any]) -> TrainConfig:
        """The recipe with other values, checked as every recipe is."""
        left = [name for name in self.config.fit_to_table if name not in values]
        return TrainConfig(**{**self.config.model_dump(), "fit_to_table": left, **values})

    def best(self, values: Mapping[str, Any]) -> TrainConfig:
        """The recipe with the best values, by a name of its own; what rules chose for the trials stays."""
        return self.recipe({**values, "recipe": f"{self.config.recipe}-best"[:60], "fit_to_table": ()})


def identity(config: TrainConfig, seed: int, **others: str) -> str:
    """A digest of all that the results of trials depend on: with the same one a sweep can be continued."""
    content = json.dumps([config.model_dump(), seed, sorted(others.items())])
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def begin(run: RunContext, dataset: str, space: SearchSpace, name: str, *, restart: bool) -> Sweep:
    """Start a sweep, or continue an unfinished one with the same recipe, space, seed, dataset, store and name.

    ``dataset`` is the digest of the prepared one. No two starts share a folder: a remote worker that still trains
    for the old one would report to trials of the new one.
    """
    settings = run.settings
    others = {"store": redact(settings.tracking_uri), "experiment": settings.experiment}
    others["start"] = f"{run.start.name} {run.start.digest}"  # losses from another one cannot be compared
    key = identity(run.config, run.seed, dataset=dataset, space=space.digest, name=name, **others)
    home = settings.data_dir / "sweeps" / run.model_name / key
    sweep = Sweep(home / run.run_id, space, run.config, run.seed)
    store = open_store(settings)
    with run.errors(), study_errors():
        for folder in sorted(home.glob("*/")):
            earlier = replace(sweep, folder=folder)
            if not restart and _goes_on(store, earlier):
                sweep = earlier
            else:
                shutil.rmtree(folder)
        study = open_study(sweep)
        if PARENT in study.user_attrs:
            _continue(run, study, store)
        elif not space.outside(run.config):  # the recipe itself first: the best is then at least as good
            study.enqueue_trial(run.config.model_dump(include=set(space.fields)))
        study.set_user_attr(PARENT, run.run_id)
    return sweep


def end(sweep: Sweep) -> None:
    """Delete the study of a finished sweep, so that the same command starts a new one."""
    shutil.rmtree(sweep.folder, ignore_errors=True)
    with suppress(OSError):  # the same sweep was started again, in a folder of its own
        sweep.folder.parent.rmdir()


def _goes_on(store: Store, earlier: Sweep) -> bool:
    """Whether an earlier sweep has begun and did not finish, and the store still has runs of its trials."""
    study = open_study(earlier)
    if PARENT not in study.user_attrs or _status(store, study.user_attrs[PARENT]) == "FINISHED":
        return False
    done = finished(study)
    return not done or any(_status(store, trial.user_attrs[RUN_ID]) for trial in done)


def _status(store: Store, run_id: str) -> str | None:
    """Status of a run; None if it does not exist or was deleted."""
    try:
        return store.record(run_id).status
    except UsageError:
        return None


def _continue(run: RunContext, study: Study, store: Store) -> None:
    """Try again what was running; runs of finished trials, left open or not, go below the new parent."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
        study.enqueue_trial(trial.params)
    client = run.client
    for trial in finished(study):
        with suppress(UsageError):  # a person deleted its run
            record = store.record(trial.user_attrs[RUN_ID])
            client.set_tag(record.run_id, PARENT_RUN, run.run_id)
            if record.status != "FINISHED":
                ended = int(trial.datetime_complete.timestamp() * 1000) if trial.datetime_complete else None
                client.set_terminated(record.run_id, "FINISHED", end_time=ended)
                if "end" in record.tags:
                    client.delete_tag(record.run_id, "end")
    run.tag({"continues": study.user_attrs[PARENT]})


@contextmanager
def study_errors() -> Iterator[None]:
    """Turn failures of the study's file, of a full disk say, into an error that says what to do."""
    try:
        yield
    except (StorageInternalError, SQLAlchemyError) as err:
        raise ExternalError(
            f"The study of the sweep cannot be read or written: {first_line(err.__cause__ or err)}",
            "Run the same command again; if it stays so, start over with --restart.",
        ) from err


def open_study(sweep: Sweep) -> Study:
    """Open the study of a sweep; it is made if there is none."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    make_folder(sweep.folder)
    file = sweep.folder / "study.db"
    connect = partial(sqlite3.connect, str(file), timeout=_PATIENCE, check_same_thread=False)
    study = optuna.create_study(
        storage=RDBStorage("sqlite:///study.db", {"creator": connect}),  # an address would need escapes
        study_name="sweep",
        load_if_exists=True,
        # Not Hyperband: a training has only a few epochs, too small a budget to divide. The first quarter is never
        # pruned, because averaged weights and a cosine rate look bad at first.
        pruner=MedianPruner(_COMPLETE_FIRST, max(1, sweep.config.epochs // 4) + 1),
    )
    # By the number of trials, so that a sweep that goes on does not propose again what it began with.
    count = len(study.get_trials(deepcopy=False))
    study.sampler = TPESampler(seed=Random(f"{sweep.seed} {count}").getrandbits(32))
    return study


def finished(study: Study) -> list[FrozenTrial]:
    """Complete and pruned trials, by their numbers."""
    return study.get_trials(deepcopy=False, states=FINISHED)


def mark_unstable(study: Study, number: int) -> None:
    """Note that a complete trial's recipe diverged with another seed, so that it is not the best any more."""
    study.set_user_attr(UNSTABLE, [*study.user_attrs.get(UNSTABLE, []), number])


def ask(study: Study, sweep: Sweep) -> tuple[Trial, TrainConfig]:
    """Ask for the values of a trial; proposals that make no valid recipe are marked as failed."""
    for _ in range(_MAX_ASKED):
        trial = study.ask(dict(sweep.space.fields))
        try:
            return trial, sweep.recipe(trial.params)
        except ValidationError as err:
            why = plain_reason(err.errors()[0]["msg"])
            study.tell(trial, state=TrialState.FAIL)
    raise UsageError(f"The search space's values do not go together: {why}.", "Leave some of its choices out.")
