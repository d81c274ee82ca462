"""A training as one call, without Prefect: the steps in the order of the flow ``train``."""

import logging
from datetime import UTC, datetime

from sentiflow.data.table import TableOptions
from sentiflow.names import BUILT_IN
from sentiflow.pipeline.register import register
from sentiflow.pipeline.steps import evaluate, fetch, fit, fit_baseline, prepare
from sentiflow.pipeline.steps import train as train_network
from sentiflow.pipeline.summarize import summarize
from sentiflow.results import Registered, Skipped, TrainingResult
from sentiflow.settings import Settings
from sentiflow.training.open_run import alone, planned_name, training_run
from sentiflow.training.preload import preload
from sentiflow.training.provenance import nothing_to_train, trained_already
from sentiflow.training.recipes import TrainConfig
from sentiflow.training.started import Started

logger = logging.getLogger(__name__)


def train(
    config: TrainConfig, dataset: str, seed: int, settings: Settings, table: TableOptions, start_from: str, *,
    force: bool,
) -> TrainingResult | Skipped:  # fmt: skip
    """Train a recipe on a dataset and register the model, unless an equal version is there."""
    given = {"config": config, "dataset": dataset, "seed": seed}
    with alone(Started(planned_name(given, f"{datetime.now(UTC):%y%m%d-%H%M%S}")), dataset) as ready:
        equal = None if force else trained_already(config, dataset, seed, settings, table, start_from)
        if equal is not None:
            logger.info(nothing_to_train(equal))
            return Skipped(nothing_to_train(equal), Registered(equal.name, equal.number))
        preload()
        with training_run(ready, config, seed) as run:
            prepared = prepare(run, fetch(run, table))
            run = fit(run, prepared, start_from)
            trained = train_network(run, prepared)
            baseline = None if prepared.name in BUILT_IN else fit_baseline(run, prepared)
            measured = evaluate(run, prepared, trained, baseline)
            return summarize(run, prepared, measured, register(run, prepared, trained, measured))
