"""Say what came of a sweep: on the parent run, in Prefect, and to the caller."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlflow.tracking import MlflowClient
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.study import Study
from prefect import get_run_logger, task
from prefect.artifacts import create_link_artifact, create_markdown_artifact

from sentiment import plots_sweep, sweep_record
from sentiment.data.prepare import Prepared
from sentiment.metrics import Spread, spread
from sentiment.recipes import TrainConfig
from sentiment.settings import load_settings
from sentiment.sweep_record import TrialRow
from tasks.promotion import Outcome
from tasks.registry import run_url
from tasks.report import log_page, report_on
from tasks.results import Registered, RunContext, SeedResult
from tasks.study import Sweep, open_study
from tasks.sweep import rows as rows_of
from tasks.tracking import connect, log_metrics, tracking_errors
from tasks.trials import shown

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
    """Gather what there is to tell.

    Written: pictures, the table of trials and the best recipe as artifacts of the parent; ``val/best_loss``,
    ``trials/complete``, ``trials/pruned``, ``time/total``, the mean and sd of ``test/accuracy`` (of a single seed
    its accuracy and interval), and the description; a markdown summary and a link to it in Prefect.
    """
    settings = load_settings()
    client = connect(settings)
    study = open_study(sweep)
    rows, shares = rows_of(study), importance_of(study)
    told_shares = importance_told(shares, rows)
    folder = run.work / "artifacts"
    _write_files(folder, rows, sweep, config, run.name)
    _write_importance(folder / "plots", shares, told_shares)
    accuracy = spread([each.measured.accuracy for each in seeds]) if len(seeds) > 1 else None
    with tracking_errors(settings.tracking_uri):
        client.log_artifacts(run.run_id, str(folder))
        uri = client.get_run(run.run_id).info.artifact_uri
        url = run_url(client, settings, run.run_id)
        result = SweepResult(
            run.run_id, run.name, url, tuple(rows), config, f"{uri}/best.toml", shares, told_shares, tuple(seeds),
            best, model, accuracy, time.time() - run.began,
        )  # fmt: skip
        text = _markdown(result, prepared, sweep)
        _log(client, result, text)
        title = f"{run.name}: the best recipe, seed by seed"
        log_page(client, run.run_id, report_on(settings, [each.run.run_id for each in seeds], title))
    create_markdown_artifact(text, key="sweep-summary", description=f"How {run.name} went")
    create_link_artifact(url, link_text=f"MLflow run {run.name}", key="mlflow-run")
    get_run_logger().info("MLflow run: %s", url)
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
    count = len(sweep_record.complete(rows))
    if count < _ENOUGH:
        return f"told from {_ENOUGH} complete trials on; {count} {'is' if count == 1 else 'are'}"
    return "all complete trials have the same validation loss"


def _write_importance(folder: Path, shares: Mapping[str, float], told: str) -> None:
    """The picture, or in its place why there is none."""
    if shares:
        plots_sweep.importance(shares).savefig(folder / "importance.png", dpi=120)
    else:
        (folder / "importance.txt").write_text(f"What mattered: {told}.\n", encoding="utf-8")


def _write_files(folder: Path, rows: Sequence[TrialRow], sweep: Sweep, config: TrainConfig, name: str) -> None:
    (folder / "plots").mkdir(parents=True)
    figures = {
        "history": plots_sweep.history(rows),
        "parallel_coordinates": plots_sweep.parallel_coordinates(rows, sweep.space),
    }
    for title, figure in figures.items():
        figure.savefig(folder / "plots" / f"{title}.png", dpi=120)
    table = sweep_record.table(rows)
    table.to_parquet(folder / "trials.parquet", index=False)
    table.to_csv(folder / "trials.csv", index=False)
    text = sweep_record.recipe_file(config, f"The best of {of_trials(len(rows))} of {name}, by validation.")
    (folder / "best.toml").write_text(text, encoding="utf-8")


def _log(client: MlflowClient, result: SweepResult, text: str) -> None:
    complete = sweep_record.by_loss(result.trials)
    figures = {
        "val/best_loss": float(complete[0].loss or 0.0),
        "trials/complete": float(len(complete)),
        "trials/pruned": float(len(result.trials) - len(complete)),
        "time/total": result.seconds,
    }
    figures |= _accuracy(result)
    figures |= {f"importance/{name}": share for name, share in result.importance.items()}
    log_metrics(client, result.run_id, figures)
    client.set_tag(result.run_id, "mlflow.note.content", text)


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
    best = sweep_record.by_loss(result.trials)
    lines = "\n".join(
        f"| {row.number} | {row.loss:.4f} | {row.epochs} | "
        + " | ".join(shown(row.values[name]) for name in fields)
        + " |"
        for row in best[:_SHOWN]
    )
    seeds = "\n".join(
        f"| {each.run.seed} | {each.trained.kept.number} | {each.trained.kept.val_loss:.4f} "
        f"| {each.measured.accuracy:.2%} |"
        for each in result.seeds
    )
    return f"""**{told(result)}**

- recipe: {sweep.config.recipe}, searched: {", ".join(fields)}
- dataset: {prepared.name}, digest `{prepared.digest[:12]}`
- trials: {len(best)} complete, {len(result.trials) - len(best)} pruned; the lowest validation loss is of trial \
{best[0].number}
- what mattered: {result.importance_told}
- registered: {result.model.name} version {result.model.version}, of seed {result.best.run.seed}, whose \
validation loss is lowest
- the best recipe: `best.toml` among the artifacts, for `sentiflow train --recipe best.toml`

| trial | validation loss | epochs | {" | ".join(fields)} |
|---:|---:|---:|{"---:|" * len(fields)}
{lines}

The best recipe, seed by seed, on the test split, which no trial has seen. Trials had seed {sweep.seed}: its \
validation loss was chosen among theirs, and flatters.

| seed | epoch kept | validation loss | test accuracy |
|---:|---:|---:|---:|
{seeds}
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
        f"standard deviation {100 * spread_of.sd:.2f} points, {spread_of.least:.2%} to {spread_of.most:.2%}."
    )
