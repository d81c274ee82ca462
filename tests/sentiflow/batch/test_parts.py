import json
import os
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sentiflow.batch import output as module
from sentiflow.batch.output import Job, Parts
from sentiflow.data.rows import Reject
from sentiflow.errors import ExternalError

JOB = Job("/in.csv", {"size": 7}, "text", False, ["id"], "m", 3, "abc")
SCHEMA = pa.schema([("row", pa.int64()), ("score", pa.float64())])


def table(*rows: int) -> pa.Table:
    """Row n has the score n / 10."""
    return pa.table({"row": rows, "score": [row / 10 for row in rows]}, schema=SCHEMA)


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    """A job of which two parts of three are done."""
    made = Parts(tmp_path / "out.parquet")
    made.begin(JOB)
    made.add(0, table(0, 1), [])
    made.add(2, table(5), [Reject(4, 9, "", "no text", ""), Reject(6, 0, "", "not text: number", "7")])
    return made


def test_another_process_finds_job_and_parts(parts: Parts) -> None:
    again = Parts(parts.output)
    assert again.left() == JOB
    again.resume()
    assert again.rows == {0: 2, 2: 3}


def test_the_name_of_an_output_need_not_be_utf_8(tmp_path: Path) -> None:
    """Red if what is done were deleted as damaged."""
    made = Parts(tmp_path / os.fsdecode(b"caf\xe9.csv"))
    made.begin(JOB)
    made.add(0, table(0, 1), [])
    again = Parts(made.output)
    again.resume()
    assert again.rows == {0: 2}
    again.finish(SCHEMA, -1.0)
    assert made.output.read_text() == "row,score\n0,0.0\n1,0.1\n"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"source": "of another format"}'])
def test_a_job_that_cannot_be_told_is_none(parts: Parts, content: str) -> None:
    (parts.folder / "job.json").write_text(content)
    assert Parts(parts.output).left() is None


@pytest.mark.parametrize("code", ["parts 0", *(f"parts {k}, pyarrow {pa.__version__}" for k in (1, 2))])
def test_a_job_of_another_format_is_another_job(parts: Parts, code: str) -> None:
    assert replace(JOB, code=code) != parts.left()


@pytest.mark.parametrize("size", [0, 100, -1])
def test_a_damaged_part_and_one_half_written_are_none(parts: Parts, size: int) -> None:
    part = parts.folder / "00000002.arrow"
    os.truncate(part, size if size >= 0 else part.stat().st_size - 1)
    (parts.folder / ".00000001.arrow.abc.partial").write_bytes(b"half")
    again = Parts(parts.output)
    again.resume()
    assert again.rows == {0: 2}
    assert sorted(path.name for path in parts.folder.iterdir()) == ["00000000.arrow", "job.json"]


def test_the_output_holds_the_parts_in_order_whatever_order_they_were_done_in(parts: Parts) -> None:
    parts.add(1, table(2, 3), [])
    totals = parts.finish(SCHEMA, 0.3)
    assert pq.read_table(parts.output)["row"].to_pylist() == [0, 1, 2, 3, 5]
    assert (totals.rows, totals.scored, totals.reasons) == (7, 5, {"no text": 1, "not text": 1})
    assert totals.blank == 1, "row 3 has the score of a text without a known word"
    lines = (parts.output.parent / "out.parquet.rejects.jsonl").read_text().splitlines()
    assert [json.loads(line)["row"] for line in lines] == [4, 6]
    assert sorted(path.name for path in parts.output.parent.iterdir()) == [
        "out.parquet",
        "out.parquet.rejects.jsonl",
    ]


def modes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}


def test_nobody_else_can_read_what_is_written(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    assert parts.folder.stat().st_mode & 0o777 == 0o700
    assert modes(parts.folder) == {"job.json": 0o644, "00000000.arrow": 0o600, "00000002.arrow": 0o600}
    output = parts.output
    for path in (output, output.with_name("out.parquet.rejects.jsonl")):  # of an earlier run, open to all
        path.write_bytes(b"")
        path.chmod(0o644)
    before = []
    replace_ = Path.replace
    monkeypatch.setattr(
        Path, "replace", lambda self, to: (before.append(self.stat().st_mode & 0o777), replace_(self, to))[1]
    )
    parts.finish(SCHEMA, -1.0)
    assert before == [0o600, 0o600]
    assert modes(output.parent) == {"out.parquet": 0o600, "out.parquet.rejects.jsonl": 0o600}


def test_rejects_of_an_earlier_run_go_when_there_are_none(parts: Parts) -> None:
    parts.finish(SCHEMA, -1.0)
    parts.begin(JOB)
    parts.add(0, table(0), [])
    assert parts.finish(SCHEMA, -1.0).rejects is None
    assert [path.name for path in parts.output.parent.iterdir()] == ["out.parquet"]


def test_a_job_begun_anew_finds_nothing_done(parts: Parts) -> None:
    again = Parts(parts.output)
    again.begin(JOB)
    again.resume()
    assert again.rows == {}


def test_a_part_that_vanished_is_told_and_no_output_appears(parts: Parts) -> None:
    (parts.folder / "00000000.arrow").unlink()
    with pytest.raises(ExternalError, match="gone or damaged"):
        parts.finish(SCHEMA, -1.0)
    assert not parts.output.exists()


def test_small_parts_become_few_row_groups(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_GROUP_ROWS", 10)
    parts.begin(JOB)
    for number in range(25):
        parts.add(number, table(number), [])
    parts.finish(SCHEMA, -1.0)
    about = pq.read_metadata(parts.output)
    assert [about.row_group(k).num_rows for k in range(about.num_row_groups)] == [10, 10, 5]
