"""Reviews as arrays: the canonical table, read, written and described."""

import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from sentiflow.errors import ExternalError, newer_format
from sentiflow.files import publish_private
from sentiflow.scoring import LABEL_NAMES, Vocabulary, pad

logger = logging.getLogger(__name__)

SPLITS = ("train", "validation", "test")
BETWEEN, BETWEEN_CHOICE, BETWEEN_TEST = 2, "between", "between-test"
"""The label of neutral reviews, and their splits: of those that choose limits, and of those that test."""

_SCHEMA = pa.schema(
    [
        ("review_id", pa.string()),
        ("split", pa.string()),
        ("label", pa.int8()),
        ("token_ids", pa.list_(pa.int32())),
        ("n_tokens", pa.int32()),
        # No part of the digest:
        ("place", pa.string()),  # in the source, for people
        ("origin", pa.string()),  # of a user's rows: ``LABEL_SAMPLE``, or empty
        ("text", pa.string()),  # of a user's test reviews: another version may know other words
        ("words", pa.uint64()),  # hash of a user's text as ``sentiflow.data.division.word_hash`` makes it; else 0
        ("alike", pa.string()),  # id of a learnt review that a user's test review is nearly equal to; else empty
    ]
)
_LATER = {"place": "", "origin": "", "text": "", "words": 0, "alike": ""}  # columns that older tables may not have
FORMAT = 3
# In the metadata of the file: the digest of what its places are in; the names of the labels, as JSON; the number
# of its format, and who wrote it.
_SOURCE, _NAMES, _FORMAT, _WRITER = b"source", b"label_names", b"format", b"sentiflow"


