"""Tables of the user, and the checks that every dataset passes."""

import csv
import gzip
import re
import sys
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from sentiflow.console import Progress, no_progress
from sentiflow.data.division import Labelled, divided, each_once, text_id
from sentiflow.data.imdb import REVIEWS_PER_SPLIT, SHUFFLE_SEED
from sentiflow.data.inputs import open_input, shown, tables_of, to_values
from sentiflow.data.reviews import SPLITS, Reviews
from sentiflow.data.rows import (
    NO_TEXT,
    OUTPUT_COLUMNS,
    ROW_INSIDE,
    Chunk,
    Input,
    Reject,
    beginning,
    hints_for,
    kind_of,
    match,
)
from sentiflow.data.text_tables import CsvTable
from sentiflow.errors import ExternalError, UsageError, plain_reason
from sentiflow.scoring import LABEL_NAMES, START, Vocabulary, is_name
from sentiflow.scoring.scorer import MAX_NAME
from sentiflow.scoring.vocabulary import FILTERED, FIRST_WORD, count_words


def check(name: str, reviews: Reviews, vocabulary: Vocabulary) -> None:
    """Check counts, balance, id range and empty reviews.

    Raises:
        ExternalError: the first rule that does not hold, with what was expected and what came.
    """
    import pandas as pd
    import pandera.pandas as pa  # half a second that a table found again need not wait for

    _check_counts(name, reviews)
    last_id = FIRST_WORD + len(vocabulary) - 1
    schema = pa.DataFrameSchema(
        {
            "split": pa.Column(str, pa.Check.isin(SPLITS, error=f"splits are {', '.join(SPLITS)}")),
            "label": pa.Column("int8", pa.Check.isin([0, 1], error="labels are 0 and 1")),
            "n_tokens": pa.Column("int32", pa.Check.ge(2, error="every training review holds a word")),
            "first_id": pa.Column("int32", pa.Check.eq(START, error="a review begins with the start marker")),
            "lowest_id": pa.Column("int32", pa.Check.ge(FIRST_WORD, error=f"ids begin at {FIRST_WORD}")),
            "highest_id": pa.Column("int32", pa.Check.le(last_id, error=f"ids end at {last_id}")),
        }
    )
    try:
        schema.validate(pd.DataFrame(_facts(reviews)), lazy=True)
    except pa.errors.SchemaErrors as err:
        first = err.failure_cases.iloc[0]
        broken = (err.failure_cases["check"] == first["check"]).sum()
        review = reviews.review_id[int(first["index"])]
        raise ExternalError(
            f"Dataset {name}: {first['check']}: {broken:,} reviews, the first is {review} "
            f"({first['column']} = {first['failure_case']}).",
            "The source is not what it should be; nothing was trained on it.",
        ) from err


def _facts(reviews: Reviews) -> dict[str, NDArray[Any]]:
    """What is checked of each review, shape (n,) each."""
    words = [ids[1:] if len(ids) > 1 else np.array([FIRST_WORD], np.int32) for ids in reviews.tokens]
    return {
        "split": reviews.split.astype(object),
        "label": reviews.label,
        # A review of other splits may hold no word that the training split holds.
        "n_tokens": np.where(reviews.split == "train", reviews.n_tokens, 2).astype(np.int32),
        "first_id": np.array([ids[0] if len(ids) else 0 for ids in reviews.tokens], np.int32),
        "lowest_id": np.array([ids.min() for ids in words], np.int32),
        "highest_id": np.array([ids.max() for ids in words], np.int32),
    }


