"""Rows of tables and folders of texts, and what every kind of such an input has in common."""

import difflib
import hashlib
import io
import json
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from shlex import quote
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow.lib import StringBuilder

from sentiflow.data.bounds import unpacked_size
from sentiflow.errors import ExternalError, UsageError
from sentiflow.output import is_unicode


def numbers(values: NDArray[np.int64] | NDArray[np.int32] | NDArray[np.float64]) -> pa.Array:
    """An array of numbers, none missing."""
    content = pa.py_buffer(np.ascontiguousarray(values))
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [None, content])


def strings(values: Iterable[str | bytes | None]) -> pa.Array:
    """An array of texts, None where one is missing; ``pa.array`` would import pandas, in half a second.

    Example:
        >>> strings(["é", b"e", None]).to_pylist()
        ['é', 'e', None]
    """
    builder = StringBuilder()
    builder.append_values(values)
    return builder.finish()


MOST = 32 * 2**20  # bytes or characters of one text: far beyond any review, and little enough to hold in memory

NO_TEXT = "no text"
NOT_UTF8 = "not UTF-8"
ROW_INSIDE = "a row inside the text"
TOO_LONG = f"longer than {MOST:,} characters"

_SHOWN = 200  # characters of a rejected value

_KINDS = {bool: "boolean", int: "number", float: "number", list: "array", dict: "object", bytes: "bytes"}


class Row(NamedTuple):
    """One row of an input.

    Attributes:
        text: the text; empty where there is a reason to reject the row.
        reason: why it is rejected, in words that end where a colon begins details; empty where it is not.
        value: beginning of what stood there instead of a text, for people.
        done: units of the input (bytes, rows or files) that are read once this row is.
        line: of the file, where the row begins, from 1; 0 for inputs without lines.
        columns: values of the columns that were selected beside the text, unless it is rejected.
        source: file that it stands in, for inputs of many files.
    """

    text: str
    reason: str
    value: str
    done: int
    line: int = 0
    columns: tuple[str | None, ...] = ()
    source: str = ""


class Reject(NamedTuple):
    """A row that cannot be used; ``line`` is 0 and ``source`` empty where an input has no such thing."""

    row: int
    line: int
    source: str
    reason: str
    value: str

    def to_json(self) -> str:
        """One line, ASCII only."""
        fields = self._asdict()
        return json.dumps({key: fields[key] for key in fields if fields[key] or key not in ("line", "source")})


def kind_of(reason: str) -> str:
    """A reason without its details."""
    return reason.partition(":")[0]


_HINTS = {
    NOT_UTF8: "If all of it has another encoding, save it as UTF-8: iconv -f cp1252 -t utf-8 {path} > utf8-{name}",
    ROW_INSIDE: "Close each quote that is opened.",
    "quotes do not match": "Double a quote inside a quoted text, and close each that is opened.",
    "wrong number of fields": "A text that contains the separator of the columns needs quotes around it.",
}


def hints_for(kinds: Iterable[str], path: Path) -> list[str]:
    """What to do about rejects of these kinds in a table."""
    is_text = path.suffix.lower() in (".csv", ".jsonl", ".ndjson")
    hints = _HINTS if is_text else {NOT_UTF8: "Write those texts as UTF-8."}
    return [hints[kind].format(path=quote(str(path)), name=quote(path.name)) for kind in kinds if kind in hints]


OUTPUT_COLUMNS = ("row", "label", "score", "model", "version")
"""Columns that each output of scoring has."""

_REJECTS = ".rejects.jsonl"
_LONGEST_NAME = 223  # bytes: with .rejects.jsonl, and what is added while that is written, 255


def rejects_of(path: Path) -> Path:
    """The file of rejects beside an output or a training table.

    Raises:
        UsageError: its name would be too long.

    Example:
        >>> rejects_of(Path("reviews.csv")).name
        'reviews.csv.rejects.jsonl'
    """
    if len(os.fsencode(path.name)) > _LONGEST_NAME:
        raise UsageError(
            f"{path}: the name is too long; rejected rows go to a file with a longer one.",
            f"Choose a name of at most {_LONGEST_NAME} bytes.",
        )
    return path.with_name(f"{path.name}{_REJECTS}")


def is_rejects(path: Path) -> bool:
    """Whether a file is named as rejects are."""
    return path.name.endswith(_REJECTS)


def count_reasons(reasons: Mapping[str, int]) -> str:
    """Reasons and how often each.

    Example:
        >>> count_reasons({"no text": 1200, "not UTF-8": 1})
        '1,200 no text, 1 not UTF-8'
    """
    return ", ".join(f"{count:,} {reason}" for reason, count in reasons.items())


