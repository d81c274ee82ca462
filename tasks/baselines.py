"""Tasks: fit a baseline, and evaluate it as a network is evaluated."""

from prefect import get_run_logger, task

from sentiflow.baselines import fit
from sentiflow.baselines.models import ABOUT, TRAINING_PARAMS, FitInput, Fitted, Name, epochs
from sentiflow.console import progress_bar
from sentiflow.data import reviews
from sentiflow.data.prepare import Prepared
from sentiflow.network import best_epoch
from sentiflow.runs.record import epoch_tags
from sentiflow.tracking.client import EpochLog
from sentiflow.tracking.results import RunContext
from tasks.evaluate import record_evaluation, timed_scores


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
    _log_fitted(run, fitted)
    with run.timed("evaluate"):
        scores, speed = timed_scores(fitted.score, content.of("test"))
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


def _log_fitted(run: RunContext, fitted: Fitted) -> None:
    """Log what is known before the test split is scored."""
    run.params(fitted.found)
    run.text(fitted.summary, "model_summary.txt")
    if fitted.history:
        run.tag(epoch_tags(len(fitted.history), best_epoch(fitted.history).number))
    else:
        run.log({"val/loss": fitted.val_loss, "val/accuracy": fitted.val_accuracy})
