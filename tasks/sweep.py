"""Tasks of a sweep: its beginning, a trial, a seed of its best recipe, its summary."""

import gc
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import UUID

from mlflow.tracking import MlflowClient
from optuna.exceptions import TrialPruned, UpdateFinishedTrialError
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState
from prefect import get_run_logger, runtime, task
from prefect.client.orchestration import get_client
from prefect.states import Crashed

from sentiflow.console import progress_bar
from sentiflow.data import reviews
from sentiflow.data.prepare import Prepared
from sentiflow.errors import DeletedError, DivergedError, ExternalError, UsageError, first_line
from sentiflow.evaluation import Epoch
from sentiflow.evaluation.metrics import Spread, spread
from sentiflow.orchestration.flow_runs import close_tasks
from sentiflow.orchestration.repair import RUNNING
from sentiflow.output import redact
from sentiflow.recipes import TrainConfig
from sentiflow.reports.page import Table, escape_markdown
from sentiflow.results import ModelResult, Registered, SeedResult
from sentiflow.runs.record import REPEAT, TRIAL, RunRecord, epoch_tags
from sentiflow.sweeps import results
from sentiflow.sweeps.space import SearchSpace
from sentiflow.sweeps.study import (
    ENDED_AS,
    FAILED,
    NUMBER,
    PARENTS,
    RUN_ID,
    Sweep,
    ask,
    fail_running,
    finished,
    identity,
    open_study,
)
from sentiflow.tracking.client import EpochLog
from sentiflow.tracking.context import RunContext
from sentiflow.tracking.reports import PAGE, report_on
from sentiflow.tracking.starts import load_start
from sentiflow.tracking.store import open_store
from sentiflow.tracking.types import NOTE, Store
from tasks.evaluate import evaluate
from tasks.runs import changed_fields, child_run, publish_summary, seeds_label
from tasks.summarize import log_yardstick, seeds_table
from tasks.train import train

_MAX_SHOWN = 10  # trials in the description; the tables have all


@task(name="begin", task_run_name="begin", persist_result=False)
def begin(run: RunContext, prepared: Prepared, space: SearchSpace, name: str, restart: bool) -> Sweep:
    """Start a sweep, or continue an unfinished one with the same recipe, space, seed, dataset, store and name.

    The finished trials of an unfinished sweep become children of this run. Trials that were running are marked as
    failed, and tried again.

    Written: the study's journal in the data folder, deleted when the sweep is finished; tags of this run and of
    the earlier ones that tell that one continues the other.
    """
    if outside := space.outside(run.config):
        values = results.format_values(outside)
        get_run_logger().warning("the recipe is outside of the space, and so not tried itself: %s", values)
    settings = run.settings
    store = {"store": redact(settings.tracking_uri), "experiment": settings.experiment}
    store["start"] = f"{run.start.name} {run.start.digest}"  # losses from another one cannot be compared
    key = identity(run.config, run.seed, dataset=prepared.digest, space=space.digest, name=name, **store)
    home = settings.data_dir / "sweeps" / run.model_name / key
    fresh = Sweep(home / run.run_id, space, run.config, run.seed)
    with run.errors():
        sweep = _find_unfinished(open_store(settings), home, fresh, restart=restart)
        study = open_study(sweep)
        parents = study.user_attrs.get(PARENTS, [])
        study.set_user_attr(PARENTS, [*parents, run.run_id])
        if parents:
            fail_running(study)
            _take_over_runs(run, study, parents)
            done = results.count_of_trials(len(finished(study)))
            get_run_logger().info("continuing an unfinished sweep: %s done", done)
    return sweep


def end_sweep(sweep: Sweep) -> None:
    """Delete the study of a finished sweep, so that the same command starts a new one."""
    shutil.rmtree(sweep.folder, ignore_errors=True)
    with suppress(OSError):  # the same sweep was started again, in a folder of its own
        sweep.folder.parent.rmdir()


def close_killed(run: RunContext) -> None:
    """Close what killed processes left open below a run. A failure is logged: the next start closes the rest.

    Written: the end of runs in MLflow, and of tasks in Prefect.
    """
    why, mine = "it did not end in time with its sweep", f"tags.`mlflow.parentRunId` = '{run.run_id}'"
    try:
        for child in run.client.search_runs([run.experiment], f"{RUNNING} and {mine}"):
            run.client.set_tag(child.info.run_id, "end", why)
            run.client.set_terminated(child.info.run_id, "KILLED")
        with get_client(sync_client=True) as prefect:
            flow_run = prefect.read_flow_run(UUID(runtime.flow_run.id))
            close_tasks(prefect, flow_run, Crashed(message=f"{why[0].upper()}{why[1:]}."))
    except Exception as err:  # noqa: BLE001 - the error on its way matters more
        get_run_logger().warning("Could not close what killed processes left: %s", redact(first_line(err)))


