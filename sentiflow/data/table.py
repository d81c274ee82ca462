"""Tables of the user, and the checks that every dataset passes."""

import re
import sys
from ast import literal_eval
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from shlex import quote
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from sentiflow.console import Progress, no_progress
from sentiflow.data.dates import look_like_dates, moments
from sentiflow.data.division import Labelled, divided, each_once, text_id, word_hash
from sentiflow.data.inputs import LabelledTexts, called, find_tables, is_output, not_read, open_input
from sentiflow.data.parquet import to_values
from sentiflow.data.reviews import BETWEEN, LABEL_SAMPLE, ORIGIN, SPLITS
from sentiflow.data.rows import (
    NO_TEXT,
    Chunk,
    Input,
    Reject,
    Rejected,
    beginning,
    by_label,
    hints_for,
    keep_rejects,
    kind_of,
    match,
)
from sentiflow.errors import UsageError, plain_reason
from sentiflow.scoring import is_name
from sentiflow.scoring.scorer import MAX_NAME
from sentiflow.scoring.vocabulary import FILTERED

Label = Literal[0, 1, "skip", "between"]

LABELS: dict[str, Label] = {
    "0": 0, "1": 1, "negative": 0, "positive": 1, "neg": 0, "pos": 1, "false": 0, "true": 1,
}  # fmt: skip
APART: tuple[Label, Label] = ("skip", "between")
"""What labels mean whose rows are neither learnt nor tested on as one of two answers."""
_SPLITS = f"Known splits: {', '.join(SPLITS)}. Without the column a fifth is set aside for the test."
_PEEKED = 200  # rows that show which column holds dates
_SHOWN = 3  # rejected rows of a kind in a message
_WORD = re.compile(f"[^ {re.escape(FILTERED)}]")

KINDS = 20  # different labels of a table that are told apart
_FORM = 200  # characters of --labels that are shown
_NUMBER = re.compile(r"(-?\d+(?:\.\d+)?)(?: ?/ ?\d+| out of .*| stars?)?")
_PLAIN: dict[Label, str] = {1: "positi.*|good", 0: "n[eé]gati.*|bad", "skip": "|neutr.*|mixed"}


