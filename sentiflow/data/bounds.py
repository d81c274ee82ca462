"""Limits of what a Parquet file may unpack to: a value that it stores once may stand in a million rows."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sentiflow.errors import UsageError

_MOST_ROWS, _MOST_SIZE = 256, 2**25  # rows and bytes decoded at a time, but at least one row
# What any table may hold, and how much more for each byte of its file. Packed reviews take a third of their size.
_ROWS, _ROWS_A_BYTE = 2_000_000, 8
_SIZE, _PACKED_A_BYTE, _DECODED_A_BYTE = 2**28, 100, 1_000
_NUMBER = 8  # bytes
BUFFER = 2**20  # bytes read at a time: without it, a column of a whole row group
_TEXT = "BYTE_ARRAY"
_TEXTS = pa.string(), pa.binary(), pa.large_string(), pa.large_binary()


class Bounds:
    """Limits what a file may unpack to, by its size; raises UsageError beyond that."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._size = path.stat().st_size
        self._packed = _SIZE + _PACKED_A_BYTE * self._size

    def check_rows(self, count: int) -> None:
        """Check a number of rows."""
        self._check(count, _ROWS + _ROWS_A_BYTE * self._size, "rows")

    def check_decoded(self, size: int) -> None:
        """Check the bytes of all values that were decoded so far."""
        self._check(size, _SIZE + _DECODED_A_BYTE * self._size, "bytes")

    def rows_at_once(self, file: pq.ParquetFile, group: int, names: Sequence[str]) -> int:
        """How many rows of a row group, of some columns without lists, can be decoded together."""
        about = file.metadata.row_group(group)
        leaves = [file.schema.column(k) for k in range(about.num_columns)]
        chunks = [(leaf, about.column(k)) for k, leaf in enumerate(leaves) if _belongs(leaf.path, names)]
        paths, flat = [leaf.path for leaf, _ in chunks], file.schema_arrow.names
        if any(
            leaf.max_repetition_level or paths.count(leaf.path) * flat.count(leaf.path) != 1 for leaf, _ in chunks
        ):
            raise UsageError(  # Arrow reads what a name and a dot begin, too: perhaps lists, which have no bounds
                f"{self._path}: the columns {', '.join(paths)} cannot be read apart from each other.",
                "Rename those that begin with the name of another and a dot.",
            )
        for _, chunk in chunks:
            self._check(chunk.total_uncompressed_size, self._packed, "bytes")
        longest = self._longest(file, group, [leaf.path for leaf, chunk in chunks if _is_listed(leaf, chunk)])
        row = 1 + sum(max(longest.get(leaf.path, 0), _width(leaf, chunk)) for leaf, chunk in chunks)
        return min(max(_MOST_SIZE // row, 1), _MOST_ROWS)

    def _longest(self, file: pq.ParquetFile, group: int, paths: list[str]) -> dict[str, int]:
        """Bytes of the longest text in the list of those that a column refers to, by the column's path."""
        longest: dict[str, int] = {}
        if paths:
            with (
                self._path.open("rb") as stream,
                pq.ParquetFile(
                    stream, metadata=file.metadata, read_dictionary=paths, buffer_size=BUFFER, pre_buffer=False
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
            raise UsageError(
                f"{self._path}: its {self._size:,} bytes unpack to more than {most:,} {what}.",
                "Few tables of reviews are packed as small as that. If yours is, write it as .csv or .jsonl.",
            )


def _belongs(path: str, names: Sequence[str]) -> bool:
    return any(path == name or path.startswith(f"{name}.") for name in names)


def _is_listed(leaf: Any, chunk: Any) -> bool:
    return leaf.physical_type == _TEXT and any("DICTIONARY" in encoding for encoding in chunk.encodings)


def _width(leaf: Any, chunk: Any) -> int:
    """Bytes of a value, those aside that stand in a list."""
    if leaf.physical_type != _TEXT:
        return int(leaf.length) or _NUMBER
    if "DELTA_BYTE_ARRAY" in chunk.encodings:  # each repeats as much as it likes of the one before
        return int(chunk.total_uncompressed_size)
    return int(chunk.total_uncompressed_size / max(chunk.num_values, 1))


def unpacked_size(table: pa.Table) -> int:
    """Bytes of a table's values, each counted wherever it stands, and where it stands nowhere once: it is there.

    Example:
        >>> unpacked_size(pa.table({"a": pa.array(["good"] * 10).dictionary_encode()}))
        40
    """
    return sum(_unpacked(chunk) for column in table.columns for chunk in column.chunks)


def _unpacked(array: Any) -> int:
    if not pa.types.is_dictionary(array.type) or array.type.value_type not in _TEXTS:
        return int(array.nbytes)
    lengths = pc.binary_length(array.dictionary)
    return max(int(pc.sum(each).as_py() or 0) for each in (lengths.take(array.indices), lengths))
