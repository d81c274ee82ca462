"""Tasks of a sweep: its beginning, a trial, a seed of its best recipe, the summary."""

import gc
import logging
from collections.abc import Sequence
from pathlib import Path

from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import Trial, TrialState
from prefect import task

from sentiflow.data.prepare import Prepared
from sentiflow.errors import DeletedError, ExternalError
from sentiflow.evaluation.metrics import spread
from sentiflow.operations.job import collect_logs
from sentiflow.pipeline.steps import evaluate, train
from sentiflow.reports.blocks import PAGE
from sentiflow.reports.several_runs import report_on
from sentiflow.results import Registered, SeedResult, SweepResult, by_loss
from sentiflow.run.record import CAVEAT, REPEAT, TRIAL
from sentiflow.sweeps import outcome, study
from sentiflow.sweeps.space import SearchSpace
from sentiflow.sweeps.study import Sweep, open_study, study_errors
from sentiflow.training.context import RunContext, tested_on
from sentiflow.training.open_run import changed_fields, child_run, log_baseline, publish_summary, seeds_label
from sentiflow.training.recipes import TrainConfig

logger = logging.getLogger(f"sentiflow.{__name__}")


@task(name="begin", task_run_name="begin", persist_result=False)
def begin(run: RunContext, prepared: Prepared, space: SearchSpace, name: str, restart: bool) -> Sweep:
    """Start a sweep, or continue the unfinished one that is the same; what was running is tried again."""
    if outside := space.outside(run.config):
        values = outcome.format_values(outside)
        logger.warning("the recipe is outside of the space, and so not tried itself: %s", values)
    sweep = study.begin(run, prepared.digest, space, name, restart=restart)
    if done := len(study.finished(open_study(sweep))):
        logger.info("continuing an unfinished sweep: %s done", outcome.count_of_trials(done))
    return sweep


@task(name="start worker", task_run_name="start worker", persist_result=False)
def start_worker() -> None:
    """Import TensorFlow in a worker process while the data is prepared."""
    import sentiflow.training.network.loop  # noqa: F401

    gc.freeze()  # what is imported stays; to look through it after each trial takes half a second


@task(name="trial", task_run_name="trial {asked.number}", persist_result=False)
def trial(parent: RunContext, prepared: Prepared, asked: Trial, config: TrainConfig) -> str:
    """Train with the values of a trial, and report the validation loss to its study; gives how it ended.

    The test split is not used. After a kill, and after a failure of the store say, the trial still runs: the same
    sweep tries it again.
    """
    collect_logs()  # a worker runs no flow
    name = f"trial{asked.number:02d}-{parent.name.removeprefix('sweep-')}"
    tags = {"trial.number": str(asked.number)}
    try:
        with study_errors(), child_run(parent, name, TRIAL, prepared, config=config, tags=tags) as run:
            return outcome.run_trial(asked, run, prepared)
    except UpdateFinishedTrialError:  # Dask gives a trial to another worker when it hears nothing from the first
        return f"trial {asked.number} was given up: another worker or sweep has ended it"
    except DeletedError:
        asked.study.tell(asked, state=TrialState.FAIL, skip_if_finished=True)
        return f"trial {asked.number} was deleted in MLflow"
    except ExternalError:
        raise
    except Exception:
        asked.study.tell(asked, state=TrialState.FAIL, skip_if_finished=True)
        raise
    finally:
        gc.collect()  # a worker trains many networks, which hold reference cycles


@task(name="train the best", task_run_name="train the best, seed {seed}", persist_result=False)
def train_best(
    parent: RunContext, prepared: Prepared, config: TrainConfig, seed: int, baseline: Path | None
) -> SeedResult:
    """Train the best recipe with one seed, and evaluate it on the test split, as ``repeat`` does."""
    collect_logs()
    name = f"best-{seeds_label(seed)}-{parent.name.removeprefix('sweep-')}"
    with child_run(parent, name, REPEAT, prepared, config=config, seed=seed) as run:
        trained = train(run, prepared)
        measured = evaluate(run, prepared, trained, baseline)
    return SeedResult(run, trained, measured)


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
    """Sum a sweep up: the table of trials, the best recipe and its figures, on the parent and in Prefect."""
    tried = open_study(sweep)
    rows, shares = outcome.trial_rows(tried), outcome.importance_of(tried)
    complete, importance = by_loss(rows), outcome.describe_importance(shares, rows)
    folder = run.work / "artifacts"
    outcome.write_files(folder, rows, config, run.name)
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
        baseline=log_baseline(run, best.run),
        caveat=best.run.record().tags.get(CAVEAT, ""),
        tested_on=tested_on(prepared),
        rejected=prepared.rejected,
    )
    run.log(result.metrics)
    run.tag_seconds({"total": result.seconds})
    run.params({name: getattr(config, name) for name in sweep.space.fields})
    changes = changed_fields(sweep.recipe({name: getattr(config, name) for name in sweep.space.fields}))
    trials = {"trials.complete": str(len(complete)), "trials.pruned": str(len(rows) - len(complete))}
    run.tag({**trials, "recipe.changes": changes or "none"})
    publish_summary(run, run.started, outcome.markdown(result, prepared, sweep), "sweep-summary")
    return result