class TableOptions(BaseModel):
    """How a table of one's own is read for training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text_column: str = Field(default="text", min_length=1, description="The column of texts.")
    label_column: str = Field(default="label", min_length=1, description="The column of labels.")
    labels: dict[str, Label] = Field(
        default={},
        description="What each label means, 0, 1, skip (its rows are left out) or between (they are neutral: not "
        "learnt, but they set the limits of a third answer); answers are called like the "
        f"table's labels. Unless some mean 0 and some 1, {', '.join(LABELS)} are known, too, with the answers "
        "negative and positive. Case does not matter.",
    )
    sheet: str = Field(default="", description="The sheet of workbooks; by default the first.")
    split: Literal["hash", "time"] = Field(
        default="hash", description="Which fifth tests: one drawn by the hash of each text, or the newest, time."
    )
    date_column: str = Field(
        default="", description="The column of dates for split time; by default the only one that holds dates."
    )
    max_rejects: str = Field(
        default="1%",
        pattern=r"^(\d{1,2}(\.\d+)?|100)%$|^\d{1,18}$",
        description="Rows that may be rejected, a number or a percentage; with more of them nothing is trained.",
    )

    @field_validator("labels")
    @classmethod
    def _can_be_answers(cls, labels: dict[str, Label]) -> dict[str, Label]:
        compared = {plain(name): value for name, value in labels.items()}
        if len(compared) < len(labels):
            raise ValueError("labels must differ in more than case")
        for name, value in compared.items():
            if value in (0, 1) and not is_name(name):
                shown = repr(name[:20]) if name else "a missing label"
                raise ValueError(
                    f"{shown} cannot be an answer: a name of 1 to {MAX_NAME} characters can, without control "
                    "characters; leave such rows out by skip, or rename the label"
                )
        return compared

    @field_validator("date_column")
    @classmethod
    def _is_read(cls, column: str, given: ValidationInfo) -> str:
        if column and given.data.get("split") == "hash":
            raise ValueError("dates count with --split time alone")
        return column

    def known(self, names: Sequence[str] = ()) -> Mapping[str, Label]:
        """The meaning of each label; a whole set of them stands alone, others add to those known by themselves.

        The ``names`` of labels 0 and 1 are known, too.
        """
        if {0, 1} <= set(self.labels.values()):
            return self.labels
        named: dict[str, Label] = {plain(name): 1 if label else 0 for label, name in enumerate(names)}
        return LABELS | named | self.labels

    def text_labels(self) -> set[str]:
        """How folders of texts are called that are read, each as the label of its texts."""
        return {name for name in self.known() if not name.isdigit()}

    def allowed(self, rows: int) -> int:
        """How many of ``rows`` rows may be rejected."""
        share, percent, _ = self.max_rejects.partition("%")
        return int(Decimal(share) * rows / 100) if percent else int(share)


DEFAULT_OPTIONS = TableOptions()


_FORMS = {
    "labels": "The network has two answers, 1 and 0; skip leaves rows out, and between makes them neutral: "
    "good=1,bad=0,so-so=between",
    "max_rejects": "Give a number or a percentage, such as 20 or 0.5%.",
    "split": "The newest fifth tests with --split time.",
    "date_column": "Add --split time, or leave it out.",
}


def as_options(given: Mapping[str, Any], what: str = "") -> TableOptions:
    """Options by their names; ``what`` gives them, for the message: by default the command line."""
    try:
        return TableOptions.model_validate(given)
    except ValidationError as err:
        first = err.errors()[0]
        no_number = {"string_pattern_mismatch": f"{first['input']!r} is neither a number nor a percentage"}
        (name, *label), problem = map(str, first["loc"]), no_number.get(first["type"], plain_reason(first["msg"]))
        if label:
            problem = "{0}={1} is none of {0}=1, {0}=0, {0}=skip and {0}=between".format(label[0], first["input"])
        named = f"{what}: {name}" if what else f"--{name.replace('_', '-')}"
        raise UsageError(f"{named}: {problem}.", _FORMS.get(name, "Give the name of a column.")) from err


def advice(found: Sequence[str], given: Mapping[str, Label], known: Mapping[str, Label], column: str) -> str:
    """What to type for labels that are not ``known``, those ``given`` aside; numbers are taken as a scale."""
    unknown = [label for label in found if label not in known]
    meanings = _scale([label for label in found if given.get(label) not in APART])
    agrees = all(meanings.get(label, meaning) in (meaning, *APART) for label, meaning in given.items())
    if any(unknown) and meanings and agrees:
        lead = "If higher is better:"
    else:
        lead = "Say what each means, 1, 0 or skip, such as"
        meanings = {label: known[label] for label in found if label in known} | _guessed(unknown)
        missing: list[Label] = [meaning for meaning in (1, 0) if meaning not in meanings.values()]
        for label in [label for label in unknown if label not in meanings]:
            meanings[label] = missing.pop(0) if missing else "skip"
    new = {label: meanings[label] for label in unknown}
    named = {**(meanings if set(new.values()) - {*APART} else new), **given}  # known ones stay beside a skip
    parts = [f"{name}={value}" for value in (1, *APART, 0) for name in named if named[name] == value]
    option = quote(",".join(parts))
    if len(found) > KINDS or len(option) > _FORM:
        return f"{column} has many different values, or long ones: --label-column names the column of labels."
    return f"{lead} --labels {option}"


def _scale(labels: Sequence[str]) -> dict[str, Label]:
    """What labels mean that are all numbers, the highest first; stars have their middle at 3."""
    values = {label: float(number[1]) for label in labels if (number := _NUMBER.fullmatch(label))}
    if len(values) < max(len([*filter(None, labels)]), 2):
        return {}
    low, high = min(values.values()), max(values.values())
    middle = 3.0 if high == 5 and 1 <= low < 3 else (low + high) / 2
    scale: dict[str, Label] = {}
    for label in sorted(values, key=lambda label: -values[label]):
        scale[label] = "skip" if values[label] == middle else 1 if values[label] > middle else 0
    return scale | dict.fromkeys(set(labels) - set(values), "skip")  # of rows without a label


def _guessed(labels: Sequence[str]) -> dict[str, Label]:
    """The meaning of words that are plain in several languages."""
    return {label: meaning for label in labels for meaning, word in _PLAIN.items() if re.fullmatch(word, label)}


def options_of(params: Mapping[str, str]) -> TableOptions:
    """How a user's table was read, by the parameters of its run; as usual for a built-in dataset."""
    given = {name: params[f"table.{name}"] for name in TableOptions.model_fields if f"table.{name}" in params}
    return TableOptions(labels=literal_eval(given.pop("labels", "{}")), **given)


