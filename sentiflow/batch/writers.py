"""The output of scoring: CSV, JSON Lines or Parquet, and its rejects; each appears whole, at the end."""

import csv
import io
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from sentiflow.data.parquet import to_values
from sentiflow.data.rows import Chunk, Input, grouped_tables, kind_of, numbers, rejects_of, strings
from sentiflow.errors import UsageError
from sentiflow.files import PARTIAL, create_private, leftovers, publish
from sentiflow.locks import file_lock
from sentiflow.store.records import Version


@contextmanager
def output_lock(output: Path) -> Iterator[None]:
    """Hold an output while it is made; its folder is made, too."""
    path = output.with_name(f".{output.name}.lock")
    with file_lock(
        path, f"Another scoring into {output}", "scoring", hint="Wait for it, or name another output with -o."
    ):
        try:
            yield
        finally:
            path.unlink(missing_ok=True)  # while held: who waits for this file finds it gone, and opens the next


_SCORED = [("label", pa.string()), ("score", pa.float64()), ("model", pa.string()), ("version", pa.int32())]


def output_schema(source: Input, with_text: bool, labels: str = "") -> pa.Schema:
    """The output's columns, its own, then those kept; that of ``labels`` is ``true_...`` if its name is taken."""
    files, kept = (list(source.schema), []) if source.many else ([], list(source.schema))
    text = [("text", pa.string())] if with_text else []
    own = pa.schema([("row", pa.int64()), *files, *_SCORED, *text])
    named = [field.with_name(f"true_{labels}") if field.name == labels in own.names else field for field in kept]
    for place, field in enumerate(named):
        if field.name in [*own.names, *(each.name for each in named[:place])]:
            raise UsageError(
                f"The output has a column {field.name} of its own, so {field.name} of the input cannot be kept.",
                f"Rename it in the input; the output's own are: {', '.join(own.names)}.",
            )
    return pa.schema([*own, *named])


def to_table(
    chunk: Chunk, scores: NDArray[np.float64], labels: Sequence[str], version: Version, schema: pa.Schema
) -> pa.Table:
    """The scored rows of a chunk, in the output's columns; each has its label."""
    n = len(scores)
    own = {
        "row": numbers(np.array(chunk.rows, np.int64)),
        "label": strings(labels),
        "score": numbers(scores),
        "model": strings([version.name] * n),
        "version": numbers(np.full(n, version.number, np.int32)) if version.number else pa.nulls(n, pa.int32()),
    }
    if "text" in set(schema.names) - set(chunk.columns.schema.names):
        own["text"] = strings(chunk.texts)
    columns = [own[name] if name in own else chunk.columns[name] for name in schema.names]
    return pa.table(columns, schema=schema)


Write = Callable[[pa.Table], None]


@contextmanager
def _parquet(file: BinaryIO, schema: pa.Schema) -> Iterator[Write]:
    with pq.ParquetWriter(file, schema, compression="zstd") as out:
        yield out.write_table


def _cell(value: Any) -> Any:
    return None if value != value else value


@contextmanager
def _csv(file: BinaryIO, schema: pa.Schema) -> Iterator[Write]:
    """A header and a line a row; a missing value is an empty field."""
    stream = _UnixLines(file, "utf-8", newline="")
    out = csv.writer(stream, lineterminator="\r\n")
    out.writerow(schema.names)
    yield lambda table: out.writerows(zip(*(map(_cell, to_values(each)) for each in table.columns), strict=True))
    stream.detach()


class _UnixLines(io.TextIOWrapper):
    """Lines of csv that end in a line feed. Before Python 3.13 csv quotes what its own line end holds alone."""

    def write(self, line: str) -> int:
        return super().write(line.removesuffix("\r\n") + "\n")


def _finite(value: Any) -> Any:
    """A value, but null for what JSON has no number for."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextmanager
def _json_lines(file: BinaryIO, schema: pa.Schema) -> Iterator[Write]:

    def write(table: pa.Table) -> None:
        for values in zip(*map(to_values, table.columns), strict=True):
            row = dict(zip(schema.names, map(_finite, values), strict=True))
            file.write(f"{json.dumps(row, ensure_ascii=False, default=str, allow_nan=False)}\n".encode())

    yield write


_WRITERS = {".csv": _csv, ".jsonl": _json_lines, ".parquet": _parquet}
_HINT = f"-o names the file to write; it ends in {', '.join(_WRITERS)}, and rejects go to a file beside it."


def check_output(output: Path, source: Path | None = None) -> None:
    """Check that an output can be put there at all, and would not replace its input."""
    if output.suffix.lower() not in _WRITERS:
        raise UsageError(f"{output}: not a supported format.", _HINT)
    if not output.parent.is_dir():
        raise UsageError(f"There is no folder {output.parent}.", "Make it, or name a file elsewhere.")
    for written in (output, rejects_of(output)):
        if written.exists() and not written.is_file():
            raise UsageError(f"{written} is a folder, a device or a pipe.", _HINT)
        if source is not None and written.exists() and written.samefile(source):
            raise UsageError(f"{written} is the input; it would be replaced.", "Name another output with -o.")


_EQUAL = 1e-12  # two scores of the same ids, from batches of different sizes
_GROUP_ROWS, _GROUP_SIZE = 65_536, 16_000_000  # rows and bytes gathered for a row group of the output


@dataclass(frozen=True)
class Totals:
    """What a finished job came to."""

    rows: int  # of the input; each is scored, or rejected and counted by kind of reason
    scored: int
    blank: int  # how many texts were scored without a word that the model knows
    reasons: dict[str, int]
    rejects: Path | None

    @property
    def note(self) -> str:
        texts = "1 text holds" if self.blank == 1 else f"{self.blank:,} texts hold"
        return f"; {texts} no word that the model knows" if self.blank else ""


def write_output(
    scored: Iterable[tuple[Chunk, pa.Table]], output: Path, schema: pa.Schema, blank_score: float
) -> Totals:
    """Write chunks with the table of each to the output, and their rejects beside it, for their owner alone.

    Texts with the score of an empty text are counted: the model knows no word of them. An exception of the chunks,
    or a full disk, leaves what was there before.
    """
    writer = _WRITERS[output.suffix.lower()]
    rejects, lines = rejects_of(output), output.with_name(f".{output.name}.rejects{PARTIAL}")
    reasons: Counter[str] = Counter()
    count = blank = 0
    for left in leftovers(output):  # by a killed process
        left.unlink()

    def tables(stream: BinaryIO) -> Iterator[pa.Table]:
        for chunk, table in scored:
            for reject in chunk.rejects:
                stream.write(f"{reject.to_json()}\n".encode())
                reasons[kind_of(reject.reason)] += 1
            yield table

    def write(path: Path) -> None:
        nonlocal count, blank
        with create_private(lines) as stream, create_private(path) as file, writer(file, schema) as add:
            for group in grouped_tables(tables(stream), _GROUP_ROWS, _GROUP_SIZE):
                add(group)
                count += len(group)
                for part in group["score"].chunks:
                    scores = np.asarray(np.from_dlpack(part), np.float64)
                    blank += int((abs(scores - blank_score) < _EQUAL).sum())
        if reasons:
            lines.replace(rejects)
        else:
            rejects.unlink(missing_ok=True)  # an earlier run's

    try:
        publish(output, write)
    finally:
        lines.unlink(missing_ok=True)
    there = rejects if reasons else None
    return Totals(count + reasons.total(), count, blank, dict(reasons.most_common()), there)
