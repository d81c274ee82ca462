"""Baselines: simpler models to compare the recipe's network with, and the table of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Literal, Self, get_args

import numpy as np
import scipy.sparse
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression

from sentiflow.data.reviews import Reviews
from sentiflow.errors import UsageError
from sentiflow.evaluation.metrics import Measured, cross_entropy
from sentiflow.evaluation.statistics import Comparison, format_interval, format_p, format_points
from sentiflow.reports import Table
from sentiflow.reports.summary import PARAMETERS, SPEED
from sentiflow.runs import RunRecord
from sentiflow.scoring import is_positive
from sentiflow.scoring.vocabulary import FIRST_WORD
from sentiflow.training.recipes import TrainConfig

Name = Literal["majority", "tfidf", "nb-bigrams"]
NAMES: tuple[Name, ...] = get_args(Name)  # in the order in which they run, the fast ones first

ABOUT: dict[Name, str] = {
    "majority": "the more frequent label, whatever the review",
    "tfidf": "logistic regression on TF-IDF of the words, without their order",
    "nb-bigrams": "logistic regression on all words and pairs of neighbours, weighted by naive Bayes",
}


def choose(only: Sequence[str]) -> tuple[Name, ...]:
    """The baselines of these names, each once, in the order in which they run; all of them for no name."""
    unknown = [name for name in only if name not in NAMES]
    if unknown:
        raise UsageError(f"No baseline is named {unknown[0]!r}.", f"There are: {', '.join(NAMES)}.")
    return tuple(name for name in NAMES if name in only or not only)


def parameters_of(name: str, config: TrainConfig, seed: int) -> dict[str, object]:
    """Parameters of a baseline's run in MLflow, those that it shares with the recipe."""
    read = () if name == "nb-bigrams" else ("vocabulary_size", "sequence_length")
    return {field: getattr(config, field) for field in (*read, "validation_fraction")} | {"seed": seed}


Floats = NDArray[np.float64]
Tried = tuple[float, float, float]  # validation loss, validation accuracy, C


@dataclass(frozen=True)
class Fitted:
    """A fitted baseline."""

    score: Callable[[Reviews], Floats]  # probability of positive, shape (n,)
    parameters: int
    val_loss: float
    val_accuracy: float
    found: Mapping[str, object]  # settings chosen by the validation reviews
    summary: str


def fit(name: str, training: Reviews, validation: Reviews, config: TrainConfig) -> Fitted:
    """Fit a baseline to compare with a recipe; the validation reviews choose settings alone."""
    if not len(validation) or len(set(training.label.tolist())) != 2:
        problem = "The baselines need validation reviews, and training reviews of both labels."
        raise UsageError(problem, "Use a larger table, or another validation_fraction.")
    if name == "majority":
        return fit_majority(training, validation)
    if name == "tfidf":
        return fit_tfidf(training, validation, config)
    return fit_nb_bigrams(training, validation)


def loss_and_accuracy(labels: NDArray[np.int8], scores: Floats) -> tuple[float, float]:
    """Of scores against labels, both of shape (n,): mean loss in nats, and the fraction of right labels."""
    return cross_entropy(labels, scores), float((is_positive(scores) == labels).mean())


def fit_majority(training: Reviews, validation: Reviews) -> Fitted:
    """Score every review with the share of positive training reviews; equal shares count as negative."""
    share = float((training.label == 1).mean())

    def score(reviews: Reviews) -> Floats:
        return np.full(len(reviews), share)

    loss, accuracy = loss_and_accuracy(validation.label, score(validation))
    summary = f"{share:.2%} of {len(training):,} training reviews are positive: the score of every review.\n"
    return Fitted(score, 1, loss, accuracy, {}, summary)


# Of `tfidf`, around scikit-learn's default of 1; on the IMDB reviews 10 has the lowest validation loss.
STRENGTHS = (0.3, 1.0, 3.0, 10.0, 30.0)