@dataclass(frozen=True)
class Joined:
    """What the tables of a user's dataset gave together."""

    tables: int  # how many were read
    outputs: list[str]  # files of the folder that were not read, as scoring wrote them
    repeated: int  # rows left out, as their words stand in a row before them
    relabelled: dict[str, int]  # how many of these had another label, and which one
    unread: list[str] = field(default_factory=list)  # other files of the folder, and sheets
    columns: list[str] = field(default_factory=list)  # what was taken for which column, where nobody named it
    newest: str = ""  # which texts test, where time decides

    def sentences(self) -> list[str]:
        """What was left out, for people."""
        found = [*self.columns, *filter(None, [self.newest]), *not_read(self.unread)]
        if self.outputs:
            found.append(f"Not read, as they are outputs of scoring: {', '.join(self.outputs)}")
        if self.repeated:
            rows = "1 row" if self.repeated == 1 else f"{self.repeated:,} rows"
            found.append(f"{rows} left out, with the words of a row before")
        if self.relabelled:
            labels = ", ".join(f"{count:,} {label}" for label, count in self.relabelled.items())
            rows = f"{sum(self.relabelled.values()):,} of the rows left out have another label ({labels})"
            found.append(f"Contradictory labels: {rows} than the first row of these words, which counts")
        return found


@dataclass(frozen=True)
class Table:
    """Sound tables: rows to train on, each with its split, in the order of the tables."""

    rows: list[Labelled]  # of each text the first
    rejected: Rejected | None
    left_out: dict[str, int]  # how many rows have each of the labels to skip
    joined: Joined


def read_table(path: Path, options: TableOptions, rejects_folder: Path, progress: Progress = no_progress) -> Table:
    """Read a table, or all tables of a folder; write rejected rows to a file in a folder.

    Raises:
        UsageError: they cannot be trained on; the message lists all problems, with the first rows that have them.
    """
    found = find_tables(path, options.text_labels())
    outputs, unread, columns = list[str](), list(found.unread), dict[str, None]()
    rows: list[Labelled] = []
    rejects: list[Reject] = []
    labels: Counter[str] = Counter()
    problems: list[str] = []
    hints: list[str] = []
    many = found.tables != [path]
    for file in found.tables or [path]:
        name = called(file, path)
        try:
            source = LabelledTexts(path, found.texts) if found.texts else open_input(file, options.sheet)
            if many and is_output(source):
                outputs.append(name)
                continue
            name += source.part
            good, bad, counts, taken = _read_file(source, name, options, progress)
            rows += good
            rejects += bad if found.texts or not many else [reject._replace(source=name) for reject in bad]
            labels.update(counts)
            columns |= dict.fromkeys(taken)
            unread += [f"{name}: {each}" for each in source.unread]
        except UsageError as err:
            if not many:
                raise
            problem = str(err.args[0]).removeprefix(str(file)).removeprefix(":").strip()
            problems.append(f"{name}: {problem}")
            hints.append(err.hint)
    total = len(rows) + len(rejects)
    allowed = options.allowed(total)
    if len(rejects) > allowed:
        limit = f"at most {allowed:,} may be rejected (--max-rejects {options.max_rejects})"
        problems.append(f"{len(rejects):,} of {total:,} rows are rejected; {limit}")
        hints.append("Correct the rows, or allow more of them with --max-rejects.")
    by_time = options.split == "time"
    try:
        rows = in_order_of_time(rows) if by_time and rows else rows
    except UsageError as err:
        rows, problems, hints = [], [*problems, str(err.args[0])], [*hints, err.hint]
    rows, repeated, relabelled = each_once(rows)
    newest = ""
    if rows or not problems:
        has_splits = any(row.split for row in rows)
        rows, more = divided(rows, options.text_column)
        problems += more
        hints += [_SPLITS] if more and has_splits else []
        tests = [row.date for row in rows if row.split == "test"]
        newest = (
            f"The newest {len(tests):,} texts test, from {_shown_date(min(tests))} on" if by_time and tests else ""
        )
    hints = [*_hints(rejects, path, options, labels), *hints]
    rejected = keep_rejects(rejects, total, rejects_folder)
    if problems:
        lines = [*problems, *_kinds(rejects), *([f"All rejected rows: {rejected.file}"] if rejected else [])]
        message = "\n  ".join([f"{path} cannot be trained on: {lines[0]}", *lines[1:]])
        raise UsageError(message, "\n".join(dict.fromkeys(hints)))
    read = 1 if found.texts else len(found.tables) - len(outputs)
    joined = Joined(read, outputs, repeated, by_label(relabelled), unread, list(columns), newest)
    known = options.known()
    every = by_label(labels).items()
    return Table(rows, rejected, {label: n for label, n in every if known.get(plain(label)) in APART}, joined)


