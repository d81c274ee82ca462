"""Measure the trained model on the test split, and draw what there is to see."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from prefect import get_run_logger, task

from sentiment import history as histories
from sentiment import metrics, plots, report
from sentiment.data import reviews
from sentiment.data.describe import in_both_splits
from sentiment.data.prepare import Prepared
from sentiment.data.reviews import Reviews
from sentiment.history import Epoch
from sentiment.metrics import Measured
from sentiment.report import Miss
from sentiment.scoring import TextScorer, Weights
from sentiment.settings import load_settings
from tasks import provenance
from tasks.results import RunContext, TrainedFiles
from tasks.tracking import connect, log_metrics, timed, tracking_errors


@task(name="evaluate", task_run_name="evaluate", persist_result=False)
def evaluate(run: RunContext, prepared: Prepared, trained: TrainedFiles) -> Measured:
    """Score the test split once, with the forward pass that the registered model uses.

    Written: ``test/*`` metrics, ``time/evaluate`` and ``time/report``, the score table, pictures, worst errors
    and the report on the run.
    """
    settings = load_settings()
    client = connect(settings)
    content = reviews.read(prepared.table)
    test = content.of("test")
    history = histories.load(trained.history)
    words = reviews.read_vocabulary(prepared.table)
    scorer = TextScorer(Weights.load(trained.weights), words, run.config.sequence_length)
    with tracking_errors(settings.tracking_uri):
        with timed(client, run.run_id, "evaluate"):
            ids = test.padded(run.config.sequence_length, run.config.vocabulary_size)
            scores = scorer.network.score(ids)
            measured = metrics.measure(test.label, scores)
        log_metrics(client, run.run_id, _metrics(run, content, history, measured))
        with timed(client, run.run_id, "report"):
            figures = plots.all_of(history, content, scores, measured, run.config.sequence_length)
            misses = report.worst_errors(test, scores, scorer)
            folder = run.work / "artifacts"
            _write_tables(folder, test, scores, misses)
            for name, figure in figures.items():
                figure.savefig(folder / "plots" / f"{name}.png", dpi=120)
            page = report.page(run.name, _facts(run, prepared, trained), measured, figures, misses)
            (folder / "report.html").write_text(page, encoding="utf-8")
            client.log_artifacts(run.run_id, str(folder))
    get_run_logger().info("%s", report.headline(measured))
    return measured


def _metrics(run: RunContext, content: Reviews, history: list[Epoch], measured: Measured) -> dict[str, float]:
    best = histories.best_epoch(history)
    test_lengths = content.of("test").n_tokens
    return {f"test/{key}": value for key, value in asdict(measured).items()} | {
        "val/best_epoch": best.number,
        "val/best_loss": best.val_loss,
        "data/truncated": float((test_lengths > run.config.sequence_length).mean()),
        "data/in_both_splits": in_both_splits(content),
    }


def _write_tables(folder: Path, test: Reviews, scores: NDArray[np.float64], misses: list[Miss]) -> None:
    (folder / "plots").mkdir(parents=True)
    table = {"review_id": test.review_id, "label": test.label, "score": scores, "n_tokens": test.n_tokens}
    pd.DataFrame(table).to_parquet(folder / "test_scores.parquet", index=False)
    (folder / "worst_errors.txt").write_text(report.worst_errors_text(misses), encoding="utf-8")


def _facts(run: RunContext, prepared: Prepared, trained: TrainedFiles) -> dict[str, object]:
    facts = {"dataset": prepared.name, "dataset digest": prepared.digest, "seed": run.seed}
    facts["weights of epoch"] = trained.kept.number
    return facts | run.config.model_dump() | provenance.versions()