def _find_unfinished(store: Store, home: Path, fresh: Sweep, *, restart: bool) -> Sweep:
    """The sweep to continue if there is one, else the fresh one; studies that cannot be continued are deleted.

    No two starts share a folder: a remote worker that still trains for the old one would report to trials of the
    new one that have the same numbers.
    """
    for folder in sorted(home.glob("*/")):
        earlier = replace(fresh, folder=folder)
        why = "as requested" if restart else _why_not(store, earlier)
        if why is None:
            return earlier
        if why:
            get_run_logger().info("starting over: %s", why)
        shutil.rmtree(folder)
    return fresh


def _why_not(store: Store, earlier: Sweep) -> str | None:
    """Why an earlier sweep cannot be continued; empty if it had not begun, None if it can.

    Raises:
        ExternalError: its study cannot be read.
    """
    try:
        study = open_study(earlier)
    except (ValueError, KeyError, TypeError, AssertionError) as err:  # of a damaged line
        raise ExternalError(
            f"The study of the earlier sweep cannot be read: {earlier.folder}: {first_line(err)}",
            "Start over with --restart.",
        ) from err
    parents = study.user_attrs.get(PARENTS, [])
    if not parents:
        return ""
    if _status(store, parents[-1]) == "FINISHED":
        return "the earlier sweep is finished"
    done = finished(study)
    if done and all(_status(store, trial.user_attrs[RUN_ID]) is None for trial in done):
        return "the runs of the earlier sweep are gone from the store"
    return None


def _status(store: Store, run_id: str) -> str | None:
    """Status of a run; None if it does not exist or was deleted."""
    try:
        return store.record(run_id).status
    except UsageError:
        return None


def _take_over_runs(run: RunContext, study: Study, parents: Sequence[str]) -> None:
    store = open_store(run.settings)
    for trial in finished(study):
        with suppress(UsageError):  # a person deleted its run
            _adopt(run.client, trial, store.record(trial.user_attrs[RUN_ID]), run.run_id)
    run.tag({"continues": parents[-1]})
    for parent in parents:
        if _status(store, parent) is not None:
            run.client.set_tag(parent, "continued_by", run.run_id)


def _adopt(client: MlflowClient, trial: FrozenTrial, run: RunRecord, parent: str) -> None:
    """Move a finished trial's run below another parent; if a kill left it open, close it as finished."""
    client.set_tag(run.run_id, "mlflow.parentRunId", parent)
    if run.status != "FINISHED":
        ended = int(trial.datetime_complete.timestamp() * 1000) if trial.datetime_complete else None
        client.set_terminated(run.run_id, "FINISHED", end_time=ended)
        if "end" in run.tags:
            client.delete_tag(run.run_id, "end")


@task(name="start worker", task_run_name="start worker", persist_result=False)
def start_worker() -> None:
    """Import TensorFlow in a worker process while the data is prepared."""
    import sentiflow.network.training  # noqa: F401

    gc.freeze()  # what is imported stays; to look through it after each trial takes half a second


@task(name="trial", task_run_name="trial {number}", persist_result=False)
def trial(parent: RunContext, prepared: Prepared, sweep: Sweep, number: int) -> str:
    """Ask the study for values, train with them, report the validation loss to the study; gives how it ended.

    A diverged training counts as pruned, so that the study avoids such values. The test split is not used.

    Written: the trial in the study; a child run in MLflow, with metrics of each epoch and the tags
    ``trial.number``, ``trial.state`` and those of ``epoch_tags``.
    """
    study = open_study(sweep)
    given_up = f"Trial {number} was given up: another run has continued this sweep."
    if study.user_attrs[PARENTS][-1] != parent.run_id:  # before it asks, which ends other attempts
        raise ExternalError(given_up)
    try:
        asked, config = ask(study, sweep, number)
        return _run_trial(study, asked, config, parent, prepared)
    except UpdateFinishedTrialError as err:
        raise ExternalError(given_up) from err
    finally:
        gc.collect()  # a worker trains many networks, which hold reference cycles


