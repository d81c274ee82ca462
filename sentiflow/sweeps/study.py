"""A sweep's Optuna study, a SQLite file in the data folder until the sweep is finished, and its trials."""

import hashlib
import json
import logging
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError, TrialPruned
from optuna.pruners import MedianPruner
from optuna.samplers import TPESampler
from optuna.storages import RDBStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState
from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError

from sentiflow.console import progress_bar
from sentiflow.data import reviews
from sentiflow.data.prepare import Prepared
from sentiflow.errors import DivergedError, ExternalError, UsageError, first_line, plain_reason
from sentiflow.evaluation.scores import Epoch
from sentiflow.files import make_folder
from sentiflow.redaction import redact
from sentiflow.results import COMPLETE, DIVERGED, PRUNED, TrialRow
from sentiflow.run.record import epoch_tags, value_text
from sentiflow.store.client import EpochLog
from sentiflow.store.records import NOTE
from sentiflow.sweeps.space import SearchSpace
from sentiflow.training.context import RunContext
from sentiflow.training.recipes import TrainConfig
from sentiflow.training.start_from import load_start

logger = logging.getLogger(__name__)

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

    ``dataset`` is the digest of the prepared one. A restart has a folder of its own: a remote worker that still
    trains for the old one would report to trials of the new one.
    """
    settings = run.settings
    others = {"store": redact(settings.tracking_uri), "experiment": settings.experiment}
    others["start"] = f"{run.start.name} {run.start.digest}"  # losses from another one cannot be compared
    key = identity(run.config, run.seed, dataset=dataset, space=space.digest, name=name, **others)
    home = settings.data_dir / "sweeps" / run.model_name / key
    unfinished = None if restart else next(home.glob("*/study.db"), None)
    folder = unfinished.parent if unfinished else home / run.run_id
    for other in home.glob("*/"):
        if other != folder:
            shutil.rmtree(other)
    sweep = Sweep(folder, space, run.config, run.seed)
    with run.errors(), study_errors():
        study = open_study(sweep)
        if earlier := study.user_attrs.get(PARENT):
            run.tag({"continues": earlier})
            for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):  # its process was killed
                study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
                study.enqueue_trial(trial.params)
        elif not space.outside(run.config):  # the recipe itself first: the best is then at least as good
            study.enqueue_trial(run.config.model_dump(include=set(space.fields)))
        study.set_user_attr(PARENT, run.run_id)
    return sweep


def end(sweep: Sweep) -> None:
    """Delete the study of a finished sweep, so that the same command starts a new one."""
    shutil.rmtree(sweep.folder, ignore_errors=True)
    with suppress(OSError):  # the same sweep was started again, in a folder of its own
        sweep.folder.parent.rmdir()


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


def trial_rows(study: Study) -> list[TrialRow]:
    """The finished trials, by their numbers."""
    unstable = study.user_attrs.get(UNSTABLE, [])
    return [_row(trial, unstable) for trial in finished(study)]


def _row(trial: FrozenTrial, unstable: Sequence[int]) -> TrialRow:
    losses = trial.intermediate_values.values()
    complete = trial.state == TrialState.COMPLETE
    return TrialRow(
        number=trial.number,
        state=DIVERGED if trial.number in unstable else trial.user_attrs[ENDED_AS],
        loss=trial.value if complete else min(losses, default=None),
        epochs=len(losses),
        seconds=trial.duration.total_seconds() if trial.duration else 0.0,
        values=trial.params,
        run_id=trial.user_attrs[RUN_ID],
    )


def run_trial(asked: Trial, run: RunContext, prepared: Prepared) -> str:
    """Train to the end, the pruner's no or a divergence, which counts as pruned; gives how it ended."""
    asked.set_user_attr(RUN_ID, run.run_id)  # fails if the trial was ended meanwhile
    epochs: list[Epoch] = []
    log = EpochLog(run, run.config.epochs)

    def on_epoch(epoch: Epoch) -> None:
        epochs.append(epoch)
        log.add(epoch)
        asked.report(epoch.val_loss, epoch.number)
        if epoch.number < run.config.epochs and asked.should_prune():
            raise TrialPruned

    title = f"trial {asked.number} tries {format_values(asked.params)}"
    logger.info("%s", title)
    state, kept = _trained(run, prepared, on_epoch)
    loss = "".join(f", val loss {epoch.val_loss:.4f}" for epoch in ([kept] if kept else epochs[-1:]))
    line = f"trial {asked.number} {state} after {len(epochs)} epoch{'' if len(epochs) == 1 else 's'}{loss}"
    log.end(kept)
    best = kept.number if kept and run.config.early_stopping_patience else None
    run.tag({"trial.state": state, **epoch_tags(len(epochs), best), NOTE: f"{title}\n\n{line}"})
    logger.info("%s", line)
    # The study before the run's end: an open run of a finished trial is complete, and closed with the next sweep.
    asked.set_user_attr(ENDED_AS, state)
    if kept is None:
        asked.study.tell(asked, state=TrialState.PRUNED)
    else:
        asked.study.tell(asked, kept.val_loss)
    return line


def _trained(run: RunContext, prepared: Prepared, on_epoch: Callable[[Epoch], None]) -> tuple[str, Epoch | None]:
    """Train; gives the trial's state, and if it is complete the epoch whose weights are kept."""
    train_split, validation = reviews.read(prepared.table).learning_splits(run.config.validation_fraction)
    from sentiflow.training.network.loop import train_from

    try:
        start, words = load_start(run.start, run.settings), reviews.read_vocabulary(prepared.table)
        config = run.config.model_copy(update={"final_training": False})  # a trial is judged before it
        trained = train_from(start, words, train_split, validation, config, run.seed, on_epoch, progress_bar)
    except TrialPruned:
        return PRUNED, None
    except DivergedError:
        return DIVERGED, None
    return COMPLETE, trained.kept


def count_of_trials(count: int) -> str:
    return f"{count:,} trial{'' if count == 1 else 's'}"


def format_values(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value_text(value)}" for name, value in values.items())
