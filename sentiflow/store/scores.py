"""The scores of a run's test reviews, read within limits: whoever may log a run may have written any file."""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

REVIEW = "review_id"

_MOST_ROWS = 5_000_000
_LONGEST = 64  # bytes of an id; those of trainings have at most 21
_CODECS = {"SNAPPY", "UNCOMPRESSED"}  # others unpack a file to thousands of times its size, Snappy to 21 times
_ENCODINGS = {"PLAIN", "RLE", "BIT_PACKED", "PLAIN_DICTIONARY", "RLE_DICTIONARY"}  # others repeat long beginnings


def read_scores(path: Path, names: Sequence[str]) -> pa.Table:
    """Those of some columns that a file has.

    Raises:
        ValueError: no training has written it; an OSError if it is damaged.
    """
    with pq.ParquetFile(path, read_dictionary=[REVIEW]) as file:  # of ids that are repeated, each comes once
        about, size = file.metadata, path.stat().st_size
        groups = [about.row_group(group) for group in range(about.num_row_groups)]
        chunks = [[group.column(number) for group in groups] for number in range(about.num_columns)]
        # A row takes more than a byte, by its id alone.
        if any(sum(chunk.num_values for chunk in column) > min(size, _MOST_ROWS) for column in chunks):
            raise ValueError(f"its {size:,} bytes stand for {about.num_rows:,} rows")
        for chunk in chain.from_iterable(chunks):
            if chunk.compression not in _CODECS or not _ENCODINGS.issuperset(chunk.encodings):
                raise ValueError(f"it is packed by {chunk.compression}, {', '.join(chunk.encodings)}")
        for field in file.schema_arrow:  # Arrow reads what a name and a dot begin, too
            if field.name.partition(".")[0] in names and not _is_read(field):
                raise ValueError(f"its column {field.name} holds {field.type}")
        table = file.read(columns=names)
    if REVIEW in table.column_names and max(map(_longest, table[REVIEW].chunks), default=0) > _LONGEST:
        raise ValueError(f"it has ids of more than {_LONGEST} bytes")
    return table


def _is_read(field: pa.Field) -> bool:
    if field.name == REVIEW:
        return bool(pa.types.is_dictionary(field.type))
    return bool(pa.types.is_integer(field.type) or pa.types.is_floating(field.type))


def _longest(ids: pa.DictionaryArray) -> int:
    return pc.max(pc.binary_length(ids.dictionary)).as_py() or 0
