"""Tables and folders of texts: which reader a path needs, Parquet tables and folders."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from stat import S_ISREG
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sentiflow.data.bounds import BUFFER, Bounds, unpacked_size
from sentiflow.data.rejects import NOT_UTF8, TOO_LONG, beginning, is_rejects, why_not
from sentiflow.data.rows import (
    CHUNK_ROWS,
    CHUNK_SIZE,
    Input,
    Row,
    RowInput,
    find_columns,
    grouped_tables,
    numbers,
    text_schema,
)
from sentiflow.data.text_tables import CsvTable, JsonLines
from sentiflow.errors import ExternalError, UsageError, first_line
from sentiflow.files import LONGEST

_VIEWS = {pa.string_view(): pa.large_string(), pa.binary_view(): pa.large_binary()}
_TEXTS = pa.string(), pa.large_string(), pa.null()


class ParquetTable(Input):
    """A Parquet file; its columns of lists and objects are not read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as stream, pq.ParquetFile(stream) as file:
                about = file.metadata
                fields = [field.with_type(_VIEWS.get(field.type, field.type)) for field in file.schema_arrow]
        except (pa.ArrowException, OSError, UnicodeDecodeError) as err:
            if getattr(err, "errno", None) is not None:  # the system's; Arrow's own, of a damaged footer, has none
                raise
            raise UsageError(f"{path}: cannot be read as Parquet: {first_line(err).rstrip('.')}.") from err
        self._fields = pa.schema(fields)
        self.names = self._fields.names
        self.total = about.num_rows
        self.size = sum(about.row_group(k).total_byte_size for k in range(about.num_row_groups))
        self._bounds = Bounds(path)
        self._bounds.check_rows(about.num_rows)

    def select(self, text: str, others: Sequence[str] = ()) -> None:
        """Choose the column of texts and others; see ``Input.select``."""
        self._column, kept = find_columns(self.path, self.names, text, others)
        self.schema = pa.schema([self._fields.field(name) for name in kept])
        kind = self._fields.field(self._column).type
        if getattr(kind, "value_type", kind) not in _TEXTS or pa.types.is_nested(kind):
            raise UsageError(f"{self.path}: the column {self._column} holds {kind}, not text.")
        for name, kind in zip(self.schema.names, self.schema.types, strict=True):
            if pa.types.is_nested(kind) or getattr(kind, "extension_name", "arrow.uuid") != "arrow.uuid":
                raise UsageError(
                    f"{self.path}: the column {name} holds {kind}, which is not read.",
                    "Leave that column out, or write it as text or numbers.",
                )

    def groups(self) -> Iterator[tuple[list[Row], pa.Table, int]]:
        """Read from the beginning."""
        for table in grouped_tables(self._tables(), CHUNK_ROWS, CHUNK_SIZE):
            texts = table[self._column]
            if pa.types.is_dictionary(texts.type):
                texts = texts.cast(texts.type.value_type)
            group = [
                Row("", reason, beginning(value or ""), 0) if (reason := why_not(value)) else Row(value, "", "", 0)
                for value in to_values(texts, "surrogateescape")
            ]
            good = numbers(np.flatnonzero([not row.reason for row in group]))
            kept = table.select(self.schema.names)
            yield group, kept if len(good) == len(group) else kept.take(good), len(table)

    def _tables(self) -> Iterator[pa.Table]:
        """Consecutive rows, a batch a table."""
        read = size = 0
        wanted = list(dict.fromkeys([self._column, *self.schema.names]))
        schema = pa.schema([self._fields.field(name) for name in wanted])
        try:
            with (
                self.path.open("rb") as stream,
                pq.ParquetFile(stream, buffer_size=BUFFER, pre_buffer=False) as file,
            ):
                for group in range(file.num_row_groups):
                    rows = self._bounds.rows_at_once(file, group, wanted)
                    for batch in file.iter_batches(rows, [group], columns=wanted):
                        table = _with_own_categories(pa.Table.from_batches([batch]).select(wanted).cast(schema))
                        read, size = read + len(batch), size + unpacked_size(table)
                        self._bounds.check_decoded(size)
                        yield table
        except (pa.ArrowException, OSError) as err:
            raise ExternalError(
                f"{self.path}: cannot be read beyond row {read:,}: {first_line(err).rstrip('.')}."
            ) from err


def _with_own_categories(table: pa.Table) -> pa.Table:
    """A batch whose dictionaries hold its own values alone: each batch of a file shares one of all its rows."""
    for k, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type) and len(table[k].chunk(0).dictionary) > len(table):
            own = table[k].cast(field.type.value_type).dictionary_encode().cast(field.type)
            table = table.set_column(k, field, own)
    return table