def counts(reviews: Reviews, config: TrainConfig) -> scipy.sparse.csr_array:
    """Counts of the words that a network with this recipe reads of each review, shape (n, words)."""
    ids = reviews.padded(config.sequence_length, config.vocabulary_size)
    row, step = np.nonzero(ids >= FIRST_WORD)
    shape = len(reviews), max(config.vocabulary_size - FIRST_WORD, 1)
    ones = np.ones(len(row))
    return scipy.sparse.csr_array((ones, (row, ids[row, step] - FIRST_WORD)), shape=shape)


def fit_tfidf(training: Reviews, validation: Reviews, config: TrainConfig) -> Fitted:
    """Fit a logistic regression for each of a few values of C; the one with the lowest validation loss is kept."""
    tfidf = TfidfTransformer(sublinear_tf=True).fit(counts(training, config))
    learned, held_out = (tfidf.transform(counts(part, config)) for part in (training, validation))
    models = {c: LogisticRegression(C=c, max_iter=1_000).fit(learned, training.label) for c in STRENGTHS}
    tried = [(*loss_and_accuracy(validation.label, positive(model, held_out)), c) for c, model in models.items()]
    best = models[min(tried)[2]]
    return _fitted(lambda reviews: positive(best, tfidf.transform(counts(reviews, config))), best, tried)


def _fitted(
    score: Callable[[Reviews], Floats], model: LogisticRegression, tried: Sequence[Tried], how: str = ""
) -> Fitted:
    """The regression with the C of the lowest validation loss of those that were tried."""
    loss, accuracy, strength = min(tried)
    parameters = model.coef_.size + model.intercept_.size
    lines = [f"C {c:g}: validation loss {lost:.4f}, accuracy {right:.2%}" for lost, right, c in tried]
    lines.append(f"Kept: C {strength:g}{how}, {parameters:,} weights.\n")
    return Fitted(score, parameters, loss, accuracy, {"C": strength}, "\n".join(lines))


def positive(model: LogisticRegression, rows: scipy.sparse.csr_array) -> Floats:
    """Probability of positive of each row, shape (n,)."""
    scores: Floats = model.predict_proba(rows)[:, 1]
    return scores


# Of `nb-bigrams`; on the IMDB reviews 0.3 has the lowest validation loss.
BIGRAM_STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)

_SMOOTHING = 1.0  # added to each count
_MOST_WORDS = 20_000_000  # learnt from: they take 2 GB and a minute

Keys = NDArray[np.int64]


def fit_nb_bigrams(training: Reviews, validation: Reviews) -> Fitted:
    """Choose C by validation loss, then fit once more to training and validation reviews together.

    Words and pairs of neighbours, weighted by naive Bayes, in a logistic regression: Wang and Manning (2012),
    Baselines and Bigrams: Simple, Good Sentiment and Topic Classification. Reviews are read whole; of a very large
    table the first of them. The validation loss is that of the fit that chose.
    """
    training, validation = _first(training), _first(validation)
    keys, rows = features(training)
    ratio = log_count_ratio(rows, training.label)
    learned, held_out = weighted(rows, ratio), weighted(features(validation, keys)[1], ratio)
    models = ((c, _fit(c, learned, training.label)) for c in BIGRAM_STRENGTHS)
    tried = [(*loss_and_accuracy(validation.label, positive(model, held_out)), c) for c, model in models]
    both = _first(training.joined(validation))
    final_keys, rows = features(both)
    final_ratio = log_count_ratio(rows, both.label)
    model = _fit(min(tried)[2], weighted(rows, final_ratio), both.label)

    def score(reviews: Reviews) -> Floats:
        return positive(model, weighted(features(reviews, final_keys)[1], final_ratio))

    return _fitted(score, model, tried, ", fitted again with the validation reviews")


def _fit(strength: float, rows: scipy.sparse.csr_array, labels: NDArray[np.int8]) -> LogisticRegression:
    # liblinear takes a tenth of the time of lbfgs; it draws the order of its steps.
    model = LogisticRegression(C=strength, solver="liblinear", dual=True, random_state=0, max_iter=1_000)
    return model.fit(rows, labels)


