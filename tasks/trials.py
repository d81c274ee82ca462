"""One trial of a sweep, and one seed of its best recipe: tasks that run side by side, wherever the runner says."""

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.samplers import RandomSampler
from optuna.study import Study
from optuna.trial import Trial, TrialState
from prefect import get_run_logger, task
from pydantic import ValidationError

from sentiflow.console import progress_bar
from sentiflow.data import reviews
from sentiflow.data.prepare import Prepared
from sentiflow.data.reviews import Reviews
from sentiflow.errors import UsageError, WorldError
from sentiflow.network.history import Epoch, best_epoch
from sentiflow.recipes import TrainConfig
from sentiflow.runs.record import SEED, TRIAL
from sentiflow.sweeps.results import COMPLETE, DIVERGED, PRUNED
from sentiflow.sweeps.study import ENDED_AS, REFUSED, RUN_ID, Sweep, distributions, open_study
from sentiflow.tracking.client import EpochLog
from sentiflow.tracking.results import RunContext, SeedResult
from sentiflow.tracking.types import NOTE
from tasks.evaluate import evaluate
from tasks.runs import child_run, seeds_label
from tasks.train import train

_ASKED_AT_MOST = 100  # times for values that go together


class _Pruned(Exception):  # noqa: N818 - no error
    """The trial is not worth going on with."""


@dataclass(frozen=True)
class TrialEnd:
    """How a trial ended.

    Attributes:
        number: of the trial; 0 is the first.
        state: complete, pruned, or diverged, which counts as pruned.
        loss: validation loss of the epoch kept, if complete; else of the last epoch, if there was one.
        epochs: that it trained.
    """

    number: int
    state: str
    loss: float | None
    epochs: int

    def __str__(self) -> str:
        loss = "" if self.loss is None else f", val loss {self.loss:.4f}"
        plural = "" if self.epochs == 1 else "s"
        return f"trial {self.number} {self.state} after {self.epochs} epoch{plural}{loss}"


@task(name="start worker", task_run_name="start worker", persist_result=False)
def start_worker() -> None:
    """Import TensorFlow, once a process, while the data is prepared."""
    import sentiflow.network.training  # noqa: F401


@task(name="trial", task_run_name="trial at place {place}", persist_result=False)
def trial(parent: RunContext, prepared: Prepared, sweep: Sweep, place: int) -> TrialEnd:
    """Ask the study what to try, train it, and report its validation loss to the study.

    A diverged training counts as pruned: the study learns to leave such values alone. The test split stays unread.

    Written: the trial in the study; a child run in MLflow, with metrics of each epoch and the tags
    ``trial.number``, ``trial.state`` and ``trial.epochs``.
    """
    study = open_study(sweep, place)
    asked, config = ask(study, sweep)
    try:
        return _tried(study, asked, config, parent, prepared)
    except UpdateFinishedTrialError as err:
        raise WorldError(f"Trial {asked.number} was given up: another run of this sweep has begun.") from err
    except BaseException:
        if study.get_trials(deepcopy=False)[asked.number].state == TrialState.RUNNING:
            study.tell(asked, state=TrialState.FAIL)
        raise
    finally:
        gc.collect()  # networks refer to themselves in circles; a worker trains one after the other


@task(name="train the best", task_run_name="train the best, seed {seed}", persist_result=False)
def train_best(parent: RunContext, prepared: Prepared, config: TrainConfig, seed: int) -> SeedResult:
    """Train the best recipe with one seed, and evaluate it on the test split, as ``repeat`` does.

    Written: a child run in MLflow, as complete as any training's.
    """
    name = f"best-{seeds_label(seed)}-{parent.name.removeprefix('sweep-')}"
    with child_run(parent, name, SEED, prepared, config=config, seed=seed) as run:
        trained = train.fn(run, prepared)
        measured = evaluate.fn(run, prepared, trained)
    return SeedResult(run, trained, measured)


def ask(study: Study, sweep: Sweep) -> tuple[Trial, TrainConfig]:
    """Ask for values until they go together in a recipe; those that do not are marked as failed.

    Raises:
        UsageError: they hardly ever do.
    """
    for _ in range(_ASKED_AT_MOST):
        asked = study.ask(distributions(sweep.space))
        try:
            return asked, sweep.recipe(asked.params)
        except ValidationError as err:
            why = str(err.errors()[0]["msg"]).removeprefix("Value error, ")
            asked.set_user_attr(REFUSED, why)
            study.tell(asked, state=TrialState.FAIL)
            # The sampler learns nothing from what failed, and would propose it again and again.
            study.sampler = RandomSampler(seed=asked.number)
    raise UsageError(f"The search space's values do not go together: {why}.", "Leave some of its choices out.")


def _tried(study: Study, asked: Trial, config: TrainConfig, parent: RunContext, prepared: Prepared) -> TrialEnd:
    tags = {"trial.number": str(asked.number)}
    name = f"trial{asked.number:02d}-{parent.name.removeprefix('sweep-')}"
    with child_run(parent, name, TRIAL, prepared, config=config, tags=tags) as run:
        asked.set_user_attr(RUN_ID, run.run_id)
        ended = _fit(asked, run, prepared)
        # The study first: a run that is open though its trial is finished can be closed later, whole as it is.
        asked.set_user_attr(ENDED_AS, ended.state)
        if ended.state == COMPLETE:
            study.tell(asked, ended.loss)
        else:
            study.tell(asked, state=TrialState.PRUNED)
    return ended


def _fit(asked: Trial, run: RunContext, prepared: Prepared) -> TrialEnd:
    """Train until the end, the pruner's no, or a divergence; log what came of it."""
    logger = get_run_logger()
    epochs: list[Epoch] = []
    log = EpochLog(run, run.config.epochs, logger)

    def on_epoch(epoch: Epoch) -> None:
        epochs.append(epoch)
        log.add(epoch)
        asked.report(epoch.val_loss, epoch.number)
        if epoch.number < run.config.epochs and asked.should_prune():
            raise _Pruned

    tried = ", ".join(f"{name}={shown(value)}" for name, value in asked.params.items())
    logger.info("trial %d tries %s", asked.number, tried)
    state, kept = _trained(run, prepared, on_epoch)
    last = kept or (epochs[-1] if epochs else None)
    ended = TrialEnd(asked.number, state, last.val_loss if last else None, len(epochs))
    log.flush()
    run.log(_metrics(ended, epochs, kept))
    note = f"trial {asked.number} tries {tried}\n\n{ended}"
    run.tag({"trial.state": state, "trial.epochs": str(len(epochs)), NOTE: note})
    logger.info("%s", ended)
    return ended


def _metrics(ended: TrialEnd, epochs: Sequence[Epoch], kept: Epoch | None) -> dict[str, float]:
    metrics = {"train/epochs": float(ended.epochs), "trial/number": float(ended.number)}
    if epochs:
        best = best_epoch(epochs)
        metrics |= {"val/best_loss": best.val_loss, "val/best_epoch": float(best.number)}
    if kept:
        metrics |= {"val/kept_loss": kept.val_loss, "train/kept_epoch": float(kept.number)}
    return metrics


def _trained(run: RunContext, prepared: Prepared, on_epoch: Callable[[Epoch], None]) -> tuple[str, Epoch | None]:
    """Train; how it ended, and if it came to its end the epoch whose weights would be kept."""
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
    """The reviews to learn from, kept from trial to trial."""
    return reviews.read(table).learning_splits(fraction)


def shown(value: Any) -> str:
    """A value for people: numbers by four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
