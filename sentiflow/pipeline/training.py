"""A training as one call: its steps in their order, as plain functions or as the tasks of a flow."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sentiflow.data.prepare import Prepared, Source
from sentiflow.data.table import TableOptions
from sentiflow.evaluation.metrics import Measured
from sentiflow.names import BUILT_IN
from sentiflow.pipeline import steps
from sentiflow.pipeline.register import register
from sentiflow.pipeline.summarize import summarize
from sentiflow.results import Registered, SeedResult, Skipped, TrainingResult
from sentiflow.run.record import REPEAT
from sentiflow.settings import load_settings
from sentiflow.training.context import Build, RunContext, Started, TrainedFiles
from sentiflow.training.open_run import alone, child_run, training_run
from sentiflow.training.preload import preload
from sentiflow.training.provenance import nothing_to_train, trained_already
from sentiflow.training.recipes import TrainConfig

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Steps:
    """What a training calls."""

    fetch: Callable[[RunContext, TableOptions], Source] = steps.fetch
    prepare: Callable[[RunContext, Source], Prepared] = steps.prepare
    fit: Callable[[RunContext, Prepared, str], RunContext] = steps.fit
    fit_baseline: Callable[[RunContext, Prepared], Path | None] = steps.fit_baseline
    train: Callable[[RunContext, Prepared, Path | None], TrainedFiles] = steps.train
    evaluate: Callable[[RunContext, Prepared, TrainedFiles, Path | None], Measured] = steps.evaluate
    register: Callable[[RunContext, Prepared, TrainedFiles, Measured], Registered] = register
    summarize: Callable[[RunContext, Prepared, Measured, Registered], TrainingResult] = summarize

    def baseline_of(self, run: RunContext, prepared: Prepared) -> Path | None:
        """The file of the baseline; None for a built-in dataset, unless its n-grams go beside the network."""
        needed = run.config.ngrams or prepared.name not in BUILT_IN
        return self.fit_baseline(run, prepared) if needed else None

    def train_seed(
        self, parent: RunContext, prepared: Prepared, name: str, seed: int, baseline: Path | None,
        config: TrainConfig | None = None,
    ) -> SeedResult:  # fmt: skip
        """Train and evaluate the parent's recipe, or another, with a seed, in a run of its own below it."""
        with child_run(parent, name, REPEAT, prepared, config=config, seed=seed) as run:
            trained = self.train(run, prepared, baseline)
            return SeedResult(run, trained, self.evaluate(run, prepared, trained, baseline))


def train(
    started: Started, config: TrainConfig, dataset: str, seed: int, table: TableOptions, start_from: str, *,
    force: bool, by: Steps = Steps(), build: Build | None = None,
) -> TrainingResult | Skipped:  # fmt: skip
    """Train a recipe, or what a user's own function builds, and register it, unless an equal version is there."""
    with alone(started, dataset) as ready:  # what was trained until then may be the same
        equal = (
            None if force or build else trained_already(config, dataset, seed, load_settings(), table, start_from)
        )
        if equal is not None:
            logger.info(nothing_to_train(equal))
            return Skipped(nothing_to_train(equal), Registered(equal.name, equal.number))
        preload()
        with training_run(ready, config, seed, build=build) as run:
            prepared = by.prepare(run, by.fetch(run, table))
            run = by.fit(run, prepared, start_from)
            baseline = by.baseline_of(run, prepared)
            trained = by.train(run, prepared, baseline)
            measured = by.evaluate(run, prepared, trained, baseline)
            model = by.register(run, prepared, trained, measured)
            return by.summarize(run, prepared, measured, model)
