"""A search for better values of a recipe's fields, side by side, and the best of them trained and registered."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from prefect import runtime
from pydantic import Field

from flows.promote import after_training
from flows.train import Seed
from sentiflow.data.prepare import Prepared
from sentiflow.data.table import DEFAULT_OPTIONS, TableOptions
from sentiflow.errors import DivergedError, UsageError
from sentiflow.names import AUTO
from sentiflow.operations.job import job, this_flow_run
from sentiflow.operations.task_runners import Runner, check_runner, running, workers_of
from sentiflow.results import DIVERGED, SeedResult, SweepResult, TrialRow, best_of, by_loss
from sentiflow.run.record import SWEEP
from sentiflow.settings import load_settings
from sentiflow.sweeps import study
from sentiflow.sweeps.space import load_space
from sentiflow.sweeps.study import Sweep, ask, open_study, study_errors, trial_rows
from sentiflow.training.context import RunContext
from sentiflow.training.open_run import alone, planned_name, training_run
from sentiflow.training.recipes import TUNED, TrainConfig
from tasks.sweep import begin, start_worker, train_best, trial
from tasks.training import TRAINING, fetch, fit, prepare, register, summarize_sweep

logger = logging.getLogger(f"sentiflow.{__name__}")


@job(lambda given, due: f"sweep-{planned_name(given, due)}")
def sweep(
    config: TrainConfig = TUNED,
    dataset: str = "imdb",
    seed: Seed = 0,
    trials: Annotated[int, Field(ge=1, le=10_000)] = 20,
    workers: Annotated[int | None, Field(ge=1, le=256)] = None,
    repeats: Annotated[int, Field(ge=1, le=1_000)] = 3,
    space: Path | None = None,
    name: Annotated[str, Field(max_length=60)] = "",
    restart: bool = False,
    promote: bool = False,
    table: TableOptions = DEFAULT_OPTIONS,
    start_from: str = AUTO,
) -> SweepResult:
    """Try other values of a recipe's fields, train the best by validation with several seeds, and register it.

    1. fetch and prepare, once, while the workers start
    2. begin: a new study, or the one that a killed sweep left
    3. trials, in parallel; each is a child run, stopped early when its validation loss lags behind
    4. train the best: with several seeds, evaluated on the test split, which no trial has seen
    5. register: the model whose validation loss is lowest
    6. summarize: pictures, a table and the best recipe, on the parent
    7. with ``promote``: promote the version, as ``train``

    If it is killed and started again with the same parameters, it continues: finished trials are not run again.

    Args:
        config: The recipe to change, field by field; those that fit_to_table names are chosen by rules.
        dataset: imdb, sample, or the path of a .csv, .tsv, .jsonl or .parquet table, or of a folder of them.
        seed: Of the search, and of each trial's training.
        trials: How many to finish.
        workers: How many run in parallel; by default one a core, or as many as Dask has; at most trials or seeds.
        repeats: Number of seeds, counted up from 0, to train the best recipe with.
        space: A TOML file of fields and their ranges; empty for the default one.
        name: Distinguishes sweeps of the same recipe, space, dataset and seed.
        restart: Start over instead of resuming a killed sweep.
        promote: Afterwards promote the version, if it passes the gate.
        table: How a table of your own is read: its columns, its labels, how many rows may be rejected.
        start_from: What the training starts from: auto, none, base, or a version, such as reviews-sentiment/3.
    """
    settings = load_settings()
    if runtime.deployment.id and space == Path():  # what a form makes of an empty text
        space = None
    searched = load_space(space, config)
    check_runner(settings)
    workers = min(workers_of(settings, workers), max(trials, repeats))
    with (
        alone(this_flow_run(), dataset) as ready,
        training_run(ready, config, seed, SWEEP, later={*searched.fields, *config.fit_to_table}) as run,
        running(run, workers, start_worker) as runner,
    ):
        size = {"trials": trials, "workers": workers, "repeats": repeats, "runner": settings.task_runner}
        run.params({f"sweep.{name}": value for name, value in size.items()})
        prepared = prepare(run, fetch(run, table))
        run = fit(run, prepared, start_from, searched.fields)
        started = begin(run, prepared, searched, name, restart)
        _try_all(runner, started, trials, run, prepared)
        best_config, seeds = _train_best(runner, started, repeats, run, prepared)
        best = best_of(seeds)
        model = register(best.run, prepared, best.trained, best.measured)
        rows = trial_rows(open_study(started))
        result = summarize_sweep(run, prepared, started, rows, best_config, seeds, best, model)
    study.end(started)
    return replace(result, promotion=after_training(model.name, model.version)) if promote else result


def _try_all(runner: Runner, sweep: Sweep, trials: int, run: RunContext, prepared: Prepared) -> None:
    """Ask for the values of a trial when one can begin, as they depend on what others found."""
    with study_errors():
        opened = open_study(sweep)
        done = len(study.finished(opened))
        asked = (ask(opened, sweep) for _ in range(done, trials))
        given = {"parent": run, "prepared": prepared}
        calls = ({**given, "asked": each, "config": config} for each, config in asked)
        for ended in runner.side_by_side(trial, calls):
            done += 1
            logger.info("%d of %d: %s", done, trials, ended, extra={"task_run_name": "trials"})


def _best(sweep: Sweep) -> TrialRow:
    ranked = by_loss(trial_rows(open_study(sweep)))
    if not ranked:
        hint = "Narrow the search space, learning_rate above all, ask for more --trials, or --restart."
        raise UsageError("Every trial diverged, or was deleted in MLflow.", hint)
    return ranked[0]


def _train_best(
    runner: Runner, sweep: Sweep, repeats: int, run: RunContext, prepared: Prepared
) -> tuple[TrainConfig, list[SeedResult]]:
    """The best recipe, and its trainings by seed; if one diverges, the same command takes the next best recipe."""
    best = _best(sweep)
    config = sweep.best(best.values)
    given = {
        "parent": run,
        "prepared": prepared,
        "config": config,
        "baseline": TRAINING.baseline_of(run, prepared),
    }
    calls = ({**given, "seed": seed} for seed in range(repeats))
    try:
        return config, sorted(runner.side_by_side(train_best, calls), key=lambda each: each.run.seed)
    except DivergedError as err:
        study.mark_unstable(open_study(sweep), best.number)
        run.client.set_tag(best.run_id, "trial.state", DIVERGED)
        problem = f"The recipe of trial {best.number}, the best, diverged with another seed."
        raise DivergedError(problem, "Run the same command again: it trains the next best.") from err