def to_values(column: pa.ChunkedArray, errors: str = "backslashreplace") -> list[Any]:
    """Python's values of a column; bytes of a text that are no UTF-8 are treated as ``bytes.decode`` does.

    Raises:
        UsageError: Python has no such value, as for times after the year 9999.
    """
    try:
        return column.to_pylist()  # type: ignore[no-any-return]
    except UnicodeDecodeError:
        raw = column.cast(pa.large_binary()).to_pylist()
        return [None if value is None else value.decode(errors=errors) for value in raw]
    except (OverflowError, ValueError, LookupError) as err:
        raise UsageError(
            f"A column of type {column.type} has values that Python has none for: {first_line(err)}.",
            "Leave that column out, or score into a .parquet file.",
        ) from err


_SUFFIX = ".txt"


class Folder(RowInput):
    """All ``.txt`` files below a folder, in the order of their relative paths.

    Links to files in the folder are read. What lies elsewhere was not named to be scored, and perhaps logged.
    """

    many = True
    schema = text_schema(["source"])

    def __init__(self, path: Path) -> None:
        self.path = path
        self._root = os.path.realpath(path)
        self._names = _find(path)
        if not self._names:
            raise UsageError(f"{path}: no {_SUFFIX} file in it or below it.", "Each such file is a text to score.")
        self.total = len(self._names)
        self.size = sum(about.st_size for _, about in self._stats() if about)

    def select(self, text: str, others: Sequence[str] = ()) -> None:
        """Refuse any choice of columns."""
        if others or text != "text":
            raise UsageError(
                f"{self.path} is a folder: it has no columns.",
                "Leave --text-column and --keep out; each file is a text.",
            )

    def rows(self) -> Iterator[Row]:
        """Read file by file."""
        for done, name in enumerate(self._names, 1):
            text, reason, value = self._read(name)
            yield Row(text, reason, value, done, 0, (shown(name),), shown(name))

    def identity(self) -> dict[str, str | int]:
        """Names, sizes and times of change of all files that are there now."""
        self._names = _find(self.path)
        state = hashlib.sha256()
        for name, about in self._stats():
            stamp = f"{about.st_size} {about.st_mtime_ns}" if about else "gone"
            state.update(f"{shown(name)}\0{stamp}\n".encode())
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
                content = stream.read(LONGEST + 1)
        except OSError as err:
            return "", f"unreadable: {err.strerror}", ""
        if len(content) > LONGEST:
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


def shown(name: str) -> str:
    """A file's name as valid text."""
    return os.fsencode(name).decode(errors="backslashreplace")


_KINDS: dict[str, Callable[[Path], Input]] = {
    ".csv": CsvTable,
    ".jsonl": JsonLines,
    ".ndjson": JsonLines,
    ".parquet": ParquetTable,
    ".pq": ParquetTable,
}


def tables_of(path: Path) -> list[Path]:
    """The tables of a folder in the order of their names, hidden files and rejects left out; else the path itself.

    Raises:
        UsageError: there is none, or one that is no file.
    """
    if not path.is_dir():
        return [path]
    found = [
        each
        for each in path.iterdir()
        if each.suffix.lower() in _KINDS and not each.name.startswith(".") and not is_rejects(each)
    ]
    if not found:
        raise UsageError(
            f"{path}: no table in this folder.", f"Put files into it that end in {', '.join(_KINDS)}."
        )
    for each in found:
        if not each.is_file():
            raise UsageError(
                f"{each} is no file, but a folder, a pipe or a link that leads nowhere.",
                "Put the table itself there, or remove it.",
            )
    return sorted(found, key=lambda each: each.name)


def open_input(path: Path) -> Input:
    """Look at a table, or a folder of texts: its kind, its columns, its size.

    Raises:
        UsageError: there is none, none of a known kind, or an empty one.
    """
    if path.is_dir() and path.suffix.lower() in _KINDS:
        raise UsageError(f"{path} is a folder.", "Give one file of it, or put its parts into one.")
    if path.is_dir():
        return Folder(path)
    if not path.exists():
        raise UsageError(f"{path}: no such file or folder.", "Give a table or a folder of .txt files.")
    kind = _KINDS.get(path.suffix.lower())
    if kind is None or not path.is_file():
        raise UsageError(
            f"{path}: not a supported table.",
            f"Give a file that ends in {', '.join(_KINDS)}, or a folder of .txt files.",
        )
    if path.stat().st_size == 0:
        raise UsageError(f"{path} is empty.", "A table needs column names and rows.")
    return kind(path)
