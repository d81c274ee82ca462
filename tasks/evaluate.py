"""Measure a model on the test split, a trained network or a baseline; log metrics, files and the report."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from prefect import get_run_logger, task

from sentiflow.baselines import fit
from sentiflow.baselines.simple import ABOUT, TRAINING_PARAMS, FitInput, Fitted, Name, epochs
from sentiflow.console import progress_bar
from sentiflow.data import reviews
from sentiflow.data.facts import in_both_splits
from sentiflow.data.prepare import Prepared
from sentiflow.data.reviews import Reviews
from sentiflow.errors import UsageError, first_line
from sentiflow.evaluation import Epoch, best_epoch, metrics
from sentiflow.evaluation.metrics import Measured, Yardstick, reliability, yardstick_metrics
from sentiflow.evaluation.score_table import YARDSTICK, ScoreTable
from sentiflow.names import BUILT_IN
from sentiflow.redaction import escape_markdown
from sentiflow.reports import one_run as run_report
from sentiflow.reports import plots
from sentiflow.reports.page import PAGE
from sentiflow.reports.summary import ECE, PARAMETERS, SPEED, RunSummary, TestData, worst_errors_text
from sentiflow.results import SeedResult
from sentiflow.runs.record import epoch_tags
from sentiflow.scoring import TextScorer, Vocabulary
from sentiflow.store.client import EpochLog
from sentiflow.store.find import SCORES, YARDSTICK_SCORES
from sentiflow.store.types import NOTE, SCORER_DIGEST
from sentiflow.training.context import RunContext, TrainedFiles, scorer_of
from sentiflow.training.open_run import child_run
from tasks.train import train


@task(name="evaluate", task_run_name="evaluate", persist_result=False)
def evaluate(
    run: RunContext, prepared: Prepared, trained: TrainedFiles, yardstick: Path | None = None
) -> Measured:
    """Score the test split once, with the scorer of the registered model.

    ``yardstick`` is the file of ``yardstick_of``, with which the scores are compared.

    Written: ``time.evaluate``, the digest of weights and words, and all that ``record_evaluation`` writes.
    """
    content = reviews.read(prepared.table)
    scorer = scorer_of(run, prepared, trained)
    run.tag({SCORER_DIGEST: scorer.digest})
    with run.timed("evaluate"):
        ids = content.of("test").padded(run.config.sequence_length, run.config.vocabulary_size)
        scores, speed = _timed(scorer.network.score, ids)
    return record_evaluation(
        run, prepared, content, scorer.vocabulary, scores,
        parameters=sum(each.size for each in scorer.weights.entries().values() if each.dtype.kind == "f"),
        speed=speed, history=trained.history, scorer=scorer,
        yardstick=None if yardstick is None else np.load(yardstick),
    )  # fmt: skip


def _timed(score: Callable[[Any], NDArray[np.float64]], reviews: Any) -> tuple[NDArray[np.float64], float]:
    """Scores of reviews, and reviews per second."""
    began = time.perf_counter()
    scores = score(reviews)
    return scores, len(scores) / (time.perf_counter() - began)


def yardstick_of(run: RunContext, prepared: Prepared) -> Path | None:
    """The file of the yardstick's scores of the test reviews; None for datasets that are not a user's table."""
    return None if prepared.name in BUILT_IN else fit_yardstick(run, prepared)


@task(name="yardstick", task_run_name="yardstick", persist_result=False)
def fit_yardstick(run: RunContext, prepared: Prepared) -> Path | None:
    """Fit the yardstick, a simple model, on the reviews that the network has, and score the test split with it.

    Written: ``time.baseline``; a file of its scores, (n,), in the run's work folder. None if it cannot be fitted.
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


def train_below(
    parent: RunContext,
    prepared: Prepared,
    name: str,
    kind: str,
    what: str,
    seed: int | None = None,
    yardstick: Path | None = None,
) -> SeedResult:
    """Train and evaluate the recipe in a run of its own below another; ``what`` names the two tasks."""
    with child_run(parent, name, kind, prepared, seed=seed) as run:
        trained = train.with_options(task_run_name=f"train {what}")(run, prepared)
        evaluated = evaluate.with_options(task_run_name=f"evaluate {what}")
        measured = evaluated(run, prepared, trained, yardstick)
    return SeedResult(run, trained, measured)


