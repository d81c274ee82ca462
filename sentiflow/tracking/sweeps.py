"""Sweeps in MLflow: continue an unfinished one, and sum a finished one up."""

import contextlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mlflow.tracking import MlflowClient
from optuna.study import Study
from optuna.trial import FrozenTrial

from sentiflow.console import Logger
from sentiflow.data.prepare import Prepared
from sentiflow.errors import UsageError
from sentiflow.evaluation.metrics import Spread
from sentiflow.recipes import TrainConfig
from sentiflow.reports.page import Table
from sentiflow.sweeps.results import TrialRow, by_loss, count_of_trials, format_value
from sentiflow.sweeps.study import (
    PARENTS,
    RUN_ID,
    Sweep,
    enqueue_recipe,
    finished,
    open_study,
    requeue_unfinished,
)
from sentiflow.tracking.results import ModelResult, RunContext, SeedResult
from sentiflow.tracking.store import open_store
from sentiflow.tracking.types import Store

_MAX_SHOWN = 10  # trials in the description; the tables have all


def begin_sweep(run: RunContext, home: Path, fresh: Sweep, logger: Logger, *, restart: bool) -> Sweep:
    """Start a sweep, or continue an unfinished one.

    The finished trials of an unfinished sweep become children of this run. Trials that were running are marked as
    failed and their values queued again: their processes are gone, or will notice that they are no longer wanted.

    Args:
        run: the new parent.
        home: folder of all studies of the same sweep.
        fresh: what to start if there is nothing to continue.
        logger: gets a line about an unfinished sweep.
        restart: discard an unfinished sweep.
    """
    sweep = _find_unfinished(open_store(run.settings), home, fresh, logger, restart=restart)
    study = open_study(sweep)
    parents = study.user_attrs.get(PARENTS, [])
    if parents:
        requeue_unfinished(study)
        _take_over_runs(run, study, parents)
        logger.info("continuing an unfinished sweep: %s done", count_of_trials(len(finished(study))))
    else:
        enqueue_recipe(study, sweep)
    study.set_user_attr(PARENTS, [*parents, run.run_id])
    return sweep


def end_sweep(sweep: Sweep) -> None:
    """Delete the study of a finished sweep, so that the same command starts a new one."""
    shutil.rmtree(sweep.folder, ignore_errors=True)
    with contextlib.suppress(OSError):  # the same sweep was started again, in a folder of its own
        sweep.folder.parent.rmdir()


def _find_unfinished(store: Store, home: Path, fresh: Sweep, logger: Logger, *, restart: bool) -> Sweep:
    """The sweep to continue if there is one, else the fresh one; studies that cannot be continued are deleted.

    No two starts share a folder: a remote worker that still trains for the old one would report to trials of the
    new one that have the same numbers.
    """
    for folder in sorted(home.glob("*/")):
        earlier = replace(fresh, folder=folder)
        study = open_study(earlier)
        parents = study.user_attrs.get(PARENTS, [])
        why = "as requested" if restart else _why_not(store, study, parents)
        if why is None:
            return earlier
        if parents:
            logger.info("starting over: %s", why)
        shutil.rmtree(folder)
    return fresh


def _why_not(store: Store, study: Study, parents: Sequence[str]) -> str | None:
    """Why an earlier sweep cannot be continued; None if it can."""
    if not parents:
        return "the earlier sweep had not begun"
    if _status(store, parents[-1]) == "FINISHED":
        return "the earlier sweep is finished"
    if any(_status(store, trial.user_attrs[RUN_ID]) is None for trial in finished(study)):
        return "runs of the earlier sweep are gone from the store"
    return None


def _status(store: Store, run_id: str) -> str | None:
    """Status of a run; None if it does not exist or was deleted."""
    try:
        return store.record(run_id).status
    except UsageError:
        return None


def _take_over_runs(run: RunContext, study: Study, parents: Sequence[str]) -> None:
    for trial in finished(study):
        _adopt(run.client, trial, run.run_id)
    store = open_store(run.settings)
    for parent in parents:
        if _status(store, parent) is not None:
            run.client.set_tag(parent, "continued_by", run.run_id)