def in_order_of_time(rows: Sequence[Labelled]) -> list[Labelled]:
    """The rows, the oldest first, with their dates as ``moments`` makes them."""
    if any(row.split for row in rows):
        raise UsageError(
            "the column split says which rows test, and so does --split time", "Leave one of them out."
        )
    dates = moments([row.date for row in rows], [row.place for row in rows])
    dated = (row._replace(date=date) for row, date in zip(rows, dates, strict=True))
    return sorted(dated, key=lambda row: row.date)


def _shown_date(moment: str) -> str:
    return moment.replace("T", " ").removesuffix(" 00:00:00")


# Rows to train on, rejects, and labels of rows with a text.
_Read = tuple[list[Labelled], list[Reject], Counter[str]]


def _read_file(
    source: Input, name: str, options: TableOptions, progress: Progress
) -> tuple[list[Labelled], list[Reject], Counter[str], list[str]]:
    """What ``_Read`` has, and what was taken for the columns of texts and labels, if they are not called so."""
    rows: list[Labelled] = []
    rejects: list[Reject] = []
    labels: Counter[str] = Counter()
    beside = [each for each in ("split", ORIGIN) if match(each, source.names)]
    beside += ["source"] if source.many else []
    taken = source.select_usual(options.text_column, beside, options.label_column)
    if options.split == "time":
        date, more = _column_of_dates(source, options)
        beside.append(date)
        taken += more
        source.select_usual(options.text_column, beside, options.label_column)
    with progress(f"Reading {source.path.name}", source.total) as advance:
        for chunk in source.chunks():
            good, bad, found = _labelled(chunk, beside, options, name)
            rows += good
            rejects += [*chunk.rejects, *bad]
            labels.update(found)
            advance(chunk.units)
    return rows, sorted(rejects), labels, taken


def _column_of_dates(source: Input, options: TableOptions) -> tuple[str, list[str]]:
    """The column that is named, else the only other one whose first rows hold dates; and what was taken for it."""
    names = [name for name in source.names if name not in source.schema.names]
    if options.date_column and set(match(options.date_column, source.names)) & set(names):
        return options.date_column, []
    found = []
    for name in [] if options.date_column else names:
        try:
            source.select_usual(options.text_column, [name], options.label_column)
            values = to_values(next(source.chunks()).columns[name])[:_PEEKED]
        except (UsageError, StopIteration):  # not a column to read, or no row
            continue
        if look_like_dates([*filter(None, map(written, values))]):
            found.append(name)
    if len(found) == 1:
        return found[0], [f"Taken for the dates: {found[0]}"]
    problem = f"no column {options.date_column} of dates" if options.date_column else "no column of dates"
    if found:
        problem = f"several columns of dates: {', '.join(found)}"
    there = "" if found else f"; there are: {', '.join(names) or 'none':.2000}"
    raise UsageError(f"{source.path}: {problem}{there}.", "Name the column of dates: --date-column NAME")


