"""Inputs of every kind: which reader a path needs, Parquet tables and folders of text files."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from stat import S_ISREG
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sentiflow.batch.output import own_names, rejects_of
from sentiflow.batch.source import (
    CHUNK_ROWS,
    CHUNK_SIZE,
    MOST,
    NOT_UTF8,
    TOO_LONG,
    Chunk,
    Reject,
    Row,
    RowSource,
    Source,
    beginning,
    check_columns,
    numbers,
    text_schema,
    why_not,
)
from sentiflow.batch.text_tables import CsvTable, JsonLines
from sentiflow.errors import ExternalError, UsageError, first_line

_VIEWS = {pa.string_view(): pa.large_string(), pa.binary_view(): pa.large_binary()}
_BATCH = 256  # rows decoded at a time
_BUFFER = 2**20  # bytes read at a time: without it, a column of a whole row group


class ParquetTable(Source):
    """A Parquet file."""

    def __init__(self, path: Path, column: str, keep: Sequence[str]) -> None:
        self.path = path
        try:
            with pq.ParquetFile(path) as file:
                schema, about = file.schema_arrow, file.metadata
        except pa.ArrowException as err:
            raise UsageError(f"{path}: cannot be read as Parquet: {first_line(err).rstrip('.')}.") from err
        check_columns(path, schema.names, column, keep)
        self._column = column
        self.total = about.num_rows
        self.size = sum(about.row_group(k).total_byte_size for k in range(about.num_row_groups))
        self.schema = pa.schema([schema.field(name) for name in keep])

    def chunks(self) -> Iterator[Chunk]:
        """Read from the beginning."""
        first = 0
        for number, table in enumerate(self._tables()):
            yield self._chunk(number, first, table)
            first += len(table)

    def _tables(self) -> Iterator[pa.Table]:
        """Consecutive rows, of bounded number and size."""
        group: list[pa.RecordBatch] = []
        read = 0
        wanted = list(dict.fromkeys([self._column, *self.schema.names]))
        try:
            with pq.ParquetFile(self.path, buffer_size=_BUFFER, pre_buffer=False) as file:
                for batch in file.iter_batches(_BATCH, columns=wanted):
                    group.append(batch)
                    read += len(batch)
                    if sum(map(len, group)) >= CHUNK_ROWS or sum(each.nbytes for each in group) >= CHUNK_SIZE:
                        yield pa.Table.from_batches(group)
                        group = []
        except (pa.ArrowException, OSError) as err:
            raise ExternalError(
                f"{self.path}: cannot be read beyond row {read:,}: {first_line(err).rstrip('.')}."
            ) from err
        if group:
            yield pa.Table.from_batches(group)

    def _chunk(self, number: int, first: int, table: pa.Table) -> Chunk:
        values, reasons = _judged(table[self._column])
        good = [k for k, reason in enumerate(reasons) if not reason]
        rejects = [
            Reject(first + k, "", reason, "" if values[k] is None else beginning(values[k]))
            for k, reason in enumerate(reasons)
            if reason
        ]
        kept = table.select(self.schema.names)
        return Chunk(
            number,
            [first + k for k in good],
            [values[k] for k in good],
            _rows(kept, good) if rejects else kept,
            rejects,
            len(table),
        )


def _rows(table: pa.Table, rows: Sequence[int]) -> pa.Table:
    """Some rows of a table; views, which Arrow cannot pick from, by way of the usual kind."""
    usual = pa.schema([field.with_type(_VIEWS.get(field.type, field.type)) for field in table.schema])
    return table.cast(usual).take(numbers(np.array(rows, np.int64))).cast(table.schema)


def _judged(column: pa.ChunkedArray) -> tuple[list[Any], list[str]]:
    """Values, and for each why it cannot be scored."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if _is_text(column.type):
        values = _texts(column)
        return values, [why_not(value) for value in values]
    values = (column.cast(pa.string()) if pa.types.is_temporal(column.type) else column).to_pylist()
    # Not by the value: a date written as text would pass for one.
    return values, ["missing" if why_not(value) == "missing" else f"not text: {column.type}" for value in values]


def _is_text(kind: pa.DataType) -> bool:
    return kind in (pa.string(), pa.large_string(), pa.string_view())


def _texts(column: pa.ChunkedArray) -> list[str | None]:
    try:
        texts: list[str | None] = column.to_pylist()
    except UnicodeDecodeError:
        raw = column.cast(pa.large_binary()).to_pylist()
        texts = [None if value is None else value.decode(errors="surrogateescape") for value in raw]
    return texts


_SUFFIX = ".txt"