def _adopt(client: MlflowClient, trial: FrozenTrial, parent: str) -> None:
    """Move a finished trial's run below another parent; if a kill left it open, close it as finished."""
    run_id = trial.user_attrs[RUN_ID]
    client.set_tag(run_id, "mlflow.parentRunId", parent)
    run = client.get_run(run_id)
    if run.info.status != "FINISHED":
        ended = int(trial.datetime_complete.timestamp() * 1000) if trial.datetime_complete else None
        client.set_terminated(run_id, "FINISHED", end_time=ended)
        if "end" in run.data.tags:
            client.delete_tag(run_id, "end")


@dataclass(frozen=True)
class SweepResult(ModelResult):
    """The outcome of a sweep.

    Attributes:
        trials: the finished ones, in their order.
        config: the best recipe.
        recipe: URI of the best recipe as a file in the store.
        importance: share of the variance that each field explains; empty with too few complete trials.
        importance_text: the same in words, or why there are none.
        seeds: of the best recipe, one result per seed.
        best: the seed whose validation loss is lowest; it is registered.
        accuracy: of the test split, over the seeds; None for a single one.
        seconds: wall time of the whole.
    """

    trials: tuple[TrialRow, ...]
    config: TrainConfig
    recipe: str
    importance: Mapping[str, float]
    importance_text: str
    seeds: tuple[SeedResult, ...]
    best: SeedResult
    accuracy: Spread | None
    seconds: float

    @property
    def accuracy_line(self) -> str:
        """The outcome in one sentence."""
        if self.accuracy is None:
            return f"Test accuracy of the best recipe: {self.best.measured.text()}."
        return (
            f"Test accuracy of the best recipe over {len(self.seeds)} seeds: mean {self.accuracy.mean:.2%}, "
            f"{self.accuracy.text()}."
        )

    @property
    def counts(self) -> str:
        """How many trials are complete and how many were pruned."""
        complete = len(by_loss(self.trials))
        return f"{complete} complete, {len(self.trials) - complete} pruned"

    def metrics(self) -> dict[str, float]:
        """What is logged on the parent run."""
        complete = by_loss(self.trials)
        metrics = {
            "val/loss": float(complete[0].loss or 0.0),
        }
        return (
            metrics | self._accuracy() | {f"importance/{name}": share for name, share in self.importance.items()}
        )

    def _accuracy(self) -> dict[str, float]:
        """Mean and deviation over the seeds; of a single seed the accuracy and its interval."""
        if self.accuracy is not None:
            return self.accuracy.as_metrics("test/accuracy")
        measured = self.best.measured
        return {
            "test/accuracy": measured.accuracy,
            "test/accuracy_ci_low": measured.accuracy_ci_low,
            "test/accuracy_ci_high": measured.accuracy_ci_high,
        }


def sweep_markdown(result: SweepResult, prepared: Prepared, sweep: Sweep, seeds_table: str) -> str:
    """The description of the parent run, in Markdown."""
    fields = list(sweep.space.fields)
    best = by_loss(result.trials)
    trials = [
        (str(row.number), f"{row.loss:.4f}", str(row.epochs), *(format_value(row.values[name]) for name in fields))
        for row in best[:_MAX_SHOWN]
    ]
    return f"""**{result.accuracy_line}**

- trials: {result.counts}; trial {best[0].number} has the lowest validation loss
- what mattered: {result.importance_text}
- searched: {", ".join(fields)}, from the recipe {sweep.config.recipe}
- dataset: {prepared.name}, digest `{prepared.digest[:12]}`
- registered: {result.model.name} version {result.model.version}, of seed {result.best.run.seed}, whose \
validation loss is lowest
- the best recipe: `best.toml` among the artifacts, for `sentiflow train --recipe best.toml`

{Table(("trial", "validation loss", "epochs", *fields), trials, words=0).markdown()}

The best recipe, seed by seed, on the test split, which no trial has seen. All trials used seed {sweep.seed}: its \
validation loss is optimistic, as the best of the trials was chosen by it.

{seeds_table}
"""
