"""Fit a baseline and measure it as a network is measured."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from mlflow.entities import Param
from mlflow.tracking import MlflowClient
from prefect import get_run_logger, task

from sentiflow.baselines.fit import fit
from sentiflow.baselines.models import ABOUT, Fitted, Name, parameters_of
from sentiflow.console import progress_bar
from sentiflow.data import reviews
from sentiflow.data.prepare import Prepared, Source
from sentiflow.network.history import Epoch, best_epoch
from sentiflow.runs.record import BASELINE
from sentiflow.settings import load_settings
from sentiflow.tracking.client import EpochLog, connect, log_metrics, timed, tracking_errors
from sentiflow.tracking.results import RunContext
from tasks.evaluate import record_evaluation
from tasks.runs import child_run, run_name

PREFIX = "baselines-"
"""Before the name of the network's run it makes that of the set."""


@contextmanager
def baseline_run(parent: RunContext, name: Name, source: Source, prepared: Prepared) -> Iterator[RunContext]:
    """Keep the MLflow run of one baseline open, below the run of the whole set."""
    recipe = run_name(parent.config, parent.dataset, "", "").removesuffix(f"-{parent.dataset_name}--")
    called = name + parent.name.removeprefix(PREFIX + recipe)
    tags = {"recipe": name, "recipe.changes": "none"}
    parameters = parameters_of(name, parent.config, parent.seed)
    with child_run(parent, called, BASELINE, source, prepared, parameters=parameters, tags=tags) as run:
        yield run


@contextmanager
def network_run(parent: RunContext, source: Source, prepared: Prepared) -> Iterator[RunContext]:
    """Keep the MLflow run of the recipe's own network open, beside those of the baselines."""
    with child_run(parent, parent.name.removeprefix(PREFIX), BASELINE, source, prepared) as run:
        yield run


@task(name="baseline", persist_result=False)
def measure_baseline(run: RunContext, name: Name, prepared: Prepared) -> None:
    """Fit one baseline on the training split, and score the test split once.

    Written: ``time/load``, ``time/train``, ``time/evaluate``, ``val/loss``, ``val/accuracy``, metrics of each
    epoch if it has some, settings that were found, ``model_summary.txt``, and what ``record_evaluation`` writes.
    """
    settings = load_settings()
    client = connect(settings)
    with tracking_errors(settings.tracking_uri):
        with timed(client, run.run_id, "load"):
            content = reviews.read(prepared.table)
            words = reviews.read_vocabulary(prepared.table)
        fitted = _fit(client, run, name, content)
        _log_fitted(client, run, fitted)
        with timed(client, run.run_id, "evaluate"):
            test = content.of("test")
            began = time.perf_counter()
            scores = fitted.score(test)
            speed = len(test) / (time.perf_counter() - began)
        figures = {"model/parameters": float(fitted.parameters), "test/reviews_per_second": speed}
        record_evaluation(
            client, run, prepared, content, words, scores,
            history=fitted.history or None, figures=figures, facts={"baseline": ABOUT[name], **fitted.found},
        )  # fmt: skip


def _fit(client: MlflowClient, run: RunContext, name: Name, content: reviews.Reviews) -> Fitted:
    """Fit on what the recipe would learn from, each epoch logged; gives seconds to the run."""
    logger = get_run_logger()
    training, validation = content.learning_splits(run.config.validation_fraction)
    epoch_log = EpochLog(client, run.run_id, logger)

    def on_epoch(epoch: Epoch) -> None:
        epoch_log.add(epoch)
        logger.info(
            "epoch %d: train loss %.4f, val loss %.4f accuracy %.2f%% (%.1f s)",
            epoch.number, epoch.train_loss, epoch.val_loss, 100 * epoch.val_accuracy, epoch.seconds,
        )  # fmt: skip

    logger.info("%s, on %d reviews, choosing by %d", ABOUT[name], len(training), len(validation))
    with timed(client, run.run_id, "train"):
        fitted = fit(name, training, validation, run.config, run.seed, on_epoch, progress_bar)
    epoch_log.flush()
    return fitted


def _log_fitted(client: MlflowClient, run: RunContext, fitted: Fitted) -> None:
    """What is known before the test split is looked at."""
    found = [Param(key, str(value)) for key, value in fitted.found.items()]
    client.log_batch(run.run_id, params=found)
    client.log_text(run.run_id, fitted.summary, "model_summary.txt")
    if not fitted.history:
        loss, accuracy = fitted.val_loss, fitted.val_accuracy
        log_metrics(client, run.run_id, {"val/loss": loss, "val/accuracy": accuracy, "val/best_loss": loss})
    else:
        kept = best_epoch(fitted.history).number
        log_metrics(client, run.run_id, {"train/epochs": len(fitted.history), "train/kept_epoch": kept})