@dataclass(frozen=True)
class Reviews:
    """Reviews as ids, in the order of their table."""

    review_id: NDArray[np.str_]  # shape (n,), each once; of a user's table made of the text alone
    split: NDArray[np.str_]  # shape (n,), one of ``SPLITS`` each, or of ``BETWEEN_...``
    label: NDArray[np.int8]  # shape (n,), int8, 0 or 1; ``BETWEEN`` of neutral ones
    tokens: list[NDArray[np.int32]]  # n arrays of int32 ids, rare words included, the start marker first
    label_names: tuple[str, str] = LABEL_NAMES  # what the source calls 0 and 1
    words: NDArray[np.uint64] | None = None  # shape (n,), of a user's table hashes of the words; 0 if not known
    alike: NDArray[np.str_] | None = None  # shape (n,), as ``near``; None where nobody has looked

    def __len__(self) -> int:
        return len(self.label)

    @property
    def n_tokens(self) -> NDArray[np.int32]:
        """Ids of each review, the start marker included; shape (n,)."""
        return np.array([len(ids) for ids in self.tokens], dtype=np.int32)

    @property
    def near(self) -> NDArray[np.str_]:
        """Of test reviews ids of learnt ones that they are nearly equal to, else empty; shape (n,)."""
        return np.full(len(self), "") if self.alike is None else self.alike

    def take(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> "Reviews":
        """The reviews of a mask or of row numbers, in that order."""
        numbers = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
        tokens = [self.tokens[i] for i in numbers]
        words, alike = (None if self.words is None else self.words[rows]), self.near[rows]
        return Reviews(
            self.review_id[rows], self.split[rows], self.label[rows], tokens, self.label_names, words, alike
        )

    def of(self, split: str) -> "Reviews":
        """The reviews of one split."""
        return self.take(self.split == split)

    def spread(self, most: int) -> "Reviews":
        """At most so many of the reviews, evenly spread over them: a table may be sorted by label."""
        return self.take(np.linspace(0, len(self) - 1, min(len(self), most)).astype(np.int64))

    def learning_splits(self, validation_fraction: float) -> tuple["Reviews", "Reviews"]:
        """Training and validation reviews.

        A dataset without a validation split of its own lends the last ``validation_fraction`` of its training
        split, as Keras's ``validation_split`` does.
        """
        train, validation = self.of("train"), self.of("validation")
        if len(validation):
            return train, validation
        first = int(len(train) * (1 - validation_fraction))
        numbers = np.arange(len(train))
        return train.take(numbers[:first]), train.take(numbers[first:])

    def joined(self, other: "Reviews") -> "Reviews":
        """These reviews, then the others."""
        return Reviews(
            np.concatenate([self.review_id, other.review_id]),
            np.concatenate([self.split, other.split]),
            np.concatenate([self.label, other.label]),
            [*self.tokens, *other.tokens],
            self.label_names,
        )

    def padded(self, length: int, vocabulary_size: int) -> NDArray[np.int32]:
        """Ids as a matrix, shape (n, length); see ``sentiflow.scoring.pad``."""
        return pad(self.tokens, length, vocabulary_size)


def digest(reviews: Reviews, vocabulary: Vocabulary) -> str:
    """SHA-256 of the content: the same reviews give the same digest whatever wrote or compressed the file.

    The names of labels are part of it if the table has its own.
    """
    state = hashlib.sha256(b"sentiflow reviews 1\n")
    if reviews.label_names != LABEL_NAMES:
        state.update(json.dumps(reviews.label_names).encode())
    for text in ("\n".join(vocabulary.words), "\n".join(reviews.review_id), "\n".join(reviews.split)):
        state.update(hashlib.sha256(text.encode()).digest())
    state.update(reviews.label.astype("<i1").tobytes())
    state.update(reviews.n_tokens.astype("<i4").tobytes())
    state.update(_in_one(reviews.tokens).astype("<i4", copy=False).data)
    return state.hexdigest()


def _in_one(tokens: list[NDArray[np.int32]]) -> NDArray[np.int32]:
    return np.concatenate([np.empty(0, np.int32), *tokens])


def write(
    reviews: Reviews,
    vocabulary: Vocabulary,
    folder: Path,
    source: str = "",
    beside: Mapping[str, Sequence[str]] | None = None,
) -> Path:
    """Publish the table as ``<digest>.parquet`` with ``<digest>.vocabulary.json`` beside it.

    The table appears last and by one rename: a table that is there is whole. ``beside`` has each review's place in
    the source of that digest, its text and its origin; an equal table of another source has others.
    """
    name = digest(reviews, vocabulary)
    table = folder / f"{name}.parquet"
    ends = np.cumsum([0, *reviews.n_tokens], dtype=np.int32)
    splits, none = reviews.split.tolist(), [""] * len(reviews)
    known = {"place": reviews.review_id.tolist(), "origin": none, "text": none, **(beside or {})}
    columns = [
        pa.array(reviews.review_id.tolist()),
        pa.array(splits),
        pa.array(reviews.label),
        pa.ListArray.from_arrays(ends, _in_one(reviews.tokens)),
        pa.array(reviews.n_tokens),
        pa.array(known["place"]),
        pa.array(known["origin"]),
        pa.array([text if split == "test" else "" for text, split in zip(known["text"], splits, strict=True)]),
        pa.array(np.zeros(len(reviews), np.uint64) if reviews.words is None else reviews.words),
        pa.array(reviews.near.tolist()),
    ]
    metadata = {
        _SOURCE: source,
        _NAMES: json.dumps(reviews.label_names),
        _FORMAT: str(FORMAT),
        _WRITER: version("sentiflow"),
    }
    content = pa.table(columns, schema=_SCHEMA.with_metadata(metadata))
    words = json.dumps(vocabulary.words, ensure_ascii=False).encode()
    publish_private(folder / f"{name}.vocabulary.json", words)
    file = pa.BufferOutputStream()
    pq.write_table(content, file, compression="zstd", write_page_checksum=True)
    publish_private(table, memoryview(file.getvalue()))
    return table


def read(table: Path) -> Reviews:
    """Read a canonical table, whose name is the digest of its content; the last one stays in memory.

    Neutral reviews are not among these.
    """
    content = _checked(table)[0]
    kept = content.label != BETWEEN
    return content if kept.all() else content.take(kept)


def neutral(table: Path) -> Reviews:
    """The neutral reviews of a canonical table: those that choose limits, and those that test."""
    content = _checked(table)[0]
    return content.take(content.label == BETWEEN)


def read_vocabulary(table: Path) -> Vocabulary:
    """Read the words that belong to a canonical table, which counts as a use of it."""
    words = _checked(table)[1]
    mark_used(table)
    return words


def _checked(table: Path) -> tuple[Reviews, Vocabulary]:
    words = vocabulary_file(table)
    try:
        about, of_words = table.stat(), words.stat()
    except OSError as err:
        raise ExternalError(f"Cannot read the prepared reviews {err.filename}: {err.strerror}.", _AGAIN) from err
    # The words' file is touched at each use.
    return _load(table, about.st_ino, about.st_size, about.st_mtime_ns, of_words.st_ino, of_words.st_size)


@lru_cache(maxsize=1)
def _load(table: Path, *_files: int) -> tuple[Reviews, Vocabulary]:
    """A table and its words, checked by the digest in its name: one flipped bit may change a label or a word."""
    content, words = _read_table(table), _read_words(vocabulary_file(table))
    if (found := digest(content, words)) != table.stem:
        raise ExternalError(
            f"The prepared reviews {table} are damaged: their content, with that of "
            f"{vocabulary_file(table).name}, has the digest {found[:12]}.",
            _AGAIN,
        )
    return content, words


_AGAIN = "Prepare them again with sentiflow data or a training, which read their source, or restore both files."


def _read_table(table: Path) -> Reviews:
    try:
        about = pq.read_schema(table).metadata or {}
        if (form := int(about.get(_FORMAT, b"1"))) > FORMAT:
            raise newer_format(f"The table {table}", form, about.get(_WRITER, b"?").decode(), FORMAT)
        columns = _columns(table, *_SCHEMA.names).cast(_SCHEMA)
        columns.validate(full=True)
        if any(column.null_count for column in columns.columns):
            raise pa.ArrowInvalid("expected no missing values")
        zero, one = json.loads(about[_NAMES]) if _NAMES in about else LABEL_NAMES
    except (OSError, ValueError, TypeError, MemoryError, pa.ArrowException) as err:
        raise ExternalError(f"Cannot read the prepared reviews {table}: {str(err).rstrip('.')}.", _AGAIN) from err
    lists = columns["token_ids"].combine_chunks()
    flat, ends = lists.values.to_numpy(), lists.offsets.to_numpy()
    return Reviews(
        columns["review_id"].to_numpy().astype(str),
        columns["split"].to_numpy().astype(str),
        columns["label"].to_numpy(),
        np.split(flat[ends[0] : ends[-1]], ends[1:-1] - ends[0]),
        (zero, one),
        columns["words"].to_numpy(),
        columns["alike"].to_numpy().astype(str),
    )


def _columns(table: Path, *names: str) -> pa.Table:
    """Columns of a canonical table; those that earlier formats did not have are empty."""
    there = pq.read_schema(table).names
    if lost := [name for name in names if name not in there and name not in _LATER]:
        raise pa.ArrowInvalid(f"there is no column {' or '.join(lost)}")
    wanted = [name for name in names if name in there]
    columns = pq.read_table(table, columns=wanted, page_checksum_verification=True)
    for name in set(names) - set(wanted):
        columns = columns.append_column(name, pa.array([_LATER[name]] * len(columns)))
    return columns.select(names)


def of_test(table: Path, column: Literal["place", "origin", "text"]) -> dict[str, str]:
    """A column of the test reviews of a canonical table, by their ids, where it has something."""
    columns = _columns(table, "review_id", "split", column)
    rows = zip(*(columns[name].to_pylist() for name in columns.schema.names), strict=True)
    return {name: value for name, split, value in rows if split == "test" and value}


def places(table: Path) -> list[str]:
    """Where each review of a canonical table stands in its source, in the order of ``read``."""
    columns = _columns(table, "place", "label").to_pydict()
    return [place for place, label in zip(columns["place"], columns["label"], strict=True) if label != BETWEEN]


ORIGIN, LABEL_SAMPLE = "sentiflow_origin", "label-sample"
"""A column of a user's table, and its value in rows that hold what people said of texts in use."""


def labelled(table: Path) -> list[str]:
    """Ids of the test reviews that are texts in use which people labelled."""
    return [name for name, origin in of_test(table, "origin").items() if origin == LABEL_SAMPLE]


def holding(review_id: str, data_dir: Path) -> list[Path]:
    """The tables with a review, or that cannot be read."""
    found = []
    for table in (data_dir / "datasets").glob("*/*.parquet"):
        try:
            has = pq.read_table(table, columns=["review_id"], filters=[("review_id", "==", review_id)]).num_rows
        except (OSError, pa.ArrowException):
            has = 1
        if has:
            found.append(table)
    return found


def forget(review_id: str, data_dir: Path) -> None:
    """Delete those tables."""
    for table in holding(review_id, data_dir):
        vocabulary_file(table).unlink(missing_ok=True)
        table.unlink()


def _read_words(path: Path) -> Vocabulary:
    try:
        return Vocabulary(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError) as err:
        raise ExternalError(f"Cannot read the vocabulary {path}: {err}.", _AGAIN) from err


def mark_used(table: Path) -> None:
    """Note that a canonical table is used now: tables that nothing used for long are cleared away.

    It is the time of the words' file, so that the table's own keeps saying when it was made.
    """
    with contextlib.suppress(OSError):  # a read-only folder is never cleared
        os.utime(vocabulary_file(table))


def used_at(table: Path) -> float:
    """When a canonical table was last used, in seconds since the epoch."""
    words = vocabulary_file(table)
    return max(file.stat().st_mtime for file in (table, words) if file.exists())


def find(table: Path, source: str = "") -> bool:
    """Whether a canonical table is there as it was written, and made of a source of that digest, if one is given.

    The log says if it is damaged; else this is a use of it.
    """
    try:
        _checked(table)
    except ExternalError:
        if table.exists():
            logger.warning("Damaged: %s. The reviews are prepared again.", table)
        return False
    mark_used(table)
    return not source or (pq.read_schema(table).metadata or {}).get(_SOURCE, b"").decode() == source


def changed_sides(reviews: Reviews, folder: Path) -> str:
    """What to say of reviews that changed sides since the newest table, where that is of an earlier format."""
    newest = max(folder.glob("*.parquet"), key=lambda table: table.stat().st_mtime, default=None)
    try:
        if newest is None or int((pq.read_schema(newest).metadata or {}).get(_FORMAT, b"1")) >= FORMAT:
            return ""
        before = dict(
            zip(*pq.read_table(newest, columns=["review_id", "split"]).to_pydict().values(), strict=True)
        )
    except (OSError, pa.ArrowException):  # damaged: it cannot be used either
        return ""
    sides = zip(reviews.review_id.tolist(), reviews.split.tolist(), strict=True)
    moved = sum((before.get(name, split) == "test") != (split == "test") for name, split in sides)
    why = "words alone decide from now on, not capitals and punctuation"
    count = f"{moved:,} of {len(reviews):,} texts changed sides between training and test"
    return f"Split anew, once: {why}; {count}." if moved else ""


def vocabulary_file(table: Path) -> Path:
    """Where the words of a canonical table stand."""
    return table.with_name(f"{table.stem}.vocabulary.json")


def in_both_splits(reviews: Reviews) -> int:
    """Test reviews whose very ids stand in the training split, too."""
    learnt = {ids.tobytes() for ids in reviews.of("train").tokens}
    return sum(ids.tobytes() in learnt for ids in reviews.of("test").tokens)
