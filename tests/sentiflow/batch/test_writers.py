"""Tests of where an output may go, and what it holds in each format."""

import csv
import io
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sentiflow.batch.writers import check_output, output_schema, to_table, write_output
from sentiflow.data.inputs import open_input
from sentiflow.data.rows import Chunk, Reject, rejects_of
from sentiflow.errors import UsageError
from sentiflow.store.records import Version

SCHEMA = pa.schema([("row", pa.int64()), ("score", pa.float64())])


def done(*rows: int, rejects: tuple[Reject, ...] = ()) -> tuple[Chunk, pa.Table]:
    """A chunk and its table; row n has the score n / 10."""
    chunk = Chunk([*rows], [0] * len(rows), ["good"] * len(rows), pa.table({}), [*rejects], 0)
    return chunk, pa.table({"row": rows, "score": [row / 10 for row in rows]}, schema=SCHEMA)


@pytest.mark.parametrize(
    ("source", "output", "message"),
    [
        ("in.csv", "made.csv", "is a folder, a device or a pipe"),
        ("in.csv", "pipe.csv", "is a folder, a device or a pipe"),
        ("in.csv", "rejecting.parquet", "is a folder"),  # of its rejects
        ("in.csv", "missing/out.csv", "There is no folder .*missing"),
        ("in.csv", "out.tsv", "not a supported format"),
        ("in.csv", "out", "not a supported format"),
        ("in.parquet", "in.parquet", "is the input"),
        ("in.parquet.rejects.jsonl", "in.parquet", r"in\.parquet\.rejects\.jsonl is the input"),
    ],
)
def test_an_output_that_would_mislead_or_destroy_is_refused(
    tmp_path: Path, source: str, output: str, message: str
) -> None:
    for folder in ("made.csv", "rejecting.parquet.rejects.jsonl"):
        (tmp_path / folder).mkdir()
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / source).write_text("text\ngood\n")
    with pytest.raises(UsageError, match=message):
        check_output(tmp_path / output, tmp_path / source)


COLUMNS = {
    "text": ['good, "very"\ngood', "na\u2028ïve", "fine"],
    "id": [7, None, 9],
    "tag": ["a, é", None, ""],
}


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str], Path]:
    """Scores of a table with columns of several types, in a format."""

    def write(name: str) -> Path:
        path, output = tmp_path / "in.parquet", tmp_path / name
        pq.write_table(pa.table(COLUMNS), path)
        source = open_input(path)
        source.select("text", ("id", "tag"))
        schema = output_schema(source, with_text=True)
        [chunk] = source.chunks()
        scores = np.array([0.25, 0.75, 0.1 + 0.2])
        table = to_table(chunk, scores, ["=no", "praise", "=no"], Version("m", 3, ""), schema)
        write_output([(replace(chunk, rejects=[Reject(4, 8, "", "no text", "")]), table)], output, schema, -1.0)
        return output

    return write


def test_a_csv_has_a_header_and_gives_texts_and_scores_back(written: Callable[[str], Path]) -> None:
    with written("out.csv").open(encoding="utf-8", newline="") as stream:
        header, *rows = csv.reader(stream)
    assert header == ["row", "label", "score", "model", "version", "text", "id", "tag"]
    assert rows == [
        ["1", "=no", "0.25", "m", "3", COLUMNS["text"][0], "7", "a, é"],
        ["2", "praise", "0.75", "m", "3", COLUMNS["text"][1], "", ""],
        ["3", "=no", "0.30000000000000004", "m", "3", "fine", "9", ""],
    ]


def test_json_lines_and_parquet_hold_the_same_rows_typed(written: Callable[[str], Path]) -> None:
    lines = [json.loads(line) for line in written("out.jsonl").read_text("utf-8").split("\n")[:-1]]
    assert lines == pq.read_table(written("out.PARQUET")).to_pylist()
    assert lines[1] == {"row": 2, "label": "praise", "score": 0.75, "model": "m", "version": 3,
                        "text": COLUMNS["text"][1], "id": None, "tag": None}  # fmt: skip


def finished(output: Path, columns: dict[str, pa.Array]) -> str:
    table = pa.table({**columns, "score": pa.array([0.5] * len(next(iter(columns.values()))))})
    write_output([(done(0)[0], table)], output, table.schema, -1.0)
    return output.read_text("utf-8")


@pytest.mark.parametrize("text", ["a\rb", "a\r\nb", "a\nb", "a\r", 'a,"\r"'])
def test_a_csv_gives_line_ends_inside_of_a_text_back(tmp_path: Path, text: str) -> None:
    """Before Python 3.13, csv leaves a lone carriage return without quotes."""
    finished(tmp_path / "out.csv", {"text": pa.array([text])})
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as stream:
        whole = stream.read()
    assert list(csv.reader(io.StringIO(whole, newline=""))) == [["text", "score"], [text, "0.5"]]
    assert whole.startswith("text,score\n") and whole.endswith(",0.5\n")


def modes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}


REJECTS = Reject(4, 9, "", "no text", ""), Reject(6, 0, "", "not text: number", "7")


def test_rows_and_rejects_are_written_in_order_for_their_owner_alone_and_counted(tmp_path: Path) -> None:
    output = tmp_path / "out.parquet"
    for path in (output, rejects_of(output)):  # of an earlier run, open to all
        path.write_bytes(b"")
        path.chmod(0o644)
    (tmp_path / ".out.parquet.12345678.partial").write_bytes(b"left by a killed process")
    seen = []

    def scored() -> Iterator[tuple[Chunk, pa.Table]]:
        seen.append(modes(tmp_path))
        yield done(0, 1)
        yield done(3, 5, rejects=REJECTS)

    totals = write_output(scored(), output, SCHEMA, 0.3)
    assert pq.read_table(output)["row"].to_pylist() == [0, 1, 3, 5]
    assert (totals.rows, totals.scored, totals.reasons) == (6, 4, {"no text": 1, "not text": 1})
    assert totals.blank == 1, "row 3 has the score of a text without a known word"
    assert [json.loads(line)["row"] for line in rejects_of(output).read_text().splitlines()] == [4, 6]
    assert modes(tmp_path) == {"out.parquet": 0o600, "out.parquet.rejects.jsonl": 0o600}
    assert [mode for name, mode in seen[0].items() if name.startswith(".")] == [0o600, 0o600]
    assert write_output([done(0)], output, SCHEMA, -1.0).rejects is None
    assert [path.name for path in tmp_path.iterdir()] == ["out.parquet"]  # no rejects of an earlier run


def test_an_error_leaves_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    output = tmp_path / os.fsdecode(b"caf\xe9.csv")  # a name need not be UTF-8
    output.write_text("earlier")

    def scored() -> Iterator[tuple[Chunk, pa.Table]]:
        yield done(0, rejects=REJECTS)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_output(scored(), output, SCHEMA, -1.0)
    assert [(path, path.read_text()) for path in tmp_path.iterdir()] == [(output, "earlier")]