def _labelled(chunk: Chunk, beside: Sequence[str], options: TableOptions, file: str) -> _Read:
    """The rows of a chunk with a text, a label and a split that are known, and the others."""
    known = options.known()
    labels, *others = map(to_values, chunk.columns.columns)  # as they were selected
    found_beside = dict(zip(beside, others, strict=False))
    splits, origins, sources = (found_beside.get(name) for name in ("split", ORIGIN, "source"))
    dates = found_beside[beside[-1]] if options.split == "time" else None
    rows: list[Labelled] = []
    rejects: list[Reject] = []
    found: Counter[str] = Counter()
    for k, (number, line, text) in enumerate(zip(chunk.rows, chunk.lines, chunk.texts, strict=True)):
        label = plain(spelled := written(labels[k]))
        split = "" if splits is None else plain(splits[k])
        meaning = known.get(label)
        found[spelled] += 1
        if meaning == "skip":
            continue
        if not _WORD.search(text):
            reason, value = "no word in the text", text
        elif meaning is None:
            reason, value = ("unknown label", labels[k]) if label else ("no label", "")
        elif splits is not None and split not in SPLITS:
            reason, value = ("unknown split", splits[k]) if split else ("no split", "")
        elif dates is not None and not written(dates[k]):
            reason, value = "no date", ""
        else:
            where = f"line {line}" if line else f"row {number}"
            name = sys.intern(spelled) if label in options.labels else ""
            origin = LABEL_SAMPLE if origins is not None and plain(origins[k]) == LABEL_SAMPLE else ""
            place = f"{file} {where}" if sources is None else sources[k]
            date = "" if dates is None else written(dates[k])
            given = BETWEEN if meaning == "between" else meaning
            rows.append(Labelled(text_id(text), text, given, split, place, word_hash(text), name, origin, date))
            continue
        rejects.append(Reject(number, line, "", reason, beginning(value)))
    return rows, rejects, found


def plain(value: Any) -> str:
    """A label or a split as it is compared: 1, 1.0, " 1" and True of a Parquet table are the same as in a CSV."""
    return written(value).lower()


def written(value: Any) -> str:
    """A label or a split as the table has it."""
    if isinstance(value, bytes):  # of a Parquet file that does not say that they are text
        value = value.decode(errors="backslashreplace")
    return "" if value is None or value != value else str(value).strip().removesuffix(".0")


def _kinds(rejects: Sequence[Reject]) -> list[str]:
    """A line for each kind of reason, the commonest first, with the first rows that show different values."""
    lines = []
    for kind, count in Counter(kind_of(reject.reason) for reject in rejects).most_common():
        different: dict[str | int, Reject] = {}
        for reject in rejects:
            if kind_of(reject.reason) == kind:
                different.setdefault(_detail(reject) or reject.row, reject)
        first = list(different.values())[:_SHOWN]
        shown, more = ", ".join(map(_place, first)), count - len(first)
        rows = "1 row" if count == 1 else f"{count:,} rows"
        lines.append(f"{kind} ({rows}): {shown}{f' and {more:,} more' if more else ''}")
    return lines


def _hints(rejects: Sequence[Reject], path: Path, options: TableOptions, labels: Counter[str]) -> list[str]:
    kinds = {kind_of(reject.reason): reject.source for reject in reversed(rejects)}  # a file that has it
    hints = [hint for kind in sorted(kinds) for hint in hints_for([kind], path / kinds[kind])]
    if kinds.keys() & {"unknown label", "no label"}:
        found = [plain(label) for label in by_label(labels)]
        meaning = advice(found, options.labels, options.known(), options.label_column)
        hints.append(f"The network has two answers, 1 and 0. {meaning}")
    if kinds.keys() & {"unknown split", "no split"}:
        hints.append(_SPLITS)
    return hints


def _place(reject: Reject) -> str:
    """Where a rejected row stands, and what is wrong there."""
    where = f"line {reject.line:,}" if reject.line else f"row {reject.row:,}"
    where = f"{reject.source} {where}" if reject.source else where
    detail = "" if reject.reason == NO_TEXT else _detail(reject)  # the value is then the whole line
    return f"{where} ({detail})" if detail else where


def _detail(reject: Reject) -> str:
    value = repr(reject.value).replace("\\\\", "\\")  # bytes that are no text are escaped already
    return reject.reason.partition(": ")[2] or (f"{value:.40}" if reject.value else "")
