"""Tables of the user, and the checks that every dataset passes."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa

from sentiflow.data.imdb import REVIEWS_PER_SPLIT
from sentiflow.data.reviews import SPLITS, Reviews
from sentiflow.errors import ExternalError, UsageError, first_line
from sentiflow.scoring import START, Vocabulary, tokenize
from sentiflow.scoring.vocabulary import FIRST_WORD


@dataclass(frozen=True)
class Expected:
    """What is known of a dataset beforehand: reviews and positive reviews of each split."""

    reviews: int
    positive: int


KNOWN = {"imdb": Expected(REVIEWS_PER_SPLIT, REVIEWS_PER_SPLIT // 2)}


def check(name: str, reviews: Reviews, vocabulary: Vocabulary) -> None:
    """Check counts, balance, id range and empty reviews.

    Raises:
        ExternalError: the first rule that does not hold, with what was expected and what came.
    """
    _check_counts(name, reviews)
    schema = _schema(FIRST_WORD + len(vocabulary) - 1)
    try:
        schema.validate(_facts(reviews), lazy=True)
    except pa.errors.SchemaErrors as err:
        first = err.failure_cases.iloc[0]
        broken = (err.failure_cases["check"] == first["check"]).sum()
        review = reviews.review_id[int(first["index"])]
        raise ExternalError(
            f"Dataset {name}: {first['check']}: {broken:,} reviews, the first is {review} "
            f"({first['column']} = {first['failure_case']}).",
            "The source is not what it should be; nothing was trained on it.",
        ) from err


def _schema(last_id: int) -> pa.DataFrameSchema:
    return pa.DataFrameSchema(
        {
            "split": pa.Column(str, pa.Check.isin(SPLITS, error=f"splits are {', '.join(SPLITS)}")),
            "label": pa.Column("int8", pa.Check.isin([0, 1], error="labels are 0 and 1")),
            "n_tokens": pa.Column("int32", pa.Check.ge(2, error="every review holds a word")),
            "first_id": pa.Column("int32", pa.Check.eq(START, error="a review begins with the start marker")),
            "lowest_id": pa.Column("int32", pa.Check.ge(FIRST_WORD, error=f"ids begin at {FIRST_WORD}")),
            "highest_id": pa.Column("int32", pa.Check.le(last_id, error=f"ids end at {last_id}")),
        }
    )


def _facts(reviews: Reviews) -> pd.DataFrame:
    words = [ids[1:] if len(ids) > 1 else np.array([FIRST_WORD], np.int32) for ids in reviews.tokens]
    return pd.DataFrame(
        {
            "split": reviews.split.astype(object),
            "label": reviews.label,
            "n_tokens": reviews.n_tokens,
            "first_id": np.array([ids[0] if len(ids) else 0 for ids in reviews.tokens], np.int32),
            "lowest_id": np.array([ids.min() for ids in words], np.int32),
            "highest_id": np.array([ids.max() for ids in words], np.int32),
        }
    )


def _check_counts(name: str, reviews: Reviews) -> None:
    for split in ("train", "test"):
        labels = reviews.label[reviews.split == split]
        found = Expected(len(labels), int((labels == 1).sum()))
        expected = KNOWN.get(name)
        if expected and found != expected:
            raise ExternalError(
                f"Dataset {name}, {split} split: expected {expected.reviews:,} reviews, {expected.positive:,} "
                f"of them positive; got {found.reviews:,} and {found.positive:,}.",
                "The source is not the published dataset; nothing was trained on it.",
            )
        if not 0 < found.positive < found.reviews:
            raise ExternalError(
                f"Dataset {name}, {split} split: expected reviews of both labels; "
                f"got {found.positive:,} positive of {found.reviews:,}."
            )


LABELS = {"0": 0, "1": 1, "negative": 0, "positive": 1, "neg": 0, "pos": 1}
TEST_SHARE = 0.2  # of a table without a split
SHUFFLE_SEED = 113  # any fixed number; the same as for imdb

_FEWEST = 3  # a fifth of them rounds to one
_SHOWN = 3  # examples in a message


def read_table(path: Path) -> pd.DataFrame:
    """Read and check a table; returns ``text`` (str), ``label`` (0 or 1), ``split``, ``row`` (0 is the first).

    Raises:
        UsageError: not a readable table, or one that cannot be trained on; the message says what is wrong.
    """
    frame = _read(path)
    frame.columns = pd.Index([str(column).strip().lower() for column in frame.columns])
    columns = _known_columns(list(frame.columns), path)
    frame = frame[columns].reset_index(drop=True)  # a Parquet table may bring an index of any kind
    frame.insert(0, "row", range(len(frame)))
    frame["label"] = _labels(frame["label"])
    if "split" in frame.columns:
        frame["split"] = _plain(frame["split"])
    _check(frame, path)
    frame["label"] = frame["label"].astype("int8")
    if "split" not in frame.columns:
        frame["split"] = _draw_splits(frame, path)
    _check_splits(frame, path)
    return frame


def to_reviews(frame: pd.DataFrame) -> tuple[Reviews, Vocabulary]:
    """Turn a checked table into ids, with a vocabulary built from its training split alone.

    Rows are mixed by a fixed seed, so that the last part of the training split is no special part of the file.
    """
    frame = frame.sample(frac=1, random_state=np.random.RandomState(SHUFFLE_SEED))
    vocabulary = Vocabulary.from_texts(frame.loc[frame["split"] == "train", "text"])
    reviews = Reviews(
        np.array([f"row-{row}" for row in frame["row"]]),
        frame["split"].to_numpy().astype(str),
        frame["label"].to_numpy().astype(np.int8),
        [np.array(vocabulary.encode(text), dtype=np.int32) for text in frame["text"]],
    )
    return reviews, vocabulary


def _read(path: Path) -> pd.DataFrame:
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            return pd.read_parquet(path)
        if path.suffix.lower() == ".csv":
            return _read_csv(path)
    except UnicodeDecodeError as err:
        raise UsageError(
            f"{path}: not UTF-8: byte 0x{err.object[err.start]:02x} at position {err.start:,}.",
            f"Save it as UTF-8, for example: iconv -f {_guess(path)} -t utf-8 {path.name} > utf8.csv",
        ) from err
    except (OSError, ValueError) as err:  # pandas' and pyarrow's parser errors are ValueErrors
        reason = err.strerror if isinstance(err, OSError) and err.strerror else first_line(err).rstrip(".")
        raise UsageError(f"{path}: cannot be read as a table: {reason}.") from err
    raise UsageError(
        f"{path}: no dataset and no table that can be read.",
        "Give imdb, sample, or a file that ends in .csv or .parquet",
    )


def _guess(path: Path) -> str:
    """The likelier of the encodings that are not UTF-8: UTF-16 begins with a mark."""
    with path.open("rb") as stream:
        return "utf-16" if stream.read(2) in (b"\xff\xfe", b"\xfe\xff") else "latin1"


def _read_csv(path: Path) -> pd.DataFrame:
    frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    if not isinstance(frame.index, pd.RangeIndex):
        # pandas takes the surplus in front for an index, and would train on what is left of the texts.
        raise UsageError(
            f"{path}: the rows hold more fields than the header names.",
            "A text with a comma in it needs quotes around it.",
        )
    # pandas renames a column that occurs twice; the header as it is written shows it.
    header = pd.read_csv(path, header=None, nrows=1, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    frame.columns = pd.Index(header.iloc[0].tolist())
    return frame


def _labels(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """Labels as 0 and 1; what is unknown stays as it is, for the check to report."""
    words = _plain(column).str.removesuffix(".0").replace({"true": "1", "false": "0"})
    known = words.isin(LABELS.keys())
    return column.astype(object).mask(known, words.map(LABELS).astype(object))


def _plain(column: "pd.Series[Any]") -> "pd.Series[str]":
    return column.astype(str).str.strip().str.lower()


def _known_columns(found: list[str], path: Path) -> list[str]:
    """The columns that are read, in order; text and label must be there, and none of them twice."""
    missing = [column for column in ("text", "label") if column not in found]
    if missing:
        one = len(found) == 1 and (";" in found[0] or "\t" in found[0])
        raise UsageError(
            f"{path}: missing column{'s' if len(missing) > 1 else ''} {' and '.join(missing)}; "
            f"found: {', '.join(found) or 'none'}.",
            "Separate the columns by commas."
            if one
            else "A table needs the columns text and label, and may have split (train, validation, test).",
        )
    known: list[str] = [column for column in ("text", "label", "split") if column in found]
    twice = [column for column in known if found.count(column) > 1]
    if twice:
        raise UsageError(f"{path}: the column {twice[0]} stands twice.")
    return known


def _check(frame: pd.DataFrame, path: Path) -> None:
    if frame.empty:
        raise UsageError(f"{path}: the table has no rows.")
    schema = pa.DataFrameSchema({name: _RULES[name] for name in frame.columns if name in _RULES})
    # A missing value meets the rules of any other; so does what is no single value.
    single = frame.map(lambda value: value if pd.api.types.is_scalar(value) else None).astype(object)
    plain = single.where(single.notna(), None)
    try:
        schema.validate(plain, lazy=True)
    except pa.errors.SchemaErrors as err:
        raise UsageError(*_explain(err.failure_cases, path)) from err


def _column(*rules: tuple[Callable[[object], bool], str]) -> pa.Column:
    checks = [pa.Check(rule, element_wise=True, ignore_na=False, error=wrong) for rule, wrong in rules]
    return pa.Column(object, checks, nullable=True)


_RULES = {
    "text": _column(
        (lambda value: isinstance(value, str), "the text is missing or not a text"),
        (lambda value: not isinstance(value, str) or bool(tokenize(value)), "the text holds no word"),
    ),
    "label": _column((lambda value: value in (0, 1), f"unknown label (known: {', '.join(LABELS)})")),
    "split": _column((lambda value: value in SPLITS, f"unknown split (known: {', '.join(SPLITS)})")),
}


def _explain(failures: pd.DataFrame, path: Path) -> tuple[str, str]:
    """The first rule that was broken, with how often, and the first rows that break it."""
    rule = failures["check"].iloc[0]
    broken = failures[failures["check"] == rule]
    rows = ", ".join(
        f"row {int(index) + 1} ({case!r:.40})"
        for index, case in broken[["index", "failure_case"]].head(_SHOWN).itertuples(index=False)
    )
    more = f" and {len(broken) - _SHOWN:,} more" if len(broken) > _SHOWN else ""
    return f"{path}: {rule}: {rows}{more}.", "Rows are counted from 1, the header not included."


def _draw_splits(frame: pd.DataFrame, path: Path) -> "pd.Series[str]":
    """Lend a fifth of the texts for the test, half of each label alike; equal texts stay together."""
    texts = frame.drop_duplicates("text")
    _need_both_labels(_count(frame["label"]), "the table", path)
    counts = _count(texts["label"])
    if counts.min() < _FEWEST:
        raise UsageError(
            f"{path}: too few different texts to set some aside for a test: {counts.min()} of one label, "
            f"at least {_FEWEST} are needed."
        )
    test = texts.groupby("label").sample(frac=TEST_SHARE, random_state=np.random.RandomState(SHUFFLE_SEED))["text"]
    return frame["text"].isin(set(test)).map({True: "test", False: "train"})


def _check_splits(frame: pd.DataFrame, path: Path) -> None:
    for split in ("train", "test"):
        _need_both_labels(_count(frame.loc[frame["split"] == split, "label"]), f"the {split} split", path)


def _count(labels: "pd.Series[Any]") -> "pd.Series[int]":
    return labels.value_counts().reindex([0, 1], fill_value=0)


def _need_both_labels(counts: "pd.Series[int]", where: str, path: Path) -> None:
    if counts.min() == 0:
        raise UsageError(
            f"{path}: {where} needs reviews of both labels, got {counts[0]:,} negative and {counts[1]:,} positive."
        )