def count_left_out(labels: Mapping[str, int]) -> str:
    """Labels whose rows are left out, and how many rows these are; the empty label is none.

    Example:
        >>> count_left_out({"3": 600, "": 8})
        '608 rows left out (label 3, none)'
    """
    count = sum(labels.values())
    names = ", ".join(label or "none" for label in labels)
    return f"{count:,} {'row' if count == 1 else 'rows'} left out (label {names})"


def why_not(value: object) -> str:
    """Why a value, a text or whatever stands in its place, is no text to use; empty when it is one.

    Example:
        >>> why_not(None), why_not(" "), why_not(7), why_not("fine")
        ('no text', 'no text', 'not text: number', '')
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return NO_TEXT
    if not isinstance(value, str):
        return f"not text: {_KINDS.get(type(value), type(value).__name__)}"
    if len(value) > MOST:
        return TOO_LONG
    if not is_unicode(value):
        return NOT_UTF8
    return "" if value.strip() else NO_TEXT


def changed(source: object) -> ExternalError:
    """The error for an input that is another one than when its reading began."""
    return ExternalError(f"{source} changed while it was read.", "Run again when nothing else writes to it.")


def beginning(value: object) -> str:
    r"""The first characters of a value as valid text; bytes that are none are written as ``\xff``.

    Example:
        >>> beginning(b"caf\xe9")
        'caf\\xe9'
    """
    if isinstance(value, bytes):
        return value[:_SHOWN].decode(errors="backslashreplace")
    text = (value if isinstance(value, str) else str(value))[:_SHOWN]
    try:
        return text.encode(errors="surrogateescape").decode(errors="backslashreplace")
    except UnicodeEncodeError:
        return text.encode(errors="backslashreplace").decode()


CHUNK_ROWS = 2_048  # enough to sort by length, few enough to share out and to lose when killed
_HASHED_ROWS = 256  # written at a time
CHUNK_SIZE = 8_000_000  # characters or bytes: a chunk of long texts ends sooner

_LOOKED_AT = 2**20  # bytes of a file's head and tail, compared to see whether its content is the same
_MAX_COLUMNS = 20  # columns in a message


@dataclass(frozen=True)
class Chunk:
    """Consecutive rows of an input.

    Attributes:
        number: 0 is the first.
        rows: numbers of the rows that have a text, the others are rejects; 1 is the first of the input.
        lines: of the file, where these rows begin; 0 for inputs without lines.
        columns: those selected beside the text, a row a text.
        units: of the input (bytes, rows or files) that this chunk took.
    """

    number: int
    rows: list[int]
    lines: list[int]
    texts: list[str]
    columns: pa.Table
    rejects: list[Reject]
    units: int

    def __len__(self) -> int:
        return len(self.rows) + len(self.rejects)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all that was read for it."""
        state = hashlib.sha256()
        texts = strings(self.texts)
        places = numbers(np.array([self.rows, self.lines], np.int64).ravel())
        read = pa.table([places.slice(0, len(texts)), places.slice(len(texts)), texts], ["rows", "lines", "texts"])
        for table in (read, self.columns):
            with pa.ipc.new_stream(_Hashing(state), table.schema) as out:
                out.write_table(table, max_chunksize=_HASHED_ROWS)
        for reject in self.rejects:
            state.update(reject.to_json().encode())
        return state.hexdigest()


class _Hashing(io.RawIOBase):
    """A file that keeps nothing of what is written but its hash."""

    def __init__(self, state: "hashlib._Hash") -> None:
        self._state = state

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        self._state.update(content)
        return len(content)