def _run_trial(study: Study, asked: Trial, config: TrainConfig, parent: RunContext, prepared: Prepared) -> str:
    number = asked.user_attrs[NUMBER]
    tags = {"trial.number": str(number)}
    name = f"trial{number:02d}-{parent.name.removeprefix('sweep-')}"
    try:
        with child_run(parent, name, TRIAL, prepared, config=config, tags=tags) as run:
            asked.set_user_attr(RUN_ID, run.run_id)
            state, kept, line = _fit(asked, run, prepared)
            # The study first: an open run of a finished trial is complete, and is closed with the next sweep.
            asked.set_user_attr(ENDED_AS, state)
            if kept is not None:
                study.tell(asked, kept.val_loss)
            else:
                study.tell(asked, state=TrialState.PRUNED)
        return line
    except DeletedError:
        study.tell(asked, state=TrialState.FAIL, skip_if_finished=True)
        return f"trial {number} was deleted in MLflow"
    except (ExternalError, UpdateFinishedTrialError):
        raise  # as after a kill, it still runs
    except Exception:
        with suppress(UpdateFinishedTrialError):
            asked.set_user_attr(FAILED, True)  # noqa: FBT003
            study.tell(asked, state=TrialState.FAIL)
        raise


def _fit(asked: Trial, run: RunContext, prepared: Prepared) -> tuple[str, Epoch | None, str]:
    """Train until the end, the pruner or a divergence stops it, and log that.

    Returns:
        The trial's state; if it is complete, the epoch whose weights are kept; both in words.
    """
    logger = get_run_logger()
    epochs: list[Epoch] = []
    log = EpochLog(run, run.config.epochs, logger)

    def on_epoch(epoch: Epoch) -> None:
        epochs.append(epoch)
        log.add(epoch)
        asked.report(epoch.val_loss, epoch.number)
        if epoch.number < run.config.epochs and asked.should_prune():
            raise TrialPruned

    number = asked.user_attrs[NUMBER]
    title = f"trial {number} tries {results.format_values(asked.params)}"
    logger.info("%s", title)
    state, kept = _trained(run, prepared, on_epoch)
    loss = "".join(f", val loss {epoch.val_loss:.4f}" for epoch in ([kept] if kept else epochs[-1:]))
    line = f"trial {number} {state} after {len(epochs)} epoch{'' if len(epochs) == 1 else 's'}{loss}"
    log.end(kept)
    best = kept.number if kept and run.config.early_stopping_patience else None
    run.tag({"trial.state": state, **epoch_tags(len(epochs), best), NOTE: f"{title}\n\n{line}"})
    logger.info("%s", line)
    return state, kept, line


def _trained(run: RunContext, prepared: Prepared, on_epoch: Callable[[Epoch], None]) -> tuple[str, Epoch | None]:
    """Train; gives the trial's state, and if it is complete the epoch whose weights are kept."""
    train_split, validation = reviews.read(prepared.table).learning_splits(run.config.validation_fraction)
    from sentiflow.network.start import train_from

    try:
        start, words = load_start(run.start, run.settings), reviews.read_vocabulary(prepared.table)
        config = run.config.model_copy(update={"final_training": False})  # a trial is judged before it
        trained = train_from(start, words, train_split, validation, config, run.seed, on_epoch, progress_bar)
    except TrialPruned:
        return results.PRUNED, None
    except DivergedError:
        return results.DIVERGED, None
    return results.COMPLETE, trained.kept


@task(name="train the best", task_run_name="train the best, seed {seed}", persist_result=False)
def train_best(
    parent: RunContext, prepared: Prepared, config: TrainConfig, seed: int, yardstick: Path | None
) -> SeedResult:
    """Train the best recipe with one seed, and evaluate it on the test split, as ``repeat`` does.

    Written: a child run in MLflow, as complete as any training's.
    """
    name = f"best-{seeds_label(seed)}-{parent.name.removeprefix('sweep-')}"
    with child_run(parent, name, REPEAT, prepared, config=config, seed=seed) as run:
        trained = train.fn(run, prepared)
        measured = evaluate.fn(run, prepared, trained, yardstick)
    return SeedResult(run, trained, measured)


@dataclass(frozen=True)
class SweepResult(ModelResult):
    """The outcome of a sweep: its finished trials, in their order, and the seeds of the best recipe, ``config``.

    The seed whose validation loss is lowest, ``best``, is registered. The seconds are wall time of the whole.

    Attributes:
        recipe: URI of the best recipe as a file in the store; not shown, as it may hold a login.
        importance: share of the variance that each field explains; empty with too few complete trials.
        importance_text: the same in words, or why there are none.
        accuracy: of the test split, over the seeds; None for a single one.
    """

    trials: tuple[results.TrialRow, ...]
    config: TrainConfig
    recipe: str = field(repr=False)
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


