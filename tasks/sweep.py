"""Tasks: the steps of a sweep and its summary."""

import contextlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mlflow.entities import RunStatus
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from prefect import get_run_logger, task

from sentiflow.data.prepare import Prepared
from sentiflow.evaluation.metrics import Spread, spread
from sentiflow.output import redact
from sentiflow.recipes import TrainConfig
from sentiflow.reports import plots
from sentiflow.reports.page import Table
from sentiflow.sweeps import results
from sentiflow.sweeps.results import TrialRow
from sentiflow.sweeps.space import SearchSpace
from sentiflow.sweeps.study import (
    ENDED_AS,
    FINISHED,
    PARENTS,
    REFUSED,
    RETRY_OF,
    RUN_ID,
    Sweep,
    finished,
    identity,
    open_study,
)
from sentiflow.tracking.promotion import Outcome
from sentiflow.tracking.reports import PAGE, report_on
from sentiflow.tracking.results import Registered, RunContext, SeedResult
from tasks.runs import publish_summary
from tasks.summarize import seeds_table
from tasks.trials import shown


@task(name="begin", task_run_name="begin", persist_result=False)
def begin(run: RunContext, prepared: Prepared, space: SearchSpace, name: str, restart: bool) -> Sweep:
    """Begin a sweep, or take over an unfinished one: same recipe, space, seed, dataset, store and name.

    Of an unfinished one, finished trials stay and become children of this run; what was running is marked as
    failed, and what it tried waits to be tried again. Its processes are gone, or notice that they are not wanted.

    Written: the study's journal in the data folder, which goes when the sweep is finished; tags of earlier runs.
    """
    settings = run.settings
    store = {"store": redact(settings.tracking_uri), "experiment": settings.experiment}
    mine = identity(run.config, run.seed, dataset=prepared.digest, space=space.digest, name=name, **store)
    home = settings.data_dir / "sweeps" / run.model_name / mine
    fresh = Sweep(home / run.run_id, space, run.config, run.seed)
    with run.errors():
        sweep = _unfinished(run.client, home, fresh, restart=restart)
        study = open_study(sweep)
        parents = study.user_attrs.get(PARENTS, [])
        if parents:
            _take_over(study, run, parents)
        elif space.holds(run.config):
            # The recipe as it is comes first: whatever is found is then no worse than that.
            values = run.config.model_dump(include=set(space.fields))
            study.enqueue_trial(values, skip_if_exists=True)
        study.set_user_attr(PARENTS, [*parents, run.run_id])
    return sweep


def end(sweep: Sweep) -> None:
    """Forget the study of a finished sweep: the same command begins another."""
    shutil.rmtree(sweep.folder, ignore_errors=True)
    with contextlib.suppress(OSError):  # the same sweep has begun anew, in a folder of its own
        sweep.folder.parent.rmdir()


def left_to_do(sweep: Sweep, trials: int) -> range:
    """Places of the trials that are still to be run, counted on from those that there are."""
    study = open_study(sweep)
    begun = sum(trial.state != TrialState.WAITING for trial in study.get_trials(deepcopy=False))
    return range(begun, begun + max(0, trials - len(finished(study))))


def trial_rows(study: Study) -> list[TrialRow]:
    """The finished trials."""
    return [_row(trial) for trial in finished(study)]


def _row(trial: FrozenTrial) -> TrialRow:
    losses = trial.intermediate_values.values()
    complete = trial.state == TrialState.COMPLETE
    seconds = trial.duration.total_seconds() if trial.duration else 0.0
    return TrialRow(
        trial.number,
        trial.user_attrs[ENDED_AS],
        trial.value if complete else min(losses, default=None),
        len(losses),
        seconds,
        trial.params,
        trial.user_attrs[RUN_ID],
    )


def _unfinished(client: MlflowClient, home: Path, fresh: Sweep, *, restart: bool) -> Sweep:
    """The sweep to go on with if there is one, else the fresh one.

    A folder is never used by two beginnings: a worker far away that still trains for the old one would report to
    trials of the new one that have the same numbers.
    """
    for folder in sorted(home.glob("*/")):
        earlier = replace(fresh, folder=folder)
        study = open_study(earlier)
        parents = study.user_attrs.get(PARENTS, [])
        why = "it was asked for" if restart else _why_not(client, study, parents)
        if why is None:
            return earlier
        if parents:
            get_run_logger().info("beginning anew: %s", why)
        shutil.rmtree(folder)
    return fresh


def _why_not(client: MlflowClient, study: Study, parents: list[str]) -> str | None:
    """Why an earlier sweep is not gone on with; None if it is."""
    if not parents:
        return "the earlier sweep had not begun"
    if _status(client, parents[-1]) == "FINISHED":
        return "the earlier sweep is finished"
    if any(_status(client, trial.user_attrs[RUN_ID]) is None for trial in finished(study)):
        return "runs of the earlier sweep are gone from the store"
    return None


