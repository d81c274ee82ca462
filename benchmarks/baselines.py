"""Measure baselines beside the recipe ``tuned``, and write the table in docs/recipes.md."""

import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import scipy.sparse
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression

from benchmarks import machine, table
from sentiflow import baselines
from sentiflow.baselines import Floats
from sentiflow.data import reviews as reading
from sentiflow.data.prepare import fetch, prepare
from sentiflow.data.reviews import Reviews
from sentiflow.evaluation.metrics import Measured, cross_entropy, measure
from sentiflow.evaluation.scores import BASELINE, ScoreTable
from sentiflow.evaluation.statistics import Comparison, compare, format_interval, format_p, format_points
from sentiflow.reports.blocks import Table
from sentiflow.reports.summary import PARAMETERS, SPEED
from sentiflow.scoring.vocabulary import FIRST_WORD
from sentiflow.settings import Settings, load_settings, project_root
from sentiflow.store.find import open_store, score_table
from sentiflow.training.recipes import TUNED, TrainConfig

BEGIN, END = "<!-- make results writes the baselines from here -->", "<!-- to here, the baselines -->"

HEADINGS = (
    "model",
    "test accuracy (95% interval)",
    "to the network (95% interval)",
    "McNemar's p",
    "validation loss",
    "parameters",
    "training",
    "reviews a second",
)

_READS_NOTHING = 1e7  # reviews a second from which on a model cannot have looked at them


def main() -> None:
    rows = measured("imdb")
    date = f"{datetime.now(UTC):%Y-%m-%d}"
    note = f"One run of each, seed 0, on {date}. {machine.describe()}."
    reported = Table(HEADINGS, [row.cells for row in rows], words=3).markdown()
    table.put_into(table.RECIPES_PAGE, f"{reported}\n\n{note}", BEGIN, END)


@dataclass(frozen=True)
class Fitted:
    """A model without a network."""

    score: Callable[[Reviews], Floats]  # probability of positive, shape (n,)
    parameters: int
    val_loss: float
    strength: float  # C


@dataclass(frozen=True)
class Row:
    """One model on the test reviews."""

    name: str
    measured: Measured
    comparison: Comparison | None  # its right labels less the network's; None for the network itself
    val_loss: float
    parameters: int
    seconds: float  # of the training, choices included
    reviews_per_second: float

    @property
    def cells(self) -> tuple[str, ...]:
        measured, against = self.measured, ("", "")
        if (found := self.comparison) is not None:
            points = f"{format_points(found.difference)} ({format_interval(found.low, found.high)})"
            against = points, format_p(found.p_value)
        return (
            self.name,
            f"{measured.accuracy:.2%} ({measured.accuracy_ci_low:.2%} to {measured.accuracy_ci_high:.2%})",
            *against,
            f"{self.val_loss:.4f}",
            f"{self.parameters:,}",
            f"{self.seconds:.1f} s",
            f"{self.reviews_per_second:,.0f}" if self.reviews_per_second < _READS_NOTHING else "",
        )


def measured(dataset: str) -> list[Row]:
    """The network of the recipe ``tuned``, trained by the command, and the baselines on its reviews."""
    settings = load_settings()
    prepared = prepare(fetch(dataset, settings), settings)
    with tempfile.TemporaryDirectory() as folder:
        own = machine.own_store(folder)
        command = [machine.SENTIFLOW, "train", "--recipe", "tuned", "--dataset", dataset]
        subprocess.run(command, env={**os.environ, **own}, cwd=project_root(), check=True)
        store = open_store(Settings(tracking_uri=own["SENTIFLOW_TRACKING_URI"]))
        (record,) = store.runs()
        scores = score_table(store, record, Path(folder))
    assert scores is not None
    found = Measured(**{field.name: record.metrics[f"test/{field.name}"] for field in fields(Measured)})
    seconds, parameters = record.seconds("train") or 0.0, int(record.params[PARAMETERS])
    network = Row("tuned", found, None, record.metrics["val/loss"], parameters, seconds, record.metrics[SPEED])
    content = reading.read(prepared.table)
    return [network, *(_row(name, fit, content, scores) for name, fit in MODELS.items())]


def _row(name: str, fit: Callable[[Reviews, Reviews], Fitted], content: Reviews, network: ScoreTable) -> Row:
    began = time.perf_counter()
    fitted = fit(*content.learning_splits(TUNED.validation_fraction))
    seconds, test = time.perf_counter() - began, content.of("test")
    began = time.perf_counter()
    scores = fitted.score(test)
    speed = len(test) / (time.perf_counter() - began)
    own = ScoreTable(test.review_id, test.label, scores, test.n_tokens, network.sequence_length)
    comparison = compare(own.in_order_of(network).right, network.right)
    return Row(name, measure(test.label, scores), comparison, fitted.val_loss, fitted.parameters, seconds, speed)


def fit_majority(training: Reviews, validation: Reviews) -> Fitted:
    """Score every review with the share of positive training reviews; equal shares count as negative."""
    share = float((training.label == 1).mean())
    loss = cross_entropy(validation.label, np.full(len(validation), share))
    return Fitted(lambda reviews: np.full(len(reviews), share), 1, loss, 0.0)


# Around scikit-learn's default of 1; on the IMDB reviews 10 has the lowest validation loss.
STRENGTHS = (0.3, 1.0, 3.0, 10.0, 30.0)


def counts(reviews: Reviews, config: TrainConfig) -> scipy.sparse.csr_array:
    """Counts of the words that a network with this recipe reads of each review, shape (n, words)."""
    ids = reviews.padded(config.sequence_length, config.vocabulary_size)
    row, step = np.nonzero(ids >= FIRST_WORD)
    shape = len(reviews), max(config.vocabulary_size - FIRST_WORD, 1)
    ones = np.ones(len(row))
    return scipy.sparse.csr_array((ones, (row, ids[row, step] - FIRST_WORD)), shape=shape)


def fit_ngrams(training: Reviews, validation: Reviews) -> Fitted:
    """The baseline of a user's table."""
    fitted = baselines.fit(training, validation)
    return Fitted(fitted.score, len(fitted.ngrams.keys) + 1, fitted.val_loss, fitted.strength)


def positive(model: LogisticRegression, rows: scipy.sparse.csr_array) -> Floats:
    """Probability of positive of each row, shape (n,)."""
    scores: Floats = model.predict_proba(rows)[:, 1]
    return scores


def fit_tfidf(training: Reviews, validation: Reviews, config: TrainConfig = TUNED) -> Fitted:
    """Fit a logistic regression for each of a few values of C; the one with the lowest validation loss is kept."""
    tfidf = TfidfTransformer(sublinear_tf=True).fit(counts(training, config))
    learned, held_out = (tfidf.transform(counts(part, config)) for part in (training, validation))
    models = {c: LogisticRegression(C=c, max_iter=1_000).fit(learned, training.label) for c in STRENGTHS}
    tried = [(cross_entropy(validation.label, positive(model, held_out)), c) for c, model in models.items()]
    loss, strength = min(tried)
    best = models[strength]

    def score(reviews: Reviews) -> Floats:
        return positive(best, tfidf.transform(counts(reviews, config)))

    return Fitted(score, best.coef_.size + best.intercept_.size, loss, strength)


MODELS: dict[str, Callable[[Reviews, Reviews], Fitted]] = {
    "majority": fit_majority, "tfidf": fit_tfidf, BASELINE: fit_ngrams,
}  # fmt: skip


if __name__ == "__main__":
    main()