class Folder(RowSource):
    """All ``.txt`` files below a folder, in the order of their relative paths.

    Links to files in the folder are read. What lies elsewhere was not named to be scored, and perhaps logged.
    """

    many = True

    def __init__(self, path: Path, column: str, keep: Sequence[str]) -> None:
        if keep or column != "text":
            raise UsageError(
                f"{path} is a folder: it has no columns.", "Leave --column and --keep out; each file is a text."
            )
        self.path = path
        self._root = os.path.realpath(path)
        self.schema = text_schema(["source"])
        self._names = _find(path)
        if not self._names:
            raise UsageError(f"{path}: no {_SUFFIX} file in it or below it.", "Each such file is a text to score.")
        self.total = len(self._names)
        self.size = sum(about.st_size for _, about in self._stats() if about)

    def rows(self) -> Iterator[Row]:
        """Read file by file."""
        for done, name in enumerate(self._names, 1):
            text, reason, value = self._read(name)
            yield Row(text, reason, value, done, (_shown(name),), _shown(name))

    def identity(self) -> dict[str, str | int]:
        """Names, sizes and times of change of all files that are there now."""
        self._names = _find(self.path)
        state = hashlib.sha256()
        for name, about in self._stats():
            stamp = f"{about.st_size} {about.st_mtime_ns}" if about else "gone"
            state.update(f"{_shown(name)}\0{stamp}\n".encode())
        return {"files": len(self._names), "content": state.hexdigest()}

    def _stats(self) -> Iterator[tuple[str, os.stat_result | None]]:
        for name in self._names:
            try:
                yield name, (self.path / name).stat()
            except OSError:  # a broken link: it becomes a reject, with its reason
                yield name, None

    def _read(self, name: str) -> tuple[str, str, str]:
        """Text, or reason and beginning of what is there instead."""
        path = self.path / name
        try:
            if path.is_symlink() and not Path(os.path.realpath(path, strict=True)).is_relative_to(self._root):
                return "", "unreadable: a link that leads out of the folder", ""
            if not S_ISREG(path.stat().st_mode):  # opening a pipe would wait for ever
                return "", "unreadable: not a regular file", ""
            with path.open("rb") as stream:
                content = stream.read(MOST + 1)
        except OSError as err:
            return "", f"unreadable: {err.strerror}", ""
        if len(content) > MOST:
            return "", TOO_LONG, beginning(content)
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            return "", NOT_UTF8, beginning(content)
        reason = why_not(text)
        return ("", reason, beginning(text)) if reason else (text, "", "")


def _find(folder: Path) -> list[str]:
    """Relative paths with forward slashes, sorted; strings, as there may be a million."""
    found = []
    for path, _, names in os.walk(folder, onerror=_refuse):
        below = Path(path).relative_to(folder).as_posix()
        head = "" if below == "." else f"{below}/"
        found += [head + name for name in names if name.lower().endswith(_SUFFIX)]
    return sorted(found)


def _refuse(err: OSError) -> None:
    """A folder that cannot be listed would lose its files silently."""
    raise err


def _shown(name: str) -> str:
    """A file's name as valid text."""
    return os.fsencode(name).decode(errors="backslashreplace")


_KINDS: dict[str, Callable[[Path, str, Sequence[str]], Source]] = {
    ".csv": CsvTable,
    ".jsonl": JsonLines,
    ".ndjson": JsonLines,
    ".parquet": ParquetTable,
    ".pq": ParquetTable,
}
_OTHER_TABLES = {".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".txt", ".xlsx"}  # an output named so would mislead


def open_source(path: Path, column: str, keep: Sequence[str]) -> Source:
    """Look at an input: its kind, its columns, its size.

    Args:
        path: a table or a folder.
        column: the texts.
        keep: columns that go along to the output.

    Raises:
        UsageError: no such input, none of a known kind, an empty one, or one without these columns.
        OSError: it cannot be read.
    """
    keep = list(dict.fromkeys(keep))
    if path.is_dir():
        return _checked(Folder(path, column, keep), keep)
    if not path.exists():
        raise UsageError(f"{path}: no such file or folder.", "Give a table or a folder of .txt files to score.")
    kind = _KINDS.get(path.suffix.lower())
    if kind is None or not path.is_file():
        raise UsageError(
            f"{path}: no kind of input that can be read.",
            f"Give a file that ends in {', '.join(_KINDS)}, or a folder of .txt files.",
        )
    if path.stat().st_size == 0:
        raise UsageError(f"{path} is empty.", "A table holds a header or keys, and rows.")
    return _checked(kind(path, column, keep), keep)


def check_output(source: Path, output: Path) -> None:
    """Check that an output can be put there at all, and would not replace its input.

    Raises:
        UsageError: it is a folder, is named like another kind of table, or is the input.
    """
    for written in (output, rejects_of(output)):
        if written.is_dir():
            raise UsageError(
                f"{written} is a folder.", "-o names the Parquet file to write; rejects go beside it."
            )
        if written.exists() and not written.is_file():
            raise UsageError(
                f"{written} is a device or a pipe.", "-o names a file, which appears whole at the end."
            )
    if output.suffix.lower() in _OTHER_TABLES:
        raise UsageError(f"{output}: the output is a Parquet file.", f"For example: -o {output.stem}.parquet")
    for written in (output, rejects_of(output)):
        if written.exists() and written.samefile(source):
            raise UsageError(f"{written} is the input; it would be replaced.", "Name another output with -o.")


def _checked(source: Source, keep: Sequence[str]) -> Source:
    taken = [name for name in keep if name in own_names(source)]
    if taken:
        raise UsageError(
            f"The output has a column {taken[0]} of its own, so {taken[0]} of the input cannot be kept.",
            f"Rename it in the input; the output's own are: {', '.join(own_names(source))}.",
        )
    return source
