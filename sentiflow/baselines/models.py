"""The baselines that train no network, and what all baselines have in common."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal, get_args

import numpy as np
import scipy.sparse
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from sentiflow.data.reviews import Reviews
from sentiflow.errors import UsageError
from sentiflow.network.history import Epoch
from sentiflow.recipes import TrainConfig
from sentiflow.scoring import is_positive
from sentiflow.scoring.vocabulary import FIRST_WORD

Name = Literal["majority", "tfidf", "embeddings", "gru", "lstm"]
NAMES: tuple[Name, ...] = get_args(Name)
"""In the order of their running: the quick ones first, so that what fails soon does."""

ABOUT: dict[Name, str] = {
    "majority": "the more frequent label, whatever the review",
    "tfidf": "logistic regression on TF-IDF of the words: which words, in no order",
    "embeddings": "mean of the words' embeddings and a dense layer: likewise, learnt",
    "gru": "a GRU in place of the SimpleRNN",
    "lstm": "an LSTM in place of the SimpleRNN",
}


def choose(only: Sequence[str]) -> tuple[Name, ...]:
    """The baselines of these names, each once, in the order of their running; all of them for no name.

    Raises:
        UsageError: there is no such baseline.

    Example:
        >>> choose(["lstm", "majority"])
        ('majority', 'lstm')
    """
    unknown = [name for name in only if name not in NAMES]
    if unknown:
        raise UsageError(f"No baseline is named {unknown[0]!r}.", f"There are: {', '.join(NAMES)}.")
    return tuple(name for name in NAMES if name in only or not only)


@dataclass(frozen=True)
class Effort:
    """Settings of one baseline's training; the validation split chose them, and chooses the epoch.

    Attributes:
        batch_size: reviews a gradient step.
        learning_rate: of adam.
        epochs: at most; a recipe with fewer lowers it.
        patience: epochs without a lower validation loss before the best is restored.
        word_dropout: share of a review's words left out while training.
        dropout: share of what the layer before the score gives, likewise.
        ema_momentum: of the moving average of the weights, which is what is measured and kept.
    """

    batch_size: int
    learning_rate: float
    epochs: int
    patience: int
    word_dropout: float
    dropout: float
    ema_momentum: float


# docs/baselines.md tells which were tried. An epoch of the recurrent ones takes long, hence their few.
EFFORTS = {
    "embeddings": Effort(128, 0.001, 20, 3, 0.5, 0.3, 0.99),
    "gru": Effort(128, 0.002, 10, 2, 0.3, 0.3, 0.99),
    "lstm": Effort(128, 0.002, 10, 2, 0.3, 0.3, 0.99),
}


def parameters_of(name: str, config: TrainConfig, seed: int) -> dict[str, object]:
    """What is logged of a baseline's run: what it shares with the recipe, and settings of its own."""
    shared = ("vocabulary_size", "sequence_length", "validation_fraction")
    found = {field: getattr(config, field) for field in shared} | {"seed": seed}
    if name not in EFFORTS:
        return found
    own = asdict(EFFORTS[name]) | {"epochs": epochs(name, config), "optimizer": "adam"}
    return found | {"embedding_size": config.embedding_size} | own


def epochs(name: str, config: TrainConfig) -> int:
    """Passes over the training split at most: no more than the recipe makes itself."""
    return min(EFFORTS[name].epochs, config.epochs)


Floats = NDArray[np.float64]

_CLIP = 1e-7  # as `sentiflow.evaluation.metrics` clips


@dataclass(frozen=True)
class Fitted:
    """A baseline that was fitted.

    Attributes:
        score: gives reviews their probability of positive, shape (n,).
        parameters: how many numbers were learnt.
        val_loss: on the validation reviews, in nats.
        val_accuracy: likewise, a fraction.
        found: settings that were not given but found, by the validation reviews or by the size wanted.
        summary: what it is, as text.
        history: an entry an epoch; empty where there are none.
    """

    score: Callable[[Reviews], Floats]
    parameters: int
    val_loss: float
    val_accuracy: float
    found: Mapping[str, object]
    summary: str
    history: tuple[Epoch, ...] = ()


def loss_and_accuracy(labels: NDArray[np.int8], scores: Floats) -> tuple[float, float]:
    """Mean binary cross-entropy in nats, and the fraction of right labels.

    Example:
        >>> loss_and_accuracy(np.array([1, 0], np.int8), np.array([0.5, 0.5]))
        (0.6931471805599453, 0.5)
    """
    loss = log_loss(labels, np.clip(scores, _CLIP, 1 - _CLIP), labels=[0, 1])
    return float(loss), float((is_positive(scores) == labels).mean())


def fit_majority(training: Reviews, validation: Reviews) -> Fitted:
    """Score every review with the share of the positive training reviews; of equal shares, negative wins."""
    share = float((training.label == 1).mean())

    def score(reviews: Reviews) -> Floats:
        return np.full(len(reviews), share)

    loss, accuracy = loss_and_accuracy(validation.label, score(validation))
    told = f"{share:.2%} of {len(training):,} training reviews are positive: every review is scored so.\n"
    return Fitted(score, 1, loss, accuracy, {}, told)


# Half-decades around scikit-learn's default of 1. On the IMDB reviews the fourth has the lowest validation loss.
STRENGTHS = (0.3, 1.0, 3.0, 10.0, 30.0)
_MOST_STEPS = 1_000


def counts(reviews: Reviews, config: TrainConfig) -> scipy.sparse.csr_array:
    """How often each word of the vocabulary stands in what a network reads of each review, shape (n, words).

    The same ids as a network's: cut in front, rarer words left out. Start marker and padding are no words.
    """
    ids = reviews.padded(config.sequence_length, config.vocabulary_size)
    row, step = np.nonzero(ids >= FIRST_WORD)
    shape = len(reviews), max(config.vocabulary_size - FIRST_WORD, 1)
    ones = np.ones(len(row))
    return scipy.sparse.csr_array((ones, (row, ids[row, step] - FIRST_WORD)), shape=shape)


def fit_tfidf(training: Reviews, validation: Reviews, config: TrainConfig) -> Fitted:
    """Learn the words' weights on the training reviews, for each of a few strengths of the penalty.

    The strength whose validation loss is lowest is kept; inverse document frequencies are the training reviews'.
    """
    weigh = TfidfTransformer(sublinear_tf=True).fit(counts(training, config))
    learnt, held_back = (weigh.transform(counts(part, config)) for part in (training, validation))
    tried = []
    for strength in STRENGTHS:
        model = LogisticRegression(C=strength, max_iter=_MOST_STEPS).fit(learnt, training.label)
        tried.append((*loss_and_accuracy(validation.label, _positive(model, held_back)), strength, model))
    loss, accuracy, strength, best = min(tried, key=lambda one: one[0])

    def score(reviews: Reviews) -> Floats:
        return _positive(best, weigh.transform(counts(reviews, config)))

    lines = [f"C {c:g}: validation loss {lost:.4f}, accuracy {right:.2%}" for lost, right, c, _ in tried]
    parameters = best.coef_.size + best.intercept_.size
    told = "\n".join([*lines, f"Kept: C {strength:g}, {parameters:,} weights.", ""])
    return Fitted(score, parameters, loss, accuracy, {"C": strength}, told)


def _positive(model: LogisticRegression, rows: scipy.sparse.csr_array) -> Floats:
    scores: Floats = model.predict_proba(rows)[:, 1]
    return scores
