"""Parquet tables, read in pieces; columns that go along keep their type."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sentiment.batch.arrays import numbers
from sentiment.batch.rows import NOT_UTF8, Reject, beginning, why_not
from sentiment.batch.source import CHUNK_ROWS, CHUNK_SIZE, Chunk, Source, check_columns
from sentiment.errors import UsageError, WorldError

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
            raise UsageError(f"{path}: cannot be read as Parquet: {_first_line(err)}.") from err
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
            raise WorldError(f"{self.path}: cannot be read beyond row {read:,}: {_first_line(err)}.") from err
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
        return values, [why_not(value, broken=NOT_UTF8) for value in values]
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


def _first_line(err: Exception) -> str:
    return (str(err).splitlines() or [""])[0].rstrip(".")