def _status(client: MlflowClient, run_id: str) -> str | None:
    """Status of a run; None when there is none, or it was deleted."""
    try:
        info = client.get_run(run_id).info
    except MlflowException as err:
        if err.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
    return str(info.status) if info.lifecycle_stage == "active" else None


def _take_over(study: Study, run: RunContext, parents: list[str]) -> None:
    client, trials = run.client, study.get_trials(deepcopy=False)
    retried = {trial.user_attrs.get(RETRY_OF) for trial in trials}
    for trial in trials:
        if trial.state in FINISHED:
            _adopt(client, trial, run.run_id)
            continue
        if trial.number not in retried and _is_worth_another_try(trial):
            study.enqueue_trial(trial.params, user_attrs={RETRY_OF: trial.number})
        if trial.state == TrialState.RUNNING:
            study.tell(trial.number, state=TrialState.FAIL)
    for parent in parents:
        if _status(client, parent) is not None:
            client.set_tag(parent, "continued_by", run.run_id)
    done = sum(trial.state in FINISHED for trial in trials)
    get_run_logger().info("going on with an unfinished sweep: %s done", of_trials(done))


def _is_worth_another_try(trial: FrozenTrial) -> bool:
    """Whether a kill ended it, or it failed for the first time; values that do not go together never are."""
    if trial.state == TrialState.RUNNING:
        return True
    tried_again, refused = RETRY_OF in trial.user_attrs, REFUSED in trial.user_attrs
    return trial.state == TrialState.FAIL and not tried_again and not refused


def _adopt(client: MlflowClient, trial: FrozenTrial, parent: str) -> None:
    """Hang a finished trial's run below another parent; one that was killed before it was closed is whole."""
    run_id = trial.user_attrs[RUN_ID]
    client.set_tag(run_id, "mlflow.parentRunId", parent)
    run = client.get_run(run_id)
    if run.info.status != "FINISHED":
        ended = int(trial.datetime_complete.timestamp() * 1000) if trial.datetime_complete else None
        client.set_terminated(run_id, RunStatus.to_string(RunStatus.FINISHED), end_time=ended)
        if "end" in run.data.tags:
            client.delete_tag(run_id, "end")


_SHOWN = 10  # trials in the description; the table has all
# Before so many trials are complete, shares are noise: docs/sweeps.md says how that was seen.
_ENOUGH = 10


