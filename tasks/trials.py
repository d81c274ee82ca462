"""Tasks: one trial of a sweep, and one seed of its best recipe; the runner decides where they run."""

import gc
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from optuna.exceptions import UpdateFinishedTrialError
from optuna.study import Study
from optuna.trial import Trial, TrialState
from prefect import get_run_logger, task

from sentiflow.console import progress_bar
from sentiflow.data import reviews
from sentiflow.data.prepare import Prepared
from sentiflow.data.reviews import Reviews
from sentiflow.errors import ExternalError, UsageError
from sentiflow.network.history import Epoch
from sentiflow.recipes import TrainConfig
from sentiflow.runs.record import REPEAT, TRIAL, epoch_tags
from sentiflow.sweeps.results import COMPLETE, DIVERGED, PRUNED, TrialEnd, format_values
from sentiflow.sweeps.study import ENDED_AS, RUN_ID, Sweep, ask, open_study
from sentiflow.tracking.client import EpochLog
from sentiflow.tracking.results import RunContext, SeedResult
from sentiflow.tracking.types import NOTE
from tasks.evaluate import evaluate
from tasks.runs import child_run, seeds_label
from tasks.train import train


class _Pruned(Exception):  # noqa: N818 - no error
    """The pruner stopped the trial."""


@task(name="start worker", task_run_name="start worker", persist_result=False)
def start_worker() -> None:
    """Import TensorFlow in a worker process while the data is prepared."""
    import sentiflow.network.training  # noqa: F401


@task(name="trial", task_run_name="trial at place {place}", persist_result=False)
def trial(parent: RunContext, prepared: Prepared, sweep: Sweep, place: int) -> TrialEnd:
    """Ask the study for values, train with them, and report the validation loss to the study.

    A diverged training counts as pruned, so that the study avoids such values. The test split is not used.

    Written: the trial in the study; a child run in MLflow, with metrics of each epoch and the tags
    ``trial.number``, ``trial.state`` and those of ``epoch_tags``.
    """
    study = open_study(sweep, place)
    asked, config = ask(study, sweep)
    try:
        return _run_trial(study, asked, config, parent, prepared)
    except UpdateFinishedTrialError as err:
        raise ExternalError(f"Trial {asked.number} was given up: another run has continued this sweep.") from err
    except BaseException:
        if study.get_trials(deepcopy=False)[asked.number].state == TrialState.RUNNING:
            study.tell(asked, state=TrialState.FAIL)
        raise
    finally:
        gc.collect()  # a worker trains many networks, which hold reference cycles


@task(name="train the best", task_run_name="train the best, seed {seed}", persist_result=False)
def train_best(parent: RunContext, prepared: Prepared, config: TrainConfig, seed: int) -> SeedResult:
    """Train the best recipe with one seed, and evaluate it on the test split, as ``repeat`` does.

    Written: a child run in MLflow, as complete as any training's.
    """
    name = f"best-{seeds_label(seed)}-{parent.name.removeprefix('sweep-')}"
    with child_run(parent, name, REPEAT, prepared, config=config, seed=seed) as run:
        trained = train.fn(run, prepared)
        measured = evaluate.fn(run, prepared, trained)
    return SeedResult(run, trained, measured)


def _run_trial(
    study: Study, asked: Trial, config: TrainConfig, parent: RunContext, prepared: Prepared
) -> TrialEnd:
    tags = {"trial.number": str(asked.number)}
    name = f"trial{asked.number:02d}-{parent.name.removeprefix('sweep-')}"
    with child_run(parent, name, TRIAL, prepared, config=config, tags=tags) as run:
        asked.set_user_attr(RUN_ID, run.run_id)
        ended = _fit(asked, run, prepared)
        # The study first: an open run of a finished trial is complete, and is closed when the sweep is continued.
        asked.set_user_attr(ENDED_AS, ended.state)
        if ended.state == COMPLETE:
            study.tell(asked, ended.loss)
        else:
            study.tell(asked, state=TrialState.PRUNED)
    return ended


def _fit(asked: Trial, run: RunContext, prepared: Prepared) -> TrialEnd:
    """Train until the end, the pruner or a divergence stops it; log the outcome."""
    logger = get_run_logger()
    epochs: list[Epoch] = []
    log = EpochLog(run, run.config.epochs, logger)

    def on_epoch(epoch: Epoch) -> None:
        epochs.append(epoch)
        log.add(epoch)
        asked.report(epoch.val_loss, epoch.number)
        if epoch.number < run.config.epochs and asked.should_prune():
            raise _Pruned

    title = f"trial {asked.number} tries {format_values(asked.params)}"
    logger.info("%s", title)
    state, kept = _trained(run, prepared, on_epoch)
    ended = TrialEnd(asked.number, state, tuple(epochs), kept)
    log.end(kept)
    best = kept.number if kept and run.config.early_stopping_patience else None
    run.tag({"trial.state": state, **epoch_tags(len(epochs), best), NOTE: f"{title}\n\n{ended}"})
    logger.info("%s", ended)
    return ended


def _trained(run: RunContext, prepared: Prepared, on_epoch: Callable[[Epoch], None]) -> tuple[str, Epoch | None]:
    """Train; gives the trial's state, and if it is complete the epoch whose weights are kept."""
    train_split, validation = _splits(prepared.table, run.config.validation_fraction)
    from sentiflow.network import training

    try:
        trained = training.train(train_split, validation, run.config, run.seed, on_epoch, progress_bar)
    except _Pruned:
        return PRUNED, None
    except UsageError as err:
        if "diverged" not in str(err):
            raise
        return DIVERGED, None
    return COMPLETE, trained.history[trained.kept - 1]


@lru_cache(maxsize=1)
def _splits(table: Path, fraction: float) -> tuple[Reviews, Reviews]:
    """Training and validation reviews, cached between trials."""
    return reviews.read(table).learning_splits(fraction)