def _check_counts(name: str, reviews: Reviews) -> None:
    for split in ("train", "test"):
        labels = reviews.label[reviews.split == split]
        count, positive = len(labels), int((labels == 1).sum())
        if name == "imdb" and (count, positive) != (REVIEWS_PER_SPLIT, REVIEWS_PER_SPLIT // 2):
            raise ExternalError(
                f"Dataset imdb, {split} split: expected {REVIEWS_PER_SPLIT:,} reviews, {REVIEWS_PER_SPLIT // 2:,} "
                f"of them positive; got {count:,} and {positive:,}.",
                "The source is not the published dataset; nothing was trained on it.",
            )
        if not 0 < positive < count:
            raise ExternalError(
                f"Dataset {name}, {split} split: expected reviews of both labels; "
                f"got {positive:,} of label 1 among {count:,}."
            )


Label = Literal[0, 1, "skip"]

LABELS: dict[str, Label] = {
    "0": 0, "1": 1, "negative": 0, "positive": 1, "neg": 0, "pos": 1, "false": 0, "true": 1,
}  # fmt: skip
_SPLITS = f"Known splits: {', '.join(SPLITS)}. Without the column a fifth is set aside for the test."
_SHOWN = 3  # rejected rows of a kind in a message
_REST_OF_NUMBER = re.compile(r"\d(\d\d)?(?!\d)")  # behind a comma: 1,000 or 0,5
_WORD = re.compile(f"[^ {re.escape(FILTERED)}]")


class TableOptions(BaseModel):
    """How a table of one's own is read for training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text_column: str = Field(default="text", min_length=1, description="The column of texts.")
    label_column: str = Field(default="label", min_length=1, description="The column of labels.")
    labels: dict[str, Label] = Field(
        default={},
        description="What each label means, 0, 1 or skip (its rows are left out); answers are called like the "
        f"table's labels. Empty for {', '.join(LABELS)}, and answers negative and positive. Case does not matter.",
    )
    max_rejects: str = Field(
        default="1%",
        pattern=r"^(\d{1,2}(\.\d+)?|100)%$|^\d{1,18}$",
        description="Rows that may be rejected, a number or a percentage; with more of them nothing is trained.",
    )

    @field_validator("labels")
    @classmethod
    def _mean_both(cls, labels: dict[str, Label]) -> dict[str, Label]:
        if labels and set(labels.values()) - {"skip"} != {0, 1}:
            raise ValueError("labels must give 0 and 1 a meaning each, such as good=1,bad=0")
        plain = {_plain(name): value for name, value in labels.items()}
        if len(plain) < len(labels):
            raise ValueError("labels must differ in more than case")
        for name, value in plain.items():
            if value != "skip" and not is_name(name):
                shown = repr(name[:20]) if name else "a missing label"
                raise ValueError(
                    f"{shown} cannot be an answer: a name of 1 to {MAX_NAME} characters can, without control "
                    "characters; leave such rows out by skip, or rename the label"
                )
        return plain

    def allowed(self, rows: int) -> int:
        """How many of ``rows`` rows may be rejected.

        Example:
            >>> [TableOptions(max_rejects=most).allowed(10_000) for most in ("0.57%", "7")]
            [57, 7]
        """
        share, percent, _ = self.max_rejects.partition("%")
        return int(Decimal(share) * rows / 100) if percent else int(share)


DEFAULT_OPTIONS = TableOptions()


def as_options(given: Mapping[str, Any], what: str) -> TableOptions:
    """Options by their names; ``what`` gives them, for the message.

    Raises:
        UsageError: one is unknown or malformed.
    """
    try:
        return TableOptions.model_validate(given)
    except ValidationError as err:
        first = err.errors()[0]
        problem = ": ".join([*map(str, first["loc"][:1]), plain_reason(first["msg"])])
        raise UsageError(
            f"{what} cannot be read: {problem}.",
            'For example: {"text_column": "review", "labels": {"good": 1, "bad": 0}}',
        ) from err


@dataclass(frozen=True)
class Joined:
    """What the tables of a user's dataset gave together.

    Attributes:
        tables: how many were read.
        outputs: files of the folder that were not read, as scoring wrote them.
        repeated: rows left out, as their text stands in a row before them.
        relabelled: how many of these had another label.
    """

    tables: int
    outputs: list[str]
    repeated: int
    relabelled: int

    def sentences(self) -> list[str]:
        """What was left out, for people."""
        found = []
        if self.outputs:
            found.append(f"Not read, as they are outputs of scoring: {', '.join(self.outputs)}")
        if self.repeated:
            rows = "1 row" if self.repeated == 1 else f"{self.repeated:,} rows"
            other = f" ({self.relabelled:,} with another label)" if self.relabelled else ""
            found.append(f"{rows} left out, with a text that stands in a row before{other}")
        return found


@dataclass(frozen=True)
class Table:
    """Sound tables: rows to train on, each with its split, and rejects, in the order of the tables.

    Attributes:
        rows: of each text the first.
        left_out: how many rows have each of the labels to skip.
    """

    rows: list[Labelled]
    rejects: list[Reject]
    left_out: dict[str, int]
    joined: Joined


class TableError(UsageError):
    """A table that cannot be trained on; its rejects stand in the order of the table."""

    rejects: Sequence[Reject] = ()


@dataclass
class _File:
    """What one table gives; ``problems`` keep it from use as a whole, ``hints`` say what to do about them."""

    rows: list[Labelled] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)
    has_columns: bool = True
    is_output: bool = False


def read_table(path: Path, options: TableOptions, progress: Progress = no_progress) -> Table:
    """Read a table, or all tables of a folder, and look for everything that is wrong with them.

    Raises:
        UsageError: there is no such table, or nothing of it can be read.
        TableError: they cannot be trained on; the message lists all problems, with the first rows that have them.
        ExternalError: one is damaged further down.
        OSError: one cannot be read.
    """
    files = tables_of(path)
    if path.is_dir():
        found = [_read_of_folder(file, options, progress) for file in files]
    else:
        found = [_read_file(open_input(path), "", options, progress)]
    problems, hints = [each for file in found for each in file.problems], [h for file in found for h in file.hints]
    rejects = [reject for file in found for reject in file.rejects]
    if not all(file.has_columns for file in found):
        # Texts and labels are unknown there, so that only what concerns whole rows is wrong.
        unread = (NO_TEXT, "not text")
        rejects = [each._replace(value="") for each in rejects if kind_of(each.reason) not in unread]
        raise _error(path, [*problems, *_kinds(rejects)], [*hints, *_hints(rejects, path, options)])
    rows = [row for file in found for row in file.rows]
    total = len(rows) + len(rejects)
    allowed = options.allowed(total)
    if len(rejects) > allowed:
        limit = f"{allowed:,} may be (--max-rejects {options.max_rejects})"
        problems.append(f"{len(rejects):,} of {total:,} rows are rejected, {limit}")
        hints.append("Correct the rows, or allow more of them with --max-rejects.")
    rows, repeated, relabelled = each_once(rows)
    if rows or not problems:
        has_splits = any(row.split for row in rows)
        rows, more = divided(rows, options.text_column)
        problems += more
        hints += [_SPLITS] if more and has_splits else []
    if problems:
        raise _error(path, [*problems, *_kinds(rejects)], [*_hints(rejects, path, options), *hints], rejects)
    outputs = [shown(name.name) for name, file in zip(files, found, strict=True) if file.is_output]
    left_out = sum((file.left_out for file in found), Counter[str]())
    joined = Joined(len(files) - len(outputs), outputs, repeated, relabelled)
    return Table(rows, rejects, dict(left_out.most_common()), joined)


def _read_of_folder(path: Path, options: TableOptions, progress: Progress) -> _File:
    """One of several tables: what keeps it from being read is a problem among others, and named by its file."""
    name = shown(path.name)
    try:
        source = open_input(path)
        if set(OUTPUT_COLUMNS) <= set(source.names):
            return _File(is_output=True)
        found = _read_file(source, name, options, progress)
    except UsageError as err:
        found = _File(problems=[_without(path, err)], hints=[err.hint])
    found.problems = [f"{name}: {problem}" for problem in found.problems]
    return found


def _without(path: Path, err: UsageError) -> str:
    """An error's message without the path that it begins with."""
    return str(err.args[0]).removeprefix(str(path)).removeprefix(":").strip()


def _read_file(source: Input, name: str, options: TableOptions, progress: Progress) -> _File:
    """Read one table; of several, ``name`` goes with its rejects."""
    found = _File()
    found.problems, found.hints = _select(source, options)
    found.has_columns = not found.problems
    place = _label_place(source, options) if found.has_columns else None
    try:
        with progress(f"Reading {source.path.name}", source.total) as advance:
            for chunk in source.chunks():
                found.rejects += chunk.rejects
                if found.has_columns:
                    good, bad, skipped = _labelled(chunk, options, place, shown(source.path.name))
                    found.rows += good
                    found.rejects += bad
                    found.left_out.update(skipped)
                advance(chunk.units)
    except UsageError as err:
        found.problems.append(_without(source.path, err))
        found.hints.append(err.hint)
    found.rejects = sorted(reject._replace(source=name) for reject in found.rejects)
    return found


def _select(source: Input, options: TableOptions) -> tuple[list[str], list[str]]:
    """Choose the columns; if some are missing, choose all there are, and give the problem and what helps."""
    split = ["split"] if match("split", source.names) else []
    try:
        source.select(options.text_column, [options.label_column, *split])
    except UsageError as err:
        once = [name for name, count in Counter(source.names).items() if count == 1]
        if not once:
            raise
        source.select(once[0], once)
        hint = err.hint
        if match(options.text_column, source.names) and not match(options.label_column, source.names):
            hint = "Give the name of your column, for example --label-column rating."
        return [_without(source.path, err)], [hint]
    return [], []


def _label_place(source: Input, options: TableOptions) -> tuple[str, int, bool] | None:
    """Of a CSV: its separator, the place of the label in a line, and whether the text stands right behind it.

    The place is from the end if it is after the text.
    """
    if not isinstance(source, CsvTable):
        return None
    names = list(source.names)
    place, text = names.index(source.schema.names[0]), names.index(match(options.text_column, names)[0])
    return source.separator, place if place < text else place - len(names), text == place + 1


def _labelled(
    chunk: Chunk, options: TableOptions, place: tuple[str, int, bool] | None, file: str
) -> tuple[list[Labelled], list[Reject], list[str]]:
    """The rows of a chunk with a text, a label and a split that are known, the rejects, and labels to skip."""
    known = options.labels or LABELS
    labels, *others = map(to_values, chunk.columns.columns)  # as they were selected
    splits = others[0] if others else None
    used = {str(label).lower() for label in labels if _plain(label) and _plain(label) in known}
    rows: list[Labelled] = []
    rejects: list[Reject] = []
    skipped: list[str] = []
    for k, (number, line, text) in enumerate(zip(chunk.rows, chunk.lines, chunk.texts, strict=True)):
        label = _plain(labels[k])
        split = "" if splits is None else _plain(splits[k])
        meaning = known.get(label)
        if place is not None and _holds_a_row(text, used, *place):
            reason, value = f"{ROW_INSIDE}: is a quote missing?", text
        elif meaning == "skip":
            skipped.append(label)
            continue
        elif not _WORD.search(text):
            reason, value = "no word in the text", text
        elif meaning is None:
            reason, value = ("unknown label", labels[k]) if label else ("no label", "")
        elif splits is not None and split not in SPLITS:
            reason, value = ("unknown split", splits[k]) if split else ("no split", "")
        else:
            where = f"line {line}" if line else f"row {number}"
            name = sys.intern(_written(labels[k])) if options.labels else ""
            rows.append(Labelled(text_id(text), text, meaning, split, f"{file} {where}", name))
            continue
        rejects.append(Reject(number, line, "", reason, beginning(value)))
    return rows, rejects, skipped


def _holds_a_row(text: str, labels: Collection[str], separator: str, place: int, before_text: bool) -> bool:
    r"""Whether a line of a text has a label where a row has it.

    A quote that is opened in one row and closed in a later one makes one text of both. In prose, a space follows
    a separator, and a label may be the beginning of a number: 1,000 or 0,5.

    Example:
        >>> texts = "good film,1\nbad film", "good, 1\nbad"
        >>> [_holds_a_row(text, {"0", "1"}, ",", -1, False) for text in texts]
        [True, False]
        >>> texts = "good\n1,bad", "good\n1,12 angry men", "good\n1, bad", "dear:\n1,000 men", "bad:\n0,5 stars"
        >>> [_holds_a_row(text, {"0", "1"}, ",", 0, True) for text in texts]
        [True, True, False, False, False]
    """
    lines = text.lower().splitlines()
    if place < 0:
        rows = [line.split(separator) for line in lines[:-1]]
        return any(len(row) > -place and row[place] in labels for row in rows)
    rows = [line.split(separator) for line in lines[1:]]
    found = [(row[place], row[place + 1]) for row in rows if len(row) > place + 1 and row[place] in labels]
    numbers = separator == "," and before_text
    return any(
        not behind.startswith(" ") and not (numbers and label.isdecimal() and _REST_OF_NUMBER.match(behind))
        for label, behind in found
    )


def _plain(value: Any) -> str:
    """A label or a split as it is compared: 1, 1.0, " 1" and True of a Parquet table are the same as in a CSV."""
    return _written(value).lower()


def _written(value: Any) -> str:
    """A label or a split as the table has it."""
    if isinstance(value, bytes):  # of a Parquet file that does not say that they are text
        value = value.decode(errors="backslashreplace")
    return "" if value is None or value != value else str(value).strip().removesuffix(".0")


def _error(path: Path, problems: list[str], hints: list[str], rejects: Sequence[Reject] = ()) -> TableError:
    first, *others = problems
    hint = "\n".join(dict.fromkeys(hints))
    error = TableError("\n  ".join([f"{path} cannot be trained on: {first}", *others]), hint)
    error.rejects = rejects
    return error


def _kinds(rejects: Sequence[Reject]) -> list[str]:
    """A line for each kind of reason, the commonest first, with the first rows that show different values."""
    lines = []
    for kind, count in Counter(kind_of(reject.reason) for reject in rejects).most_common():
        different: dict[str | int, Reject] = {}
        for reject in rejects:
            if kind_of(reject.reason) == kind:
                different.setdefault(_detail(reject) or reject.row, reject)
        shown = ", ".join(_place(reject) for reject in list(different.values())[:_SHOWN])
        more = count - min(len(different), _SHOWN)
        rows = "1 row" if count == 1 else f"{count:,} rows"
        lines.append(f"{kind} ({rows}): {shown}{f' and {more:,} more' if more else ''}")
    return lines


def _hints(rejects: Sequence[Reject], path: Path, options: TableOptions) -> list[str]:
    kinds = {kind_of(reject.reason): reject.source for reject in reversed(rejects)}  # a file that has it
    hints = [hint for kind in sorted(kinds) for hint in hints_for([kind], path / kinds[kind])]
    unknown = next((reject.value for reject in rejects if reject.reason == "unknown label"), None)
    if unknown is not None and options.labels:
        name = f"{_plain(unknown)!r:.40}".strip("'")
        hints.append(f"{name} has no meaning yet: add {name}=1, {name}=0 or {name}=skip to --labels.")
    elif unknown is not None:
        hints.append(f"Known labels: {', '.join(LABELS)}. Give others a meaning: --labels good=1,bad=0")
    if any(reject.reason in ("unknown split", "no split") for reject in rejects):
        hints.append(_SPLITS)
    if any(reject.reason == "no label" for reject in rejects):
        hints.append("Rows without a label are left out by =skip: --labels good=1,bad=0,=skip")
    return hints


def _place(reject: Reject) -> str:
    """Where a rejected row stands, and what is wrong there.

    Example:
        >>> _place(Reject(4, 6, "", "unknown label", "goood"))
        "line 6 ('goood')"
    """
    where = f"line {reject.line:,}" if reject.line else f"row {reject.row:,}"
    where = f"{reject.source} {where}" if reject.source else where
    detail = "" if reject.reason == NO_TEXT else _detail(reject)  # the value is then the whole line
    return f"{where} ({detail})" if detail else where


def _detail(reject: Reject) -> str:
    value = repr(reject.value).replace("\\\\", "\\")  # bytes that are no text are escaped already
    return reject.reason.partition(": ")[2] or (f"{value:.40}" if reject.value else "")


_RARE = 10_000  # training reviews for each time that a word must occur


def vocabulary_of(texts: Sequence[str], base_words: Sequence[str]) -> Vocabulary:
    """Rank the words of training texts by frequency, then those that only the base knows, then the rare ones.

    A word is rare if the base does not know it either, and it occurs less than once in 10,000 texts.
    """
    counts, known, least = count_words(texts), set(base_words), 1 + len(texts) // _RARE
    kept = [word for word, count in counts.items() if count >= least or word in known]
    rare = [word for word, count in counts.items() if count < least and word not in known]
    return Vocabulary([*kept, *(word for word in base_words if word not in counts), *rare])


def to_reviews(rows: Sequence[Labelled], base_words: Sequence[str] = ()) -> tuple[Reviews, Vocabulary]:
    """Turn rows into ids, in their order, by the words of their training split and of the base."""
    vocabulary = vocabulary_of([row.text for row in rows if row.split == "train"], base_words)
    reviews = Reviews(
        np.array([row.review_id for row in rows]),
        np.array([row.split for row in rows]),
        np.array([row.label for row in rows], dtype=np.int8),
        [np.array(vocabulary.encode(row.text), dtype=np.int32) for row in rows],
        (_name_of(0, rows), _name_of(1, rows)),
    )
    return reviews, vocabulary


def _name_of(label: int, rows: Sequence[Labelled]) -> str:
    """What the training rows call a label: of several names the commonest, as it is written most often."""
    written = Counter(row.name for row in rows if row.split == "train" and row.label == label and row.name)
    if not written:
        return LABEL_NAMES[label]
    names: Counter[str] = Counter()
    for name, count in written.items():
        names[_plain(name)] += count
    commonest = min(names, key=lambda name: (-names[name], name))  # of equals the first by the alphabet
    return min((name for name in written if _plain(name) == commonest), key=lambda name: (-written[name], name))


SAMPLE = Path(__file__).with_name("sample.csv.gz")  # made by benchmarks/sample.py


def sample_rows() -> list[Labelled]:
    """The rows of the sample, mixed by a fixed seed: those that validate are no special part of it."""
    with gzip.open(SAMPLE, "rt", encoding="utf-8", newline="") as stream:
        read = [(row["text"], int(row["label"]), row["split"]) for row in csv.DictReader(stream)]
    rows = [Labelled(f"row-{k}", *each, "") for k, each in enumerate(read)]
    return [rows[k] for k in np.random.RandomState(SHUFFLE_SEED).permutation(len(rows))]
