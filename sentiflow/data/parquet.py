"""Parquet tables, and limits of what they may unpack to: a value stored once may stand in a million rows."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sentiflow.data.rows import (
    CHUNK_ROWS,
    CHUNK_SIZE,
    Input,
    Row,
    beginning,
    find_columns,
    grouped_tables,
    numbers,
    why_not,
)
from sentiflow.errors import ExternalError, UsageError, first_line

_TEXTS = pa.string(), pa.large_string(), pa.null()
_VIEWS = {pa.string_view(): pa.large_string(), pa.binary_view(): pa.large_binary()}

_MOST_ROWS, _MOST_SIZE = 256, 2**25  # rows and bytes decoded at a time, but at least one row
# What any table may hold, and how much more for each byte of its file. Packed reviews take a third of their size.
_ROWS, _ROWS_A_BYTE = 2_000_000, 8
_SIZE, _PACKED_A_BYTE, _DECODED_A_BYTE = 2**28, 100, 1_000
_NUMBER = 8  # bytes
_BUFFER = 2**20  # bytes read at a time: without it, a column of a whole row group
_TEXT = "BYTE_ARRAY"


class ParquetTable(Input):
    """A Parquet file, limited in what it may unpack to; columns of lists and objects are not read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as stream, pq.ParquetFile(stream) as file:
                about = file.metadata
                fields = [field.with_type(_plain(field.type)) for field in file.schema_arrow]
        except (pa.ArrowException, OSError, UnicodeDecodeError) as err:
            if getattr(err, "errno", None) is not None:  # the system's; Arrow's own, of a damaged footer, has none
                raise
            raise UsageError(f"{path}: cannot be read as Parquet: {first_line(err).rstrip('.')}.") from err
        self._fields = pa.schema(fields)
        self.names = self._fields.names
        self.total = about.num_rows
        self.size = sum(about.row_group(k).total_byte_size for k in range(about.num_row_groups))
        self._bytes = path.stat().st_size
        self._check(about.num_rows, _ROWS + _ROWS_A_BYTE * self._bytes, "rows")

    def select(self, text: str, others: Sequence[str] = (), label: str = "") -> None:
        self._column, kept = find_columns(self.path, self.names, text, others, label)
        self.schema = pa.schema([self._fields.field(name) for name in kept])
        kind = self._fields.field(self._column).type
        if kind not in _TEXTS:
            raise UsageError(f"{self.path}: the column {self._column} holds {kind}, not text.")
        for name, kind in zip(self.schema.names, self.schema.types, strict=True):
            if pa.types.is_nested(kind):
                problem = f"{self.path}: the column {name} holds {kind}, which is not read."
                raise UsageError(problem, "Leave that column out, or write it as text or numbers.")

    def groups(self) -> Iterator[tuple[list[Row], pa.Table, int]]:
        for table in grouped_tables(self._tables(), CHUNK_ROWS, CHUNK_SIZE):
            group = [
                Row("", reason, beginning(value or ""), 0) if (reason := why_not(value)) else Row(value, "", "", 0)
                for value in to_values(table[self._column], "surrogateescape")
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
                pq.ParquetFile(stream, buffer_size=_BUFFER, pre_buffer=False) as file,
            ):
                for group in range(file.num_row_groups):
                    rows = self._rows_at_once(file, group, wanted)
                    for batch in file.iter_batches(rows, [group], columns=wanted):
                        table = pa.Table.from_batches([batch]).select(wanted).cast(schema)
                        # A row that must be read alone brings its whole list along.
                        read, size = read + len(batch), size + (batch if rows == 1 else table).nbytes
                        self._check(size, _SIZE + _DECODED_A_BYTE * self._bytes, "bytes")
                        yield table
        except (pa.ArrowException, OSError) as err:
            raise ExternalError(
                f"{self.path}: cannot be read beyond row {read:,}: {first_line(err).rstrip('.')}."
            ) from err

    def _rows_at_once(self, file: pq.ParquetFile, group: int, names: Sequence[str]) -> int:
        """How many rows of a row group, of some columns without lists, can be decoded together."""
        about = file.metadata.row_group(group)
        leaves = [file.schema.column(k) for k in range(about.num_columns)]
        begin = tuple(f"{name}." for name in names)
        chunks = [(leaf, about.column(k)) for k, leaf in enumerate(leaves) if f"{leaf.path}.".startswith(begin)]
        paths, flat = [leaf.path for leaf, _ in chunks], file.schema_arrow.names
        if any(
            leaf.max_repetition_level or paths.count(leaf.path) * flat.count(leaf.path) != 1 for leaf, _ in chunks
        ):
            raise UsageError(  # Arrow reads what a name and a dot begin, too: perhaps lists, which have no bounds
                f"{self.path}: the columns {', '.join(paths)} cannot be read apart from each other.",
                "Rename those that begin with the name of another and a dot.",
            )
        for _, chunk in chunks:
            self._check(chunk.total_uncompressed_size, _SIZE + _PACKED_A_BYTE * self._bytes, "bytes")
        texts = [(leaf.path, chunk.encodings) for leaf, chunk in chunks if leaf.physical_type == _TEXT]
        longest = self._longest(file, group, [path for path, kinds in texts if "DICTIONARY" in " ".join(kinds)])
        row = 1 + sum(max(longest.get(leaf.path, 0), _width(leaf, chunk)) for leaf, chunk in chunks)
        return min(max(_MOST_SIZE // row, 1), _MOST_ROWS)

    def _longest(self, file: pq.ParquetFile, group: int, paths: list[str]) -> dict[str, int]:
        """Bytes of the longest text in the list of those that a column refers to, by the column's path."""
        longest: dict[str, int] = {}
        if paths:
            with (
                self.path.open("rb") as stream,
                pq.ParquetFile(
                    stream, metadata=file.metadata, read_dictionary=paths, buffer_size=_BUFFER, pre_buffer=False
                ) as again,
            ):
                for path in paths:
                    for batch in again.iter_batches(_MOST_ROWS, [group], columns=[path]):
                        column = batch.column(path)
                        if pa.types.is_dictionary(column.type):
                            longest[path] = pc.max(pc.binary_length(column.dictionary)).as_py() or 0
                        if longest.get(path):  # with the first value comes the whole list
                            break
        return longest

    def _check(self, found: int, most: int, what: str) -> None:
        if found > most:
            hint = "Few tables of reviews are packed as small as that. If yours is, write it as .csv or .jsonl."
            raise UsageError(f"{self.path}: its {self._bytes:,} bytes unpack to more than {most:,} {what}.", hint)


def _plain(kind: pa.DataType) -> pa.DataType:
    """The type that a column is read as: Arrow takes no rows from views."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return _VIEWS.get(kind, kind)


def _width(leaf: Any, chunk: Any) -> int:
    """Bytes of a value, those aside that stand in a list."""
    if leaf.physical_type != _TEXT:
        return int(leaf.length) or _NUMBER
    if "DELTA_BYTE_ARRAY" in chunk.encodings:  # each repeats as much as it likes of the one before
        return int(chunk.total_uncompressed_size)
    return int(chunk.total_uncompressed_size / max(chunk.num_values, 1))


def to_values(column: pa.ChunkedArray, errors: str = "backslashreplace") -> list[Any]:
    """Python's values of a column; bytes of a text that are no UTF-8 are treated as ``bytes.decode`` does."""
    try:
        return column.to_pylist()  # type: ignore[no-any-return]
    except UnicodeDecodeError:
        raw = column.cast(pa.large_binary()).to_pylist()
        return [None if value is None else value.decode(errors=errors) for value in raw]
    except (OverflowError, ValueError, LookupError) as err:  # such as a time after the year 9999
        raise UsageError(f"Values of type {column.type} cannot be read: {first_line(err)}.") from err