class Input(ABC):
    """An input whose rows can be read more than once, each time in the same chunks.

    Attributes:
        total: units of progress: bytes, rows or files.
        size: bytes of the texts, about.
        schema: of the columns selected beside the text.
        many: the input is many files, and what goes along is the name of each.
    """

    path: Path
    names: Sequence[str] = ()
    total: int
    size: int
    schema: pa.Schema
    many: bool = False

    @abstractmethod
    def select(self, text: str, others: Sequence[str] = ()) -> None:
        """Choose the column of texts, and others to read beside it; see ``find_columns``.

        Raises:
            UsageError: one is not there, or appears twice.
        """

    @abstractmethod
    def groups(self) -> Iterator[tuple[list[Row], pa.Table, int]]:
        """The rows of each chunk, the columns of those that have a text, and the units that all of them took."""

    def chunks(self) -> Iterator[Chunk]:
        """Read the selected columns from the beginning; a chunk is a function of the input alone.

        Raises:
            UsageError: a quote of a CSV is never closed; the message names the line.
            ExternalError: the input is damaged further down.
            OSError: it cannot be read.
        """
        first = 1
        for number, (group, columns, units) in enumerate(self.groups()):
            rows = list(enumerate(group, first))
            good = [(k, row) for k, row in rows if not row.reason]
            rejects = [Reject(k, row.line, row.source, row.reason, row.value) for k, row in rows if row.reason]
            places, lines = [k for k, _ in good], [row.line for _, row in good]
            yield Chunk(number, places, lines, [row.text for _, row in good], columns, rejects, units)
            first += len(group)

    def identity(self) -> dict[str, str | int]:
        """Identifies the input: size, time of change, and a sample of its content."""
        about = self.path.stat()
        state = hashlib.sha256()
        with self.path.open("rb") as stream:
            state.update(stream.read(_LOOKED_AT))
            stream.seek(max(about.st_size - _LOOKED_AT, 0))
            state.update(stream.read(_LOOKED_AT))
        return {"size": about.st_size, "changed": about.st_mtime_ns, "content": state.hexdigest()}


class RowInput(Input):
    """An input that is read row by row; what goes along is text."""

    @abstractmethod
    def rows(self) -> Iterator[Row]:
        """Read from the beginning, row by row."""

    def groups(self) -> Iterator[tuple[list[Row], pa.Table, int]]:
        """Read from the beginning."""
        done = 0
        for group in _grouped(self.rows()):
            good = [row.columns for row in group if not row.reason]
            columns = [strings([each[k] for each in good]) for k in range(len(self.schema))]
            yield group, pa.table(columns, schema=self.schema), group[-1].done - done
            done = group[-1].done


def _shown(name: str) -> str:
    """A column's name for a terminal, which must not obey it."""
    return f"{name:.60}" if name.isprintable() else f"{name!r:.60}"


def match(name: str, found: Sequence[str]) -> list[str]:
    """The columns that a name means: those written so, else those that differ only in case and outer spaces."""
    exact = [each for each in found if each == name]
    return exact or [each for each in found if each.strip().lower() == name.strip().lower()]


def find_columns(
    path: Path, found: Sequence[str], text: str, others: Sequence[str] = (), where: str = ""
) -> tuple[str, list[str]]:
    """The columns of a table that some names mean, as the table writes them; the others each once.

    Names are compared as ``match`` does. ``where`` says for the message in which part of the table was looked.

    Raises:
        UsageError: some are missing or appear twice; the message names all of them, and what there is.
    """
    matches = {name: match(name, found) for name in (text, *others)}
    problems = [f"no column {name}{where}" for name, there in matches.items() if not there]
    if problems:
        more = f" and {len(found) - _MAX_COLUMNS} more" if len(found) > _MAX_COLUMNS else ""
        problems.append(f"there are: {', '.join(map(_shown, found[:_MAX_COLUMNS])) or 'none'}{more}")
    problems += [f"the column {there[0]} appears twice" for there in matches.values() if len(there) > 1]
    if problems:
        near = difflib.get_close_matches(text, found, n=1, cutoff=0.5)
        example = f"for example --text-column {quote(near[0])}" if near else "--text-column NAME"
        also = "" if matches[text] else f": {example}; a training reads --label-column NAME, too"
        hint = f"Give the names of your columns{also}."
        raise UsageError(f"{path}: {'; '.join(problems)}.", hint)
    return matches[text][0], list(dict.fromkeys(matches[name][0] for name in others))


def text_schema(names: Iterable[str]) -> pa.Schema:
    """Columns of text."""
    return pa.schema([(name, pa.string()) for name in names])


def _grouped(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Rows in groups of bounded number and size."""
    group: list[Row] = []
    size = 0
    for row in rows:
        group.append(row)
        size += len(row.text) + sum(len(value) for value in row.columns if value)
        if len(group) == CHUNK_ROWS or size >= CHUNK_SIZE:
            yield group
            group, size = [], 0
    if group:
        yield group


def grouped_tables(tables: Iterable[pa.Table], max_rows: int, max_size: int) -> Iterator[pa.Table]:
    """Concatenate tables up to ``max_rows`` rows or ``max_size`` bytes, whichever comes first."""
    group: list[pa.Table] = []
    rows = size = 0
    for table in tables:
        group.append(table)
        rows, size = rows + len(table), size + unpacked_size(table)
        if rows >= max_rows or size >= max_size:
            yield pa.concat_tables(group)
            group, rows, size = [], 0, 0
    if group:
        yield pa.concat_tables(group)
