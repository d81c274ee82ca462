"""What a dataset looks like, as figures."""

from dataclasses import dataclass

import numpy as np

from sentiment.data.reviews import SPLITS, Reviews
from sentiment.recipes import TrainConfig
from sentiment.scoring import OUT_OF_VOCABULARY, Vocabulary
from sentiment.scoring.vocabulary import limit

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)


@dataclass(frozen=True)
class SplitFacts:
    """Figures of one split.

    Attributes:
        name: of the split.
        reviews: how many.
        positive: fraction.
        quantiles: lengths in ids at ``QUANTILES``.
        mean_length: in ids.
        truncated: fraction longer than the recipe's sequence length.
        unknown: fraction of words out of the recipe's vocabulary.
        shape: of the split once padded.
    """

    name: str
    reviews: int
    positive: float
    quantiles: tuple[int, ...]
    mean_length: float
    truncated: float
    unknown: float
    shape: tuple[int, int]


@dataclass(frozen=True)
class DatasetFacts:
    """Figures of a dataset under a recipe.

    Attributes:
        splits: figures of each split that has reviews.
        in_both: test reviews whose ids stand in the training split, too.
        words: in the whole vocabulary.
        first_ids: of the first training review, rare words replaced.
        first_text: the same, decoded; ``?`` for the start marker and for rare words.
        first_label: 0 or 1.
    """

    splits: tuple[SplitFacts, ...]
    in_both: int
    words: int
    first_ids: tuple[int, ...]
    first_text: str
    first_label: int


def describe(reviews: Reviews, vocabulary: Vocabulary, config: TrainConfig) -> DatasetFacts:
    """Gather the figures of a dataset as a recipe would see it."""
    train = reviews.of("train")
    ids = limit(train.tokens[0], config.vocabulary_size)
    return DatasetFacts(
        splits=tuple(_split(name, reviews.of(name), config) for name in SPLITS if name in reviews.split),
        in_both=in_both_splits(reviews),
        words=len(vocabulary),
        first_ids=tuple(int(i) for i in ids),
        first_text=vocabulary.decode(ids),
        first_label=int(train.label[0]),
    )


def in_both_splits(reviews: Reviews) -> int:
    """Test reviews whose very ids stand in the training split, too."""
    seen = {ids.tobytes() for ids in reviews.of("train").tokens}
    return sum(ids.tobytes() in seen for ids in reviews.of("test").tokens)


def _split(name: str, split: Reviews, config: TrainConfig) -> SplitFacts:
    lengths = split.n_tokens
    flat = limit(np.concatenate(split.tokens), config.vocabulary_size)
    words = len(flat) - len(split)
    return SplitFacts(
        name=name,
        reviews=len(split),
        positive=float(split.label.mean()),
        quantiles=tuple(int(q) for q in np.quantile(lengths, QUANTILES, method="nearest")),
        mean_length=float(lengths.mean()),
        truncated=float((lengths > config.sequence_length).mean()),
        unknown=float((flat == OUT_OF_VOCABULARY).sum() / max(words, 1)),
        shape=split.padded(config.sequence_length, config.vocabulary_size).shape,
    )
