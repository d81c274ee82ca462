"""Epochs of a training, and scores of the test reviews: as a table, read from a file, in slices."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from sentiflow.scoring import is_positive

if TYPE_CHECKING:
    import pyarrow as pa

# Of a file with scores.
_REVIEW = "review_id"
_MOST_ROWS = 5_000_000
_LONGEST = 64  # bytes of an id; those of trainings have at most 21
_CODECS = {"SNAPPY", "UNCOMPRESSED"}  # others unpack a file to thousands of times its size, Snappy to 21 times
_ENCODINGS = {"PLAIN", "RLE", "BIT_PACKED", "PLAIN_DICTIONARY", "RLE_DICTIONARY"}  # others repeat long beginnings


@dataclass(frozen=True)
class Epoch:
    """One pass over the training split, numbered from 1."""

    number: int
    train_loss: float  # binary cross-entropy in nats, the mean over the epoch while the weights moved
    train_accuracy: float
    val_loss: float  # after the epoch, on the validation split
    val_accuracy: float
    learning_rate: float  # at the end of the epoch
    seconds: float  # wall time, validation included
    reviews_per_second: float  # training reviews by those seconds


def best_epoch(history: Sequence[Epoch]) -> Epoch:
    """The epoch of the lowest validation loss; the earliest of equals."""
    return min(history, key=lambda epoch: epoch.val_loss)


BASELINE: Literal["nb-ngrams"] = "nb-ngrams"  # a version of a user's table must not be worse


@dataclass(frozen=True)
class ScoreTable:
    """Scores of one model on the test reviews."""

    review_id: NDArray[np.str_]  # shape (n,), each once
    label: NDArray[np.int8]  # shape (n,), 0 or 1
    score: NDArray[np.float64]  # shape (n,), 0 to 1
    n_tokens: NDArray[np.int32]  # shape (n,), ids of each review before truncation
    sequence_length: int  # maximum ids that the model reads

    def __post_init__(self) -> None:
        columns = self.review_id, self.label, self.score, self.n_tokens
        if not 0 < len(self.review_id) == min(map(len, columns)) == max(map(len, columns)):
            raise ValueError("a score table needs columns of one length, and at least one review")
        if len(np.unique(self.review_id)) != len(self.review_id):
            raise ValueError("a score table must not hold a review twice")
        if not ((self.score >= 0) & (self.score <= 1)).all():  # NaN included
            raise ValueError("scores must lie from 0 to 1")
        if not np.isin(self.label, (0, 1)).all():
            raise ValueError("labels must be 0 or 1")

    @property
    def right(self) -> NDArray[np.bool_]:
        """Which reviews are labelled correctly; shape (n,)."""
        right: NDArray[np.bool_] = is_positive(self.score) == (self.label == 1)
        return right

    def take(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> "ScoreTable":
        """The reviews of a mask or of row numbers, in that order."""
        return ScoreTable(
            self.review_id[rows], self.label[rows], self.score[rows], self.n_tokens[rows], self.sequence_length
        )

    def of_those_in(self, other: "ScoreTable") -> "ScoreTable":
        """The reviews of another table, in its order; this one may have more."""
        return self.take(np.isin(self.review_id, other.review_id)).in_order_of(other)

    def in_order_of(self, other: "ScoreTable") -> "ScoreTable":
        """The same reviews in the order of another table."""
        mine, theirs = np.argsort(self.review_id), np.argsort(other.review_id)
        if not np.array_equal(self.review_id[mine], other.review_id[theirs]):
            raise ValueError("the two score tables hold different reviews")
        mixed = self.take(mine[np.argsort(theirs)])
        if (mixed.label != other.label).any():
            raise ValueError("the two score tables disagree about labels")
        return mixed


def slices(candidate: ScoreTable, champion: ScoreTable) -> dict[str, NDArray[np.bool_]]:
    """Rows of the shortest quarter, of the longest, and of what one of the two models does not read whole."""
    lengths = candidate.n_tokens
    short, long = np.quantile(lengths, [0.25, 0.75])
    read = min(candidate.sequence_length, champion.sequence_length)
    return {"short": lengths <= short, "long": lengths >= long, "truncated": lengths > read}


def read_scores(path: Path, names: Sequence[str]) -> "pa.Table":
    """Those of some columns that a file has.

    Raises:
        ValueError: no training has written it; an OSError if it is damaged.
    """
    import pyarrow.parquet as pq  # a prediction does without

    with pq.ParquetFile(path, read_dictionary=[_REVIEW]) as file:  # of ids that are repeated, each comes once
        about, size = file.metadata, path.stat().st_size
        groups = [about.row_group(group) for group in range(about.num_row_groups)]
        chunks = [[group.column(number) for group in groups] for number in range(about.num_columns)]
        # A row takes more than a byte, by its id alone.
        if any(sum(chunk.num_values for chunk in column) > min(size, _MOST_ROWS) for column in chunks):
            raise ValueError(f"its {size:,} bytes stand for {about.num_rows:,} rows")
        for chunk in chain.from_iterable(chunks):
            if chunk.compression not in _CODECS or not _ENCODINGS.issuperset(chunk.encodings):
                raise ValueError(f"it is packed by {chunk.compression}, {', '.join(chunk.encodings)}")
        for field in file.schema_arrow:  # Arrow reads what a name and a dot begin, too
            if field.name.partition(".")[0] in names and not _is_read(field):
                raise ValueError(f"its column {field.name} holds {field.type}")
        table = file.read(columns=names)
    if _REVIEW in table.column_names and max(map(_longest, table[_REVIEW].chunks), default=0) > _LONGEST:
        raise ValueError(f"it has ids of more than {_LONGEST} bytes")
    return table


def _is_read(field: "pa.Field") -> bool:
    import pyarrow as pa

    if field.name == _REVIEW:
        return bool(pa.types.is_dictionary(field.type))
    return bool(pa.types.is_integer(field.type) or pa.types.is_floating(field.type))


def _longest(ids: "pa.DictionaryArray") -> int:
    import pyarrow.compute as pc

    return pc.max(pc.binary_length(ids.dictionary)).as_py() or 0
