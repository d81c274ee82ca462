"""What the rules of a recipe fit to a table."""

import math
from typing import Any

import numpy as np

from sentiflow.data.reviews import Reviews
from sentiflow.scoring.vocabulary import FIRST_WORD
from sentiflow.training.recipes import TrainConfig

_LONGEST = 500  # ids, as on IMDB
_SHORTEST = 8
_READ_WHOLE = 0.98  # of the training reviews
_SHORT = 100  # ids
_MANY = 8_000  # reviews, from which on a step has as many as on IMDB
_MOST_EPOCHS = 30
_MOST_IDS = 200_000  # that a recipe may have


def fit(config: TrainConfig, reviews: Reviews, ids: int, *, started: bool) -> TrainConfig:
    """Fill in the fields of ``fit_to_table``.

    There are as many ``ids`` as words in the table's whole vocabulary, the reserved ones included; a training is
    ``started`` that begins from another network.
    """
    if not config.fit_to_table:
        return config
    learnt, _ = reviews.learning_splits(config.validation_fraction)
    # Chosen on parts of training splits (docs/own-tables.md): steps and epochs at least, and the rates.
    least_steps, least_epochs = (400, 5) if started else (500, 8)
    rate_for_short, rate_for_long = (0.002, 0.001) if started else (0.003, 0.003)
    own, known = learnt_ids(reviews.of("train"), ids)
    fitted = config.model_dump()

    def choose(field: str, value: Any) -> None:
        if field in config.fit_to_table:
            fitted[field] = value

    choose("vocabulary_size", min(_MOST_IDS, known if started else own))
    choose("sequence_length", _length(learnt))
    choose("batch_size", 32 if len(learnt) < _MANY else 64)
    is_short = fitted["sequence_length"] <= _SHORT
    choose("learning_rate", rate_for_short if is_short else rate_for_long)
    choose("ensemble_size", 8 if started and is_short and len(learnt) < _MANY else 4)
    choose("embedding_weight_decay", 1.0 if started else 2.0)
    steps = max(1, math.ceil(len(learnt) / fitted["batch_size"]))  # of an epoch
    choose("epochs", min(_MOST_EPOCHS, max(least_epochs, math.ceil(least_steps / steps))))
    choose("early_stopping_patience", max(2, fitted["epochs"] // 4))
    # The average of about the last tenth of all steps.
    choose("ema_momentum", round(min(0.999, max(0.9, 1 - 10 / (steps * fitted["epochs"]))), 4))
    return TrainConfig(**fitted)


def learnt_ids(reviews: Reviews, ids: int) -> tuple[int, int]:
    """The ids before the first word that no review has, and those before the next word that one has.

    In a table of one's own these are the words that its training split has often enough, and besides them those
    that the base knows; the words after them are rare (``sentiflow.data.division.to_reviews``).
    """
    counts = np.bincount(np.concatenate(reviews.tokens or [np.empty(0, np.int32)]), minlength=ids)
    counts[:FIRST_WORD] = 1  # whether there are any or not
    unseen = np.flatnonzero(counts == 0)
    own = int(unseen[0]) if len(unseen) else ids
    rare = np.flatnonzero(counts[own:])
    return own, own + int(rare[0]) if len(rare) else ids


def _length(reviews: Reviews) -> int:
    """The ids that nearly all reviews have at most."""
    lengths = reviews.n_tokens
    return int(min(_LONGEST, max(_SHORTEST, np.quantile(lengths, _READ_WHOLE)))) if len(lengths) else _SHORTEST


def fitted_text(config: TrainConfig) -> str:
    """What the rules chose, in a line: ``vocabulary size 16371, sequence length 27, ...``."""
    values = ((name.replace("_", " "), getattr(config, name)) for name in config.fit_to_table)
    return ", ".join(f"{name} {value}" for name, value in values)
