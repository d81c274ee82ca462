"""The table of scores: its columns, and a chunk of it."""

from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sentiment.batch.arrays import numbers, strings
from sentiment.batch.source import Chunk, Source
from sentiment.scoring import is_positive

_OWN = ".parquet"

_ROW = pa.field("row", pa.int64())
_SCORED = [
    pa.field("label", pa.string()),
    pa.field("score", pa.float64()),
    pa.field("model", pa.string()),
    pa.field("version", pa.int32()),
]


def rejects_of(output: Path) -> Path:
    """The file of an output's rejects.

    Example:
        >>> rejects_of(Path("scores.parquet")).name, rejects_of(Path("scores")).name
        ('scores.rejects.jsonl', 'scores-rejects.jsonl')
    """
    usual = output.name.endswith(_OWN)
    return output.with_name(output.name.removesuffix(_OWN) + (".rejects.jsonl" if usual else "-rejects.jsonl"))


def output_schema(source: Source) -> pa.Schema:
    """The output's columns: row, for a folder the file, label, score, model, version, and those kept."""
    files, kept = (list(source.schema), []) if source.many else ([], list(source.schema))
    return pa.schema([_ROW, *files, *_SCORED, *kept])


def own_names(source: Source) -> list[str]:
    """The output's columns that are not kept ones."""
    return [field.name for field in [_ROW, *(source.schema if source.many else []), *_SCORED]]


def to_table(chunk: Chunk, scores: NDArray[np.float64], model: str, version: int, schema: pa.Schema) -> pa.Table:
    """The scored rows of a chunk, in the output's columns."""
    n = len(scores)
    own = {
        "row": numbers(np.array(chunk.rows, np.int64)),
        "label": strings(np.where(is_positive(scores), "positive", "negative").tolist()),
        "score": numbers(scores),
        "model": strings([model] * n),
        "version": numbers(np.full(n, version, np.int32)),
    }
    columns = [own[name] if name in own else chunk.columns[name] for name in schema.names]
    return pa.table(columns, schema=schema)