@task(name="summarize", task_run_name="summarize", persist_result=False)
def summarize_sweep(
    run: RunContext,
    prepared: Prepared,
    sweep: Sweep,
    config: TrainConfig,
    seeds: Sequence[SeedResult],
    best: SeedResult,
    model: Registered,
) -> SweepResult:
    """Sum a sweep up.

    Written: plots, the table of trials and the best recipe as artifacts of the parent; the values of the searched
    fields in that recipe as parameters, and the tag ``recipe.changes``; ``val/loss``,
    ``trials.complete``, ``trials.pruned``, ``time.total``, the mean and sd of ``test/accuracy`` (of a single seed
    its accuracy and interval), and the description; a markdown summary and a link to it in Prefect.
    """
    study = open_study(sweep)
    rows, shares = results.trial_rows(study), results.importance_of(study)
    complete, importance = results.by_loss(rows), results.describe_importance(shares, rows)
    folder = run.work / "artifacts"
    results.write_files(folder, rows, sweep, config, run.name)
    results.write_importance(folder / "plots", shares, importance)
    run.upload(folder)
    title = f"{run.name}: the best recipe, seed by seed"
    run.text(report_on(run.settings, [each.run.run_id for each in seeds], title).page(), PAGE)
    result = SweepResult(
        run_id=run.run_id,
        run_name=run.name,
        run_url=run.url,
        trials=tuple(rows),
        config=config,
        recipe=f"{run.record().artifact_uri}/best.toml",
        importance=shares,
        importance_text=importance,
        seeds=tuple(seeds),
        best=best,
        model=model,
        accuracy=spread([each.measured.accuracy for each in seeds]) if len(seeds) > 1 else None,
        seconds=run.seconds,
        yardstick=log_yardstick(run, best),
    )
    importances = {f"importance/{name}": share for name, share in shares.items()}
    run.log({"val/loss": float(complete[0].loss or 0.0), **_accuracy(result), **importances})
    run.tag_seconds({"total": result.seconds})
    run.params({name: getattr(config, name) for name in sweep.space.fields})
    changes = changed_fields(sweep.recipe({name: getattr(config, name) for name in sweep.space.fields}))
    trials = {"trials.complete": str(len(complete)), "trials.pruned": str(len(rows) - len(complete))}
    run.tag({**trials, "recipe.changes": changes or "none"})
    publish_summary(run, _markdown(result, prepared, sweep), "sweep-summary")
    return result


def _accuracy(result: SweepResult) -> dict[str, float]:
    """Mean and deviation over the seeds; of a single seed the accuracy and its interval."""
    if result.accuracy is not None:
        return result.accuracy.as_metrics("test/accuracy")
    names = ("accuracy", "accuracy_ci_low", "accuracy_ci_high")
    return {f"test/{name}": getattr(result.best.measured, name) for name in names}


def _markdown(result: SweepResult, prepared: Prepared, sweep: Sweep) -> str:
    fields = list(sweep.space.fields)
    best = results.by_loss(result.trials)
    trials = [
        [str(row.number), f"{row.loss:.4f}", str(row.epochs)]
        + [results.format_value(row.values[name]) for name in fields]
        for row in best[:_MAX_SHOWN]
    ]
    return f"""**{result.accuracy_line}**

- trials: {len(best)} complete, {len(result.trials) - len(best)} pruned; trial {best[0].number} has the lowest \
validation loss
- what mattered: {result.importance_text}
- searched: {", ".join(fields)}, from the recipe {escape_markdown(sweep.config.recipe)}
- dataset: {prepared.name}, digest `{prepared.digest[:12]}`
- registered: {result.model.name} version {result.model.version}, of seed {result.best.run.seed}, whose \
validation loss is lowest{"" if result.yardstick is None else f"; {result.yardstick.text}"}
- the best recipe: `best.toml` among the artifacts, for `sentiflow train --recipe best.toml`

{Table(("trial", "validation loss", "epochs trained", *fields), trials, words=0).markdown()}

The best recipe, seed by seed, on the test split, which no trial has seen. All trials used seed {sweep.seed}: its \
validation loss is optimistic, as the best of the trials was chosen by it.

{seeds_table(result.seeds).markdown()}
"""
