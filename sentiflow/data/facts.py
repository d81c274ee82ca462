"""What a dataset is like: its figures, and what to say of it."""

from dataclasses import dataclass

import numpy as np

from sentiflow.data.reviews import SPLITS, Reviews
from sentiflow.scoring import OUT_OF_VOCABULARY, Vocabulary
from sentiflow.scoring.vocabulary import FIRST_WORD, limit

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)


@dataclass(frozen=True)
class SplitFacts:
    """Figures of one split."""

    name: str
    reviews: int
    positive: float  # fraction of label 1
    quantiles: tuple[int, ...]  # lengths in ids at ``QUANTILES``
    mean_length: float  # in ids
    truncated: float  # fraction longer than the recipe's sequence length
    unknown: float  # fraction of words out of the recipe's vocabulary
    shape: tuple[int, int]  # of the split once padded


@dataclass(frozen=True)
class DatasetFacts:
    """Figures of a dataset under a recipe, of splits that have reviews; ``words`` counts the whole vocabulary."""

    splits: tuple[SplitFacts, ...]
    in_both: int  # test reviews whose ids stand in the training split, too
    words: int
    training_words: int  # those that the training split has
    kept_words: int  # those of them that the recipe keeps
    first_ids: tuple[int, ...]  # of the first training review, rare words replaced
    first_text: str  # the same, decoded; ``?`` for the start marker and for rare words
    first_label: int  # 0 or 1
    label_names: tuple[str, str]  # what the source calls 0 and 1


def describe(reviews: Reviews, vocabulary: Vocabulary, vocabulary_size: int, sequence_length: int) -> DatasetFacts:
    """Gather the figures of a dataset as a recipe would see it."""
    train = reviews.of("train")
    ids = limit(train.tokens[0], vocabulary_size)
    held = np.unique(np.concatenate(train.tokens))
    held = held[held >= FIRST_WORD]
    return DatasetFacts(
        splits=tuple(
            _split(name, reviews.of(name), vocabulary_size, sequence_length)
            for name in SPLITS
            if name in reviews.split
        ),
        in_both=in_both_splits(reviews),
        words=len(vocabulary),
        training_words=len(held),
        kept_words=int((held < vocabulary_size).sum()),
        first_ids=tuple(int(i) for i in ids),
        first_text=vocabulary.decode(ids),
        first_label=int(train.label[0]),
        label_names=reviews.label_names,
    )


def in_both_splits(reviews: Reviews) -> int:
    """Test reviews whose very ids stand in the training split, too."""
    seen = {ids.tobytes() for ids in reviews.of("train").tokens}
    return sum(ids.tobytes() in seen for ids in reviews.of("test").tokens)


_UNREAD = 0.2  # of the test reviews
_FEW = 10  # test reviews of a label
_USUAL = 3.0  # standard errors


def warnings(reviews: Reviews) -> list[str]:
    """What to say of a dataset whose test tells little: unread, few reviews of a label, or unlike the rest."""
    test, others = reviews.of("test"), reviews.label[reviews.split != "test"]
    found = []
    unread = float((test.n_tokens == 1).mean())  # the start marker alone
    if unread > _UNREAD:  # as ids or numbers would be
        share = f"{unread:.0%} of the test reviews share no word with any training review."
        found.append(f"{share} Is the column of texts right?")
    positive = int(test.label.sum())
    few = min(positive, len(test) - positive)
    if few < _FEW:
        label = reviews.label_names[few == positive]
        found.append(
            f"Only {few} of the {len(test):,} test reviews are {label}: the test says little about these."
        )
    here, there, share = test.label.mean(), others.mean(), reviews.label.mean()
    error = np.sqrt(share * (1 - share) * (1 / len(test) + 1 / len(others)))
    if abs(here - there) > _USUAL * error:
        one = reviews.label_names[1]
        found.append(
            f"{here:.1%} of the test reviews are {one}, and {there:.1%} of the others: more than chance makes."
        )
    return found


def _split(name: str, split: Reviews, vocabulary_size: int, sequence_length: int) -> SplitFacts:
    lengths = split.n_tokens
    flat = limit(np.concatenate(split.tokens), vocabulary_size)
    return SplitFacts(
        name=name,
        reviews=len(split),
        positive=float(split.label.mean()),
        quantiles=tuple(int(q) for q in np.quantile(lengths, QUANTILES, method="nearest")),
        mean_length=float(lengths.mean()),
        truncated=float((lengths > sequence_length).mean()),
        unknown=float((flat == OUT_OF_VOCABULARY).sum() / max(len(flat) - len(split), 1)),  # without start markers
        shape=(len(split), sequence_length),
    )