def record_evaluation(
    run: RunContext,
    prepared: Prepared,
    content: Reviews,
    words: Vocabulary,
    scores: NDArray[np.float64],
    *,
    parameters: int,
    speed: float,
    history: Sequence[Epoch] | None = None,
    scorer: TextScorer | None = None,
    facts: Mapping[str, object] | None = None,
    yardstick: NDArray[np.float64] | None = None,
) -> Measured:
    """Measure the scores of the test reviews, shape (n,), 0 to 1, and log metrics, files and the report.

    Written on the run: metrics ``test/*`` and ``test_slices/*``, sizes as parameters and tags, the score table,
    plots, worst errors and ``report.html``; the description of a run that is part of another.

    ``parameters`` counts those that were trained; ``speed`` is reviews scored per second; ``facts`` are more rows
    for the report's table of the run. Only with a scorer are scores explained word by word. ``yardstick`` are the
    scores of the simple model for the same reviews, (n,): kept beside the others, with the metrics ``baseline/*``.
    """
    test = content.of("test")
    table = ScoreTable(test.review_id, test.label, scores, test.n_tokens, run.config.sequence_length)
    test_data = TestData(test, words, reviews.of_test(prepared.table, "place"))
    traits = metrics.traits_of(test, words, run.config.vocabulary_size)
    measured = metrics.measure(test.label, scores)
    slices = metrics.measure_slices(table, traits)
    found = {f"test/{key}": value for key, value in asdict(measured).items()}
    found |= {ECE: reliability(test.label, scores).error, SPEED: speed}
    if yardstick is not None:
        found |= yardstick_metrics(table, yardstick)
    run.log(found | metrics.slice_metrics(slices))
    run.tag(metrics.slice_tags(slices))
    truncated = f"{(test.n_tokens > run.config.sequence_length).mean():.4f}"
    in_both = in_both_splits(content)
    run.params({PARAMETERS: parameters, "dataset.truncated": truncated, "dataset.in_both_splits": in_both})
    with run.timed("report"):
        curves = plots.curves_of(history) if history else {}
        about = {"dataset and digest": f"{prepared.name} {prepared.digest}"}
        about |= {name: str(value) for name, value in (facts or {}).items()}
        summary = RunSummary(run.record(), curves, table, test_data, scorer, facts=about)
        columns = {"review_id": table.review_id, "label": table.label, "score": table.score}
        columns |= {"n_tokens": table.n_tokens, "unknown": traits.unknown, "negated": traits.negated}
        columns |= {} if yardstick is None else {YARDSTICK_SCORES: yardstick}
        _log_report(run, summary, pd.DataFrame(columns))
    get_run_logger().info("test accuracy %s", measured.text(content.label_names))
    if against := Yardstick.logged(found):
        get_run_logger().info("%s", against.text)
    return measured


@task(name="baseline", persist_result=False)
def measure_baseline(run: RunContext, name: Name, prepared: Prepared) -> None:
    """Fit one baseline on the training split, and score the test split once.

    Written: times, ``val/loss``, ``val/accuracy``, metrics of each
    epoch of a network, settings that were found, ``model_summary.txt``, and what ``record_evaluation`` writes.
    """
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
    record_evaluation(
        run, prepared, content, words, scores,
        parameters=fitted.parameters, speed=speed, history=fitted.history or None,
        facts={"baseline": ABOUT[name], **fitted.found},
    )  # fmt: skip


def _fit(run: RunContext, name: Name, content: reviews.Reviews) -> Fitted:
    logger = get_run_logger()
    training, validation = content.learning_splits(run.config.validation_fraction)
    logger.info("%s, on %d training and %d validation reviews", ABOUT[name], len(training), len(validation))
    log = EpochLog(run, epochs(name, run.config) if name in TRAINING_PARAMS else 0, logger)
    with run.timed("train"):
        fitted = fit(name, FitInput(training, validation, run.config, run.seed, log.add, progress_bar))
    log.end(best_epoch(fitted.history) if fitted.history else None)
    return fitted


def _log_report(run: RunContext, summary: RunSummary, scores: pd.DataFrame) -> None:
    folder = run.work / "artifacts"
    drawn = run_report.pictures(summary)
    plots.save(drawn, folder / "plots")
    report = run_report.report(summary, drawn)
    scores.to_parquet(folder / SCORES, index=False)
    (folder / "worst_errors.txt").write_text(worst_errors_text(summary.misclassified or []), encoding="utf-8")
    (folder / PAGE).write_text(report.page(), encoding="utf-8")
    run.upload(folder)
    if run.parent is not None:  # other runs get their description from ``summarize``
        run.tag({NOTE: report.markdown(f"Part of [{escape_markdown(run.parent.name)}]({run.parent.url}).")})
