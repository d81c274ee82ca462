"""The main job: fetch, prepare, train, evaluate, register, summarize."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from pydantic import Field

from flows.promote import after_training
from sentiflow.data.prepare import Prepared
from sentiflow.data.table import DEFAULT_OPTIONS, TableOptions
from sentiflow.names import AUTO, BUILT_IN
from sentiflow.operations.flow_runs import job
from sentiflow.operations.started import this_flow_run
from sentiflow.results import Registered, SeedResult, Skipped, TrainingResult
from sentiflow.settings import load_settings
from sentiflow.training.context import RunContext
from sentiflow.training.open_run import alone, child_run, planned_name, training_run
from sentiflow.training.preload import preload
from sentiflow.training.provenance import nothing_to_train, trained_already
from sentiflow.training.recipes import TUNED, TrainConfig
from tasks.training import evaluate, fetch, fit, fit_baseline, prepare, register, summarize
from tasks.training import train as train_network

logger = logging.getLogger(f"sentiflow.{__name__}")

# What each parameter is for is in a flow's docstring: Prefect's form shows that, not a field's description.
Seed = Annotated[int, Field(ge=0, lt=2**32)]


def baseline_of(run: RunContext, prepared: Prepared) -> Path | None:
    """The file of the baseline's scores of the test reviews; None for datasets that are not a user's table."""
    return None if prepared.name in BUILT_IN else fit_baseline(run, prepared)


def train_below(
    parent: RunContext,
    prepared: Prepared,
    name: str,
    kind: str,
    what: str,
    seed: int | None = None,
    baseline: Path | None = None,
) -> SeedResult:
    """Train and evaluate the recipe in a run of its own below another; ``what`` names the two tasks."""
    with child_run(parent, name, kind, prepared, seed=seed) as run:
        trained = train_network.with_options(task_run_name=f"train {what}")(run, prepared)
        evaluated = evaluate.with_options(task_run_name=f"evaluate {what}")
        measured = evaluated(run, prepared, trained, baseline)
    return SeedResult(run, trained, measured)


@job(planned_name)
def train(
    config: TrainConfig = TUNED,
    dataset: str = "imdb",
    seed: Seed = 0,
    promote: bool = False,
    force: bool = False,
    table: TableOptions = DEFAULT_OPTIONS,
    start_from: str = AUTO,
) -> TrainingResult | Skipped:
    """Train a recipe on a dataset and register the model.

    1. fetch: bring the source here, verified
    2. prepare: decode, check, write the canonical table
    3. fit: choose what to start from, and what of the recipe the table decides
    4. train: the network, and log each epoch
    5. evaluate: score the test split, draw, report; of a table of your own beside the baseline
    6. register: pack the model, store it, make a version
    7. summarize: in MLflow, in Prefect and for the caller
    8. with ``promote``: promote the version; if a check fails, it stays registered

    A training whose recipe, data, seed, code and packages equal those of a registered version is skipped:
    the flow run ends as Skipped. With ``promote``, that version is judged, unless it was.

    Args:
        config: The recipe, field by field; those that fit_to_table names are chosen by rules.
        dataset: imdb, sample, or the path of a .csv, .tsv, .jsonl or .parquet table, or of a folder of them.
        seed: Of the first weights and of the order of reviews.
        promote: Afterwards promote the version if all checks pass.
        force: Train even if an equal version is registered.
        table: How a table of your own is read: its columns, its labels, how many rows may be rejected.
        start_from: What the training starts from: auto, none, base, or a version, such as reviews-sentiment/3.
    """
    settings = load_settings()
    with alone(this_flow_run(), dataset) as ready:  # what was trained until then may be the same
        equal = None if force else trained_already(config, dataset, seed, settings, table, start_from)
        if equal is None:
            preload()
            with training_run(ready, config, seed) as run:
                prepared = prepare(run, fetch(run, table))
                run = fit(run, prepared, start_from)
                trained = train_network(run, prepared)
                measured = evaluate(run, prepared, trained, baseline_of(run, prepared))
                model = register(run, prepared, trained, measured)
                result = summarize(run, prepared, measured, model)
    if equal is None:
        return replace(result, promotion=after_training(model.name, model.version)) if promote else result
    promotion = after_training(equal.name, equal.number) if promote else None
    logger.info(nothing_to_train(equal))
    return Skipped(nothing_to_train(equal), Registered(equal.name, equal.number), promotion)
