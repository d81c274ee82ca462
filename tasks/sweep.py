"""Tasks: the beginning of a sweep and its summary."""

from collections.abc import Sequence

from prefect import get_run_logger, task

from sentiflow.data.prepare import Prepared
from sentiflow.evaluation.metrics import spread
from sentiflow.output import redact
from sentiflow.recipes import TrainConfig
from sentiflow.sweeps.report import write_files, write_importance
from sentiflow.sweeps.results import by_loss, describe_importance, importance_of, trial_rows
from sentiflow.sweeps.space import SearchSpace
from sentiflow.sweeps.study import Sweep, identity, open_study
from sentiflow.tracking.reports import PAGE, report_on
from sentiflow.tracking.results import Registered, RunContext, SeedResult
from sentiflow.tracking.sweeps import SweepResult, begin_sweep, sweep_markdown
from tasks.runs import publish_summary
from tasks.summarize import seeds_table


@task(name="begin", task_run_name="begin", persist_result=False)
def begin(run: RunContext, prepared: Prepared, space: SearchSpace, name: str, restart: bool) -> Sweep:
    """Start a sweep, or continue an unfinished one with the same recipe, space, seed, dataset, store and name.

    Written: the study's journal in the data folder, deleted when the sweep is finished; tags of earlier runs.
    """
    settings = run.settings
    store = {"store": redact(settings.tracking_uri), "experiment": settings.experiment}
    key = identity(run.config, run.seed, dataset=prepared.digest, space=space.digest, name=name, **store)
    home = settings.data_dir / "sweeps" / run.model_name / key
    fresh = Sweep(home / run.run_id, space, run.config, run.seed)
    with run.errors():
        return begin_sweep(run, home, fresh, get_run_logger(), restart=restart)


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

    Written: plots, the table of trials and the best recipe as artifacts of the parent; ``val/loss``,
    ``trials.complete``, ``trials.pruned``, ``time.total``, the mean and sd of ``test/accuracy`` (of a single seed
    its accuracy and interval), and the description; a markdown summary and a link to it in Prefect.
    """
    study = open_study(sweep)
    rows, shares = trial_rows(study), importance_of(study)
    importance = describe_importance(shares, rows)
    folder = run.work / "artifacts"
    write_files(folder, rows, sweep, config, run.name)
    write_importance(folder / "plots", shares, importance)
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
    )
    run.log(result.metrics())
    run.tag_seconds({"total": result.seconds})
    complete = len(by_loss(rows))
    run.tag({"trials.complete": str(complete), "trials.pruned": str(len(rows) - complete)})
    publish_summary(run, sweep_markdown(result, prepared, sweep, seeds_table(seeds)), "sweep-summary")
    return result
