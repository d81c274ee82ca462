"""Measure a model on the test split, a trained network or a baseline; log metrics, files and the report."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from prefect import get_run_logger, task

from sentiflow.baselines import fit
from sentiflow.baselines.simple import ABOUT, TRAINING_PARAMS, FitInput, Fitted, Name, epochs
from sentiflow.console import progress_bar
from sentiflow.data import reviews
from sentiflow.data.prepare import Prepared
from sentiflow.errors import UsageError, first_line
from sentiflow.evaluation import best_epoch
from sentiflow.evaluation.metrics import Measured
from sentiflow.evaluation.score_table import YARDSTICK
from sentiflow.reports.one_run import record_evaluation
from sentiflow.runs.record import epoch_tags
from sentiflow.store.client import EpochLog
from sentiflow.store.types import SCORER_DIGEST
from sentiflow.training.context import RunContext, TrainedFiles, scorer_of


@task(name="evaluate", task_run_name="evaluate", persist_result=False)
def evaluate(
    run: RunContext, prepared: Prepared, trained: TrainedFiles, yardstick: Path | None = None
) -> Measured:
    """Score the test split once, with the scorer of the registered model.

    ``yardstick`` is the file of ``fit_yardstick``, with which the scores are compared.
    """
    content = reviews.read(prepared.table)
    scorer = scorer_of(run, prepared, trained)
    run.tag({SCORER_DIGEST: scorer.digest})
    with run.timed("evaluate"):
        ids = content.of("test").padded(run.config.sequence_length, run.config.vocabulary_size)
        scores, speed = _timed(scorer.network.score, ids)
    measured, against = record_evaluation(
        run, prepared, content, scorer.vocabulary, scores,
        parameters=sum(each.size for each in scorer.weights.entries().values() if each.dtype.kind == "f"),
        speed=speed, history=trained.history, scorer=scorer,
        yardstick=None if yardstick is None else np.load(yardstick),
    )  # fmt: skip
    get_run_logger().info("test accuracy %s", measured.text(content.label_names))
    if against is not None:
        get_run_logger().info("%s", against.text)
    return measured


def _timed(score: Callable[[Any], NDArray[np.float64]], reviews: Any) -> tuple[NDArray[np.float64], float]:
    """Scores of reviews, and reviews per second."""
    began = time.perf_counter()
    scores = score(reviews)
    return scores, len(scores) / (time.perf_counter() - began)


@task(name="yardstick", task_run_name="yardstick", persist_result=False)
def fit_yardstick(run: RunContext, prepared: Prepared) -> Path | None:
    """Fit the yardstick, a simple model, on the reviews that the network has, and score the test split with it.

    Gives a file of its scores, (n,), in the run's work folder; None if it cannot be fitted.
    """
    logger, file = get_run_logger(), run.work / "yardstick.npy"
    with run.timed("baseline"):
        content = reviews.read(prepared.table)
        given = FitInput(*content.learning_splits(run.config.validation_fraction), run.config, run.seed)
        try:
            fitted = fit(YARDSTICK, given)
        except UsageError as err:  # a table of very few rows: its network is evaluated all the same
            logger.warning("No %s to compare with: %s", YARDSTICK, first_line(err))
            return None
        np.save(file, fitted.score(content.of("test")))
    logger.info("%s, C %g, to compare the network with", ABOUT[YARDSTICK], fitted.found["C"])
    return file


@task(name="baseline", persist_result=False)
def measure_baseline(run: RunContext, name: Name, prepared: Prepared) -> None:
    """Fit one baseline on the training split, and score the test split once."""
    with run.timed("load"):
        content = reviews.read(prepared.table)
        words = reviews.read_vocabulary(prepared.table)
    fitted = _fit(run, name, content)
    run.params(fitted.found)
    run.text(fitted.summary, "model_summary.txt")
    if fitted.history:
        run.tag(epoch_tags(len(fitted.history), best_epoch(fitted.history).number))
    else:
        run.log({"val/loss": fitted.val_loss, "val/accuracy": fitted.val_accuracy})
    with run.timed("evaluate"):
        scores, speed = _timed(fitted.score, content.of("test"))
    measured, _ = record_evaluation(
        run, prepared, content, words, scores,
        parameters=fitted.parameters, speed=speed, history=fitted.history or None,
        facts={"baseline": ABOUT[name], **fitted.found},
    )  # fmt: skip
    get_run_logger().info("test accuracy %s", measured.text(content.label_names))


def _fit(run: RunContext, name: Name, content: reviews.Reviews) -> Fitted:
    logger = get_run_logger()
    training, validation = content.learning_splits(run.config.validation_fraction)
    logger.info("%s, on %d training and %d validation reviews", ABOUT[name], len(training), len(validation))
    log = EpochLog(run, epochs(name, run.config) if name in TRAINING_PARAMS else 0, logger)
    with run.timed("train"):
        fitted = fit(name, FitInput(training, validation, run.config, run.seed, log.add, progress_bar))
    log.end(best_epoch(fitted.history) if fitted.history else None)
    return fitted
