"""Rows of tables and folders of texts, and what every kind of such an input has in common."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow.lib import StringBuilder

from sentiflow.data.rejects import Reject
from sentiflow.errors import ExternalError, UsageError


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


class Row(NamedTuple):
    """One row of an input."""

    text: str  # the text; empty where there is a reason to reject the row
    reason: str  # why it is rejected, in words that end where a colon begins details; empty where it is not
    value: str  # beginning of what stood there instead of a text, for people
    done: int  # units of the input (bytes, rows or files) that are read once this row is
    line: int = 0  # of the file, where the row begins, from 1; 0 for inputs without lines
    columns: tuple[str | None, ...] = ()  # those that were selected beside the text, unless it is rejected
    source: str = ""  # file that it stands in, for inputs of many files


def changed(source: object) -> ExternalError:
    """The error for an input that is another one than when its reading began."""
    return ExternalError(f"{source} changed while it was read.", "Run again when nothing else writes to it.")


CHUNK_ROWS = 2_048  # enough to sort by length, few enough to share out
CHUNK_SIZE = 8_000_000  # characters or bytes: a chunk of long texts ends sooner

_MAX_COLUMNS = 20  # columns in a message


@dataclass(frozen=True)
class Chunk:
    """Consecutive rows of an input."""

    rows: list[int]  # numbers of the rows that have a text, the others are rejects; 1 is the first of the input
    lines: list[int]  # of the file, where these rows begin; 0 for inputs without lines
    texts: list[str]
    columns: pa.Table  # those selected beside the text, a row a text
    rejects: list[Reject]
    units: int  # of the input (bytes, rows or files) that this chunk took

    def __len__(self) -> int:
        return len(self.rows) + len(self.rejects)


class Input(ABC):
    """An input whose rows can be read more than once, each time in the same chunks."""

    path: Path
    names: Sequence[str] = ()
    total: int  # units of progress: bytes, rows or files
    size: int  # bytes of the texts, about
    schema: pa.Schema  # of the columns selected beside the text
    many: bool = False  # the input is many files, and what goes along is the name of each

    @abstractmethod
    def select(self, text: str, others: Sequence[str] = ()) -> None:
        """Choose the column of texts, and others to read beside it; see ``find_columns``."""

    @abstractmethod
    def groups(self) -> Iterator[tuple[list[Row], pa.Table, int]]:
        """The rows of each chunk, the columns of those that have a text, and the units that all of them took."""

    def chunks(self) -> Iterator[Chunk]:
        """Read the selected columns from the beginning; a chunk is a function of the input alone."""
        first = 1
        for group, columns, units in self.groups():
            rows = list(enumerate(group, first))
            good = [(k, row) for k, row in rows if not row.reason]
            rejects = [Reject(k, row.line, row.source, row.reason, row.value) for k, row in rows if row.reason]
            places, lines = [k for k, _ in good], [row.line for _, row in good]
            yield Chunk(places, lines, [row.text for _, row in good], columns, rejects, units)
            first += len(group)

    def state(self) -> object:
        """Its size and time of change: equal as long as nothing writes to it."""
        about = self.path.stat()
        return about.st_size, about.st_mtime_ns


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


def find_columns(path: Path, found: Sequence[str], text: str, others: Sequence[str] = ()) -> tuple[str, list[str]]:
    """The columns of a table that some names mean, as the table writes them; the others each once.

    Names are compared as ``match`` does.
    """
    matches = {name: match(name, found) for name in (text, *others)}
    problems = [f"no column {name}" for name, there in matches.items() if not there]
    if problems:
        more = f" and {len(found) - _MAX_COLUMNS} more" if len(found) > _MAX_COLUMNS else ""
        problems.append(f"there are: {', '.join(map(_shown, found[:_MAX_COLUMNS])) or 'none'}{more}")
    problems += [f"the column {there[0]} appears twice" for there in matches.values() if len(there) > 1]
    if problems:
        hint = "Give the names of your columns: --text-column, and for a training --label-column."
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
        rows, size = rows + len(table), size + table.nbytes
        if rows >= max_rows or size >= max_size:
            yield pa.concat_tables(group)
            group, rows, size = [], 0, 0
    if group:
        yield pa.concat_tables(group)
