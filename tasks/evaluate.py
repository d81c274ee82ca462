"""Measure a trained model on the test split, and record what there is to see.

``record_evaluation`` is the part that knows nothing of networks: whatever scores the test reviews, a baseline too,
is recorded by it, with the same metrics, tables, pictures and report. It also writes the run's description.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
from mlflow.tracking import MlflowClient
from numpy.typing import NDArray
from prefect import get_run_logger, task

from sentiflow.data import reviews
from sentiflow.data.prepare import Prepared
from sentiflow.data.reviews import Reviews, in_both_splits
from sentiflow.evaluation import metrics
from sentiflow.evaluation import metrics as slices
from sentiflow.evaluation.gate import ScoreTable
from sentiflow.evaluation.metrics import Measured, Slice, Traits, reliability
from sentiflow.network import history as histories
from sentiflow.network.history import Epoch
from sentiflow.reports import plots
from sentiflow.reports import run as one
from sentiflow.reports.summary import ECE, PARAMETERS, SPEED, Account, Tested, headline, worst_errors_text
from sentiflow.scoring import TextScorer, Vocabulary, Weights
from sentiflow.settings import load_settings
from sentiflow.tracking.client import connect, log_metrics, timed, tracking_errors
from sentiflow.tracking.results import RunContext, TrainedFiles
from sentiflow.tracking.store import open_store


@task(name="evaluate", task_run_name="evaluate", persist_result=False)
def evaluate(run: RunContext, prepared: Prepared, trained: TrainedFiles) -> Measured:
    """Score the test split once, with the forward pass that the registered model uses.

    Written: ``time/evaluate``, and all that ``record_evaluation`` writes.
    """
    settings = load_settings()
    client = connect(settings)
    content = reviews.read(prepared.table)
    words = reviews.read_vocabulary(prepared.table)
    scorer = TextScorer(Weights.load(trained.weights), words, run.config.sequence_length)
    with tracking_errors(settings.tracking_uri):
        with timed(client, run.run_id, "evaluate"):
            test = content.of("test")
            ids = test.padded(run.config.sequence_length, run.config.vocabulary_size)
            began = time.perf_counter()
            scores = scorer.network.score(ids)
            speed = len(test) / (time.perf_counter() - began)
        return record_evaluation(
            client, run, prepared, content, words, scores,
            history=histories.load(trained.history), scorer=scorer,
            figures={PARAMETERS: _parameters(trained.weights), SPEED: speed},
        )  # fmt: skip


def record_evaluation(
    client: MlflowClient,
    run: RunContext,
    prepared: Prepared,
    content: Reviews,
    words: Vocabulary,
    scores: NDArray[np.float64],
    *,
    history: Sequence[Epoch] | None = None,
    scorer: TextScorer | None = None,
    figures: Mapping[str, float] | None = None,
    facts: Mapping[str, object] | None = None,
) -> Measured:
    """Measure the scores of the test reviews, and log everything that tells of them.

    Written on the run: ``test/*``, ``slice_*/*``, ``data/*`` and ``time/report`` metrics, the score table,
    pictures, worst errors, ``report.html`` and the description.

    Args:
        client: of the store.
        run: open.
        prepared: the dataset.
        content: all its reviews.
        words: its vocabulary.
        scores: of the test reviews, shape (n,), 0 to 1.
        history: of a training that has epochs.
        scorer: what tells word by word how a score came about, if anything does.
        figures: more metrics, such as ``model/parameters`` and ``test/reviews_per_second``.
        facts: more lines for the report's table of the run.
    """
    test = content.of("test")
    table = ScoreTable(test.review_id, test.label, scores, test.n_tokens, run.config.sequence_length)
    tested = Tested(test, words, content.of("train").n_tokens)
    traits = slices.traits_of(test, words, run.config.vocabulary_size)
    measured = metrics.measure(test.label, scores)
    found = _metrics(run, content, history, measured) | slices.as_metrics(_slices(table, traits))
    found[ECE] = reliability(test.label, scores).error
    log_metrics(client, run.run_id, found | dict(figures or {}))
    with timed(client, run.run_id, "report"):
        record = open_store(load_settings()).record(run.run_id)
        curves = plots.curves_of(history) if history else {}
        about = {"dataset and digest": f"{prepared.name} {prepared.digest}"}
        about |= {name: str(value) for name, value in (facts or {}).items()}
        _log_report(client, run, Account(record, curves, table, traits, tested, scorer, facts=about))
    get_run_logger().info("%s", headline(measured))
    return measured


def _log_report(client: MlflowClient, run: RunContext, account: Account) -> None:
    folder = run.work / "artifacts"
    (folder / "plots").mkdir(parents=True)
    drawn = one.pictures(account)
    for name, figure in drawn.items():
        figure.savefig(folder / "plots" / f"{name}.png", dpi=120)
    report = one.report(account, drawn)
    _write_scores(folder / "test_scores.parquet", account)
    (folder / "worst_errors.txt").write_text(worst_errors_text(account.misses or []), encoding="utf-8")
    (folder / "report.html").write_text(report.page(), encoding="utf-8")
    client.log_artifacts(run.run_id, str(folder))
    client.set_tag(run.run_id, "mlflow.note.content", report.markdown())


def _slices(table: ScoreTable, traits: Traits) -> list[Slice]:
    return slices.measure_slices(table.right, slices.rows_of(table, traits))


def _parameters(weights: Path) -> float:
    """How many numbers were trained: those of all arrays of a weights file but its switches."""
    with np.load(weights, allow_pickle=False) as arrays:
        return float(sum(arrays[name].size for name in arrays if arrays[name].dtype.kind == "f"))


def _metrics(
    run: RunContext, content: Reviews, history: Sequence[Epoch] | None, measured: Measured
) -> dict[str, float]:
    found = {f"test/{key}": value for key, value in asdict(measured).items()}
    lengths = content.of("test").n_tokens
    found["data/truncated"] = float((lengths > run.config.sequence_length).mean())
    found["data/in_both_splits"] = in_both_splits(content)
    if history:
        best = histories.best_epoch(history)
        found |= {"val/best_epoch": best.number, "val/best_loss": best.val_loss}
    return found


def _write_scores(path: Path, account: Account) -> None:
    """The score of every test review, with what a later report needs to cut slices without the dataset."""
    table, traits = account.table, account.traits
    if table is None or traits is None:
        raise ValueError("a run without scores has no table of them")
    columns = {"review_id": table.review_id, "label": table.label, "score": table.score}
    columns |= {"n_tokens": table.n_tokens, "unknown": traits.unknown, "negated": traits.negated}
    pd.DataFrame(columns).to_parquet(path, index=False)