def _first(reviews: Reviews) -> Reviews:
    """The first reviews, as many as have ``_MOST_WORDS`` together."""
    within = np.cumsum(reviews.n_tokens) <= _MOST_WORDS
    return reviews if within.all() else reviews.take(within)


def features(reviews: Reviews, keys: Keys | None = None) -> tuple[Keys, scipy.sparse.csr_array]:
    """Which words and pairs of neighbours whole reviews hold: all of theirs, or only those of ``keys``.

    Start marker, padding and the id of rare words do not count, and are not between neighbours. Gives the keys,
    rising, (f,): a word by its id, a pair by the first id times 2**32 plus the second; and a matrix (n, f) of 1
    where a review holds one, however often.
    """
    flat = np.concatenate([np.empty(0, np.int32), *reviews.tokens])
    words = flat >= FIRST_WORD
    row = np.repeat(np.arange(len(reviews), dtype=np.int32), reviews.n_tokens)[words]
    ids = flat[words].astype(np.int64)
    neighbours = row[1:] == row[:-1]
    found = np.concatenate([ids, ((ids[:-1] << 32) + ids[1:])[neighbours]])
    row = np.concatenate([row, row[1:][neighbours]])
    if keys is None:
        keys = np.sort(found)
        keys = keys[np.diff(keys, prepend=-1) > 0]  # numpy's unique takes longer
    column = np.searchsorted(keys, found).astype(np.int32)  # scikit-learn asks for 32 bits
    known = np.append(keys, -1)[column] == found
    cells = row[known], column[known]
    matrix = scipy.sparse.csr_array((np.ones(len(cells[0])), cells), shape=(len(reviews), max(len(keys), 1)))
    matrix.data[:] = 1  # duplicates were added up
    return keys, matrix


def weighted(rows: scipy.sparse.csr_array, ratio: Floats) -> scipy.sparse.csr_array:
    """What ``features`` found, each by its log-count ratio, (n, f)."""
    return scipy.sparse.csr_array((ratio[rows.indices], rows.indices, rows.indptr), shape=rows.shape)


def log_count_ratio(rows: scipy.sparse.csr_array, labels: NDArray[np.int8]) -> Floats:
    """Logarithm of how much oftener positive reviews hold each feature than negative ones, smoothed; (f,)."""
    positive, negative = (_SMOOTHING + rows[labels == label].sum(axis=0) for label in (1, 0))
    ratio: Floats = np.log(positive / positive.sum()) - np.log(negative / negative.sum())
    return ratio


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


@dataclass(frozen=True)
class Row:
    """One model, a baseline or a recipe's network, on the test reviews."""

    name: str
    measured: Measured
    comparison: Comparison | None  # its right labels less the network's; None for the network itself
    val_loss: float
    parameters: int
    seconds: float  # of the training, choices included
    reviews_per_second: float

    @classmethod
    def of(cls, name: str, record: RunRecord, comparison: Comparison | None) -> Self:
        metrics = record.metrics
        return cls(
            name,
            Measured(**{field.name: metrics[f"test/{field.name}"] for field in fields(Measured)}),
            comparison,
            metrics["val/loss"],
            int(record.params[PARAMETERS]),
            record.seconds("train") or 0.0,
            metrics[SPEED],
        )

    def as_metrics(self, name: str) -> dict[str, float]:
        found = {f"test/accuracy_{name}": self.measured.accuracy, f"val/loss_{name}": self.val_loss}
        if self.comparison is not None:
            found[f"test/difference_{name}"] = self.comparison.difference
            found[f"test/p_value_{name}"] = self.comparison.p_value
        return found

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


def markdown(rows: Sequence[Row]) -> str:
    """A table in Markdown, a line a model; it begins with ``TOP``."""
    return Table(HEADINGS, [row.cells for row in rows], words=3).markdown()


TOP = markdown(()).splitlines()[0]
