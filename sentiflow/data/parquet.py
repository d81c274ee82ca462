"""Parquet tables, and limits of what they may unpack to by their metadata."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sentiflow.data.packed import check_unpacked
from sentiflow.data.rows import (
    CHUNK_ROWS,
    CHUNK_SIZE,
    Input,
    Row,
    beginning,
    find_columns,
    grouped_tables,
    joined,
    numbers,
    why_not,
)
from sentiflow.errors import ExternalError, UsageError, first_line

_TEXTS = pa.string(), pa.large_string(), pa.null()
_VIEWS = {pa.string_view(): pa.large_string(), pa.binary_view(): pa.large_binary()}

_BATCH = 256  # rows decoded at a time
# What a table may hold by its metadata, and how much more a byte of its file; bytes as any packed table.
_ROWS, _ROWS_A_BYTE = 2_000_000, 8
_BUFFER = 2**20  # bytes read at a time: without it, a column of a whole row group


class ParquetTable(Input):
    """A Parquet file, limited in what it may unpack to; columns of lists and objects are not read."""

    def __init__(self, path: Path, _sheet: str = "") -> None:
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
        packed = path.stat().st_size
        check_unpacked(path, about.num_rows, packed, _ROWS, _ROWS_A_BYTE, "rows")
        check_unpacked(path, self.size, packed)

    def select(self, text: str, others: Sequence[str] = (), label: str = "") -> None:
        self._texts, kept = find_columns(self.path, self.names, text, others, label)
        self.schema = pa.schema([self._fields.field(name) for name in kept])
        for name in self._texts:
            if (kind := self._fields.field(name).type) not in _TEXTS:
                raise UsageError(f"{self.path}: the column {name} holds {kind}, not text.")
        for name, kind in zip(self.schema.names, self.schema.types, strict=True):
            if pa.types.is_nested(kind):
                problem = f"{self.path}: the column {name} holds {kind}, which is not read."
                raise UsageError(problem, "Leave that column out, or write it as text or numbers.")

    def groups(self) -> Iterator[tuple[list[Row], pa.Table, int]]:
        for table in grouped_tables(self._tables(), CHUNK_ROWS, CHUNK_SIZE):
            group = []
            for value in map(joined, zip(*self._values(table), strict=True)):
                reason = why_not(value)
                group.append(Row("", reason, beginning(value or ""), 0) if reason else Row(str(value), "", "", 0))
            good = numbers(np.flatnonzero([not row.reason for row in group]))
            kept = table.select(self.schema.names)
            yield group, kept if len(good) == len(group) else kept.take(good), len(table)

    def _values(self, table: pa.Table) -> list[list[Any]]:
        return [to_values(table[name], "surrogateescape") for name in self._texts]

    def _tables(self) -> Iterator[pa.Table]:
        """Consecutive rows, a batch a table."""
        read = 0
        wanted = list(dict.fromkeys([*self._texts, *self.schema.names]))
        schema = pa.schema([self._fields.field(name) for name in wanted])
        try:
            with (
                self.path.open("rb") as stream,
                pq.ParquetFile(stream, buffer_size=_BUFFER, pre_buffer=False) as file,
            ):
                for batch in file.iter_batches(_BATCH, columns=wanted):
                    yield pa.Table.from_batches([batch]).select(wanted).cast(schema)
                    read += len(batch)
        except (pa.ArrowException, OSError) as err:
            raise ExternalError(
                f"{self.path}: cannot be read beyond row {read:,}: {first_line(err).rstrip('.')}."
            ) from err


def _plain(kind: pa.DataType) -> pa.DataType:
    """The type that a column is read as: Arrow takes no rows from views."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return _VIEWS.get(kind, kind)


def to_values(column: pa.ChunkedArray, errors: str = "backslashreplace") -> list[Any]:
    """Python's values of a column; bytes of a text that are no UTF-8 are treated as ``bytes.decode`` does."""
    try:
        return column.to_pylist()  # type: ignore[no-any-return]
    except UnicodeDecodeError:
        raw = column.cast(pa.large_binary()).to_pylist()
        return [None if value is None else value.decode(errors=errors) for value in raw]
    except (OverflowError, ValueError, LookupError) as err:  # such as a time after the year 9999
        raise UsageError(f"Values of type {column.type} cannot be read: {first_line(err)}.") from err