@dataclass(frozen=True)
class SweepResult:
    """The outcome of a sweep.

    Attributes:
        run_id: of the parent run in MLflow.
        run_name: likewise.
        run_url: where the MLflow UI shows it.
        trials: those that are finished, in their order.
        config: the best recipe.
        recipe: where the store keeps it as a file.
        importance: share of the variance that each field explains; empty where it cannot be told.
        importance_told: the same in words, or why it cannot be told.
        seeds: of the best recipe, a result a seed.
        best: the one whose validation loss is lowest; it is registered.
        model: the registered version.
        accuracy: of the test split, over the seeds; None for a single one.
        seconds: wall time of the whole.
        promotion: what came of it, if one was asked for.
    """

    run_id: str
    run_name: str
    run_url: str
    trials: tuple[TrialRow, ...]
    config: TrainConfig
    recipe: str
    importance: Mapping[str, float]
    importance_told: str
    seeds: tuple[SeedResult, ...]
    best: SeedResult
    model: Registered
    accuracy: Spread | None
    seconds: float
    promotion: Outcome | None = None


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

    Written: pictures, the table of trials and the best recipe as artifacts of the parent; ``val/best_loss``,
    ``trials/complete``, ``trials/pruned``, ``time/total``, the mean and sd of ``test/accuracy`` (of a single seed
    its accuracy and interval), and the description; a markdown summary and a link to it in Prefect.
    """
    study = open_study(sweep)
    rows, shares = trial_rows(study), importance_of(study)
    words = importance_told(shares, rows)
    folder = run.work / "artifacts"
    _write_files(folder, rows, sweep, config, run.name)
    _write_importance(folder / "plots", shares, words)
    run.upload(folder)
    title = f"{run.name}: the best recipe, seed by seed"
    run.text(report_on(run.settings, [each.run.run_id for each in seeds], title).page(), PAGE)
    accuracy = spread([each.measured.accuracy for each in seeds]) if len(seeds) > 1 else None
    recipe = f"{run.record().artifact_uri}/best.toml"
    result = SweepResult(
        run.run_id, run.name, run.url, tuple(rows), config, recipe, shares, words, tuple(seeds),
        best, model, accuracy, run.seconds,
    )  # fmt: skip
    run.log(_figures(result))
    publish_summary(run, _markdown(result, prepared, sweep), "sweep-summary")
    return result


def importance_of(study: Study) -> dict[str, float]:
    """Share of the variance of the loss that each field explains, by fANOVA; empty where it says nothing."""
    losses = [trial.value for trial in study.get_trials(deepcopy=False) if trial.state.name == "COMPLETE"]
    if len(losses) < _ENOUGH or len(set(losses)) < 2:
        return {}
    return get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0))


def importance_told(shares: Mapping[str, float], rows: Sequence[TrialRow]) -> str:
    """The shares in words, or why there are none."""
    if shares:
        return ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
    count = len(results.complete(rows))
    if count < _ENOUGH:
        return f"told from {_ENOUGH} complete trials on; {count} {'is' if count == 1 else 'are'}"
    return "all complete trials have the same validation loss"


def _write_importance(folder: Path, shares: Mapping[str, float], told: str) -> None:
    """The picture, or in its place why there is none."""
    if shares:
        results.importance(shares).savefig(folder / "importance.png", dpi=120)
    else:
        (folder / "importance.txt").write_text(f"What mattered: {told}.\n", encoding="utf-8")


def _write_files(folder: Path, rows: Sequence[TrialRow], sweep: Sweep, config: TrainConfig, name: str) -> None:
    pictures = {
        "history": results.history(rows),
        "parallel_coordinates": results.parallel_coordinates(rows, sweep.space),
    }
    plots.save(pictures, folder / "plots")
    table = results.table(rows)
    table.to_parquet(folder / "trials.parquet", index=False)
    table.to_csv(folder / "trials.csv", index=False)
    text = results.recipe_file(config, f"The best of {of_trials(len(rows))} of {name}, by validation.")
    (folder / "best.toml").write_text(text, encoding="utf-8")


def _figures(result: SweepResult) -> dict[str, float]:
    complete = results.by_loss(result.trials)
    figures = {
        "val/best_loss": float(complete[0].loss or 0.0),
        "trials/complete": float(len(complete)),
        "trials/pruned": float(len(result.trials) - len(complete)),
        "time/total": result.seconds,
    }
    return figures | _accuracy(result) | {f"importance/{name}": share for name, share in result.importance.items()}


def _accuracy(result: SweepResult) -> dict[str, float]:
    """Of the best recipe: over its seeds, or of the only one, whose interval is the test split's."""
    if result.accuracy is not None:
        return result.accuracy.as_metrics("test/accuracy")
    measured = result.best.measured
    return {
        "test/accuracy": measured.accuracy,
        "test/accuracy_low": measured.accuracy_low,
        "test/accuracy_high": measured.accuracy_high,
    }


def _markdown(result: SweepResult, prepared: Prepared, sweep: Sweep) -> str:
    fields = list(sweep.space.fields)
    best = results.by_loss(result.trials)
    trials = [
        (str(row.number), f"{row.loss:.4f}", str(row.epochs), *(shown(row.values[name]) for name in fields))
        for row in best[:_SHOWN]
    ]
    return f"""**{told(result)}**

- recipe: {sweep.config.recipe}, searched: {", ".join(fields)}
- dataset: {prepared.name}, digest `{prepared.digest[:12]}`
- trials: {len(best)} complete, {len(result.trials) - len(best)} pruned; the lowest validation loss is of trial \
{best[0].number}
- what mattered: {result.importance_told}
- registered: {result.model.name} version {result.model.version}, of seed {result.best.run.seed}, whose \
validation loss is lowest
- the best recipe: `best.toml` among the artifacts, for `sentiflow train --recipe best.toml`

{Table(("trial", "validation loss", "epochs", *fields), trials, words=0).markdown()}

The best recipe, seed by seed, on the test split, which no trial has seen. Trials had seed {sweep.seed}: its \
validation loss was chosen among theirs, and flatters.

{seeds_table(result.seeds)}
"""


def of_trials(count: int) -> str:
    """So many trials, in words."""
    return f"{count:,} trial{'' if count == 1 else 's'}"


def told(result: SweepResult) -> str:
    """The outcome in one sentence."""
    if result.accuracy is None:
        measured = result.best.measured
        return (
            f"Test accuracy of the best recipe: {measured.accuracy:.2%} "
            f"(95% interval {measured.accuracy_low:.2%} to {measured.accuracy_high:.2%})."
        )
    spread_of = result.accuracy
    return (
        f"Test accuracy of the best recipe over {len(result.seeds)} seeds: mean {spread_of.mean:.2%}, "
        f"{spread_of.text()}."
    )
