import json
import os
import random
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sentiflow.batch import output as module
from sentiflow.batch.output import Job, Parts
from sentiflow.data.rejects import Reject
from sentiflow.data.rows import Chunk
from sentiflow.errors import ExternalError

JOB = Job("/in.csv", {"size": 7}, "text", False, ["id"], "m", 3, "abc")
SCHEMA = pa.schema([("row", pa.int64()), ("score", pa.float64())])


def table(*rows: int) -> pa.Table:
    """Row n has the score n / 10."""
    return pa.table({"row": rows, "score": [row / 10 for row in rows]}, schema=SCHEMA)


def chunk(number: int, *rows: int, rejects: tuple[Reject, ...] = (), text: str = "good") -> Chunk:
    return Chunk(number, [*rows], [0] * len(rows), [text] * len(rows), pa.table({}), [*rejects], 0)


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    """A job of which two parts of three are done."""
    made = Parts(tmp_path / "out.parquet")
    made.begin(JOB)
    made.add(chunk(0, 0, 1), table(0, 1))
    rejects = Reject(4, 9, "", "no text", ""), Reject(6, 0, "", "not text: number", "7")
    made.add(chunk(2, 5, rejects=rejects), table(5))
    return made


def file_of(parts: Parts, number: int) -> Path:
    (found,) = parts.folder.glob(f"{number:08d}.*.arrow")
    return found


def test_another_process_finds_job_and_parts(parts: Parts) -> None:
    again = Parts(parts.output)
    assert again.left() == JOB
    again.resume()
    assert again.rows == {0: 2, 2: 3}


def test_the_name_of_an_output_need_not_be_utf_8(tmp_path: Path) -> None:
    """Red if what is done were deleted as damaged."""
    made = Parts(tmp_path / os.fsdecode(b"caf\xe9.csv"))
    made.begin(JOB)
    made.add(chunk(0, 0, 1), table(0, 1))
    again = Parts(made.output)
    again.resume()
    assert again.rows == {0: 2}
    again.finish(SCHEMA, -1.0)
    assert made.output.read_text() == "row,score\n0,0.0\n1,0.1\n"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"source": "of another format"}'])
def test_a_job_that_cannot_be_told_is_none(parts: Parts, content: str) -> None:
    (parts.folder / "job.json").write_text(content)
    assert Parts(parts.output).left() is None


@pytest.mark.parametrize("code", ["parts 0", *(f"parts {k}, pyarrow {pa.__version__}" for k in (1, 2, 3))])
def test_a_job_of_another_format_is_another_job(parts: Parts, code: str) -> None:
    assert replace(JOB, code=code) != parts.left()


@pytest.mark.parametrize("size", [0, 100, -1])
def test_a_damaged_part_and_one_half_written_are_none(parts: Parts, size: int) -> None:
    part = file_of(parts, 2)
    os.truncate(part, size if size >= 0 else part.stat().st_size - 1)
    (parts.folder / ".00000001.abc.arrow.abc.partial").write_bytes(b"half")
    again = Parts(parts.output)
    again.resume()
    assert again.rows == {0: 2}
    assert set(parts.folder.iterdir()) == {file_of(parts, 0), parts.folder / "job.json"}


def test_one_wrong_bit_in_a_part_is_noticed(parts: Parts) -> None:
    """Red if scores of other values were put into the output."""
    part, random_ = file_of(parts, 2), random.Random(1)
    right = part.read_bytes()
    for _ in range(200):
        content = bytearray(right)
        content[random_.randrange(len(content))] ^= 1 << random_.randrange(8)
        part.write_bytes(content)
        again = Parts(parts.output)
        again.resume()
        assert again.rows == {0: 2} and not part.exists()
    part.write_bytes(content)
    with pytest.raises(ExternalError, match="gone or damaged"):
        parts.finish(SCHEMA, -1.0)


@pytest.mark.parametrize(
    ("other", "held"),
    [
        (chunk(0, 0, 1), True),
        (chunk(0, 0, 1, text="bad"), False),
        (chunk(0, 1, 2), False),
        (replace(chunk(0, 0, 1), lines=[0, 1]), False),
        (replace(chunk(0, 0, 1), columns=pa.table({"id": [1, 2]})), False),
        (chunk(0, 0, 1, rejects=(Reject(2, 0, "", "no text", ""),)), False),
        (chunk(1, 0, 1), False),
    ],
    ids=["same", "text", "row", "line", "column", "reject", "number"],
)
def test_a_chunk_is_done_only_with_what_was_read_for_it(parts: Parts, other: Chunk, held: bool) -> None:
    again = Parts(parts.output)
    again.resume()
    assert (again.holds(other), again.changed) == (held, 0 if held or other.number else 2)


def test_what_stands_beyond_the_input_is_forgotten(parts: Parts) -> None:
    again = Parts(parts.output)
    again.resume()
    again.end(2)
    assert (again.rows, again.changed) == ({0: 2}, 3)


def test_the_output_holds_the_parts_in_order_whatever_order_they_were_done_in(parts: Parts) -> None:
    parts.add(chunk(1, 2, 3), table(2, 3))
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
    assert modes(parts.folder) == {
        "job.json": 0o600, file_of(parts, 0).name: 0o600, file_of(parts, 2).name: 0o600,
    }  # fmt: skip
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
    parts.add(chunk(0, 0), table(0))
    assert parts.finish(SCHEMA, -1.0).rejects is None
    assert [path.name for path in parts.output.parent.iterdir()] == ["out.parquet"]


def test_a_job_begun_anew_finds_nothing_done(parts: Parts) -> None:
    again = Parts(parts.output)
    again.begin(JOB)
    again.resume()
    assert again.rows == {}


def test_a_part_that_vanished_is_told_and_no_output_appears(parts: Parts) -> None:
    file_of(parts, 0).unlink()
    with pytest.raises(ExternalError, match="gone or damaged"):
        parts.finish(SCHEMA, -1.0)
    assert not parts.output.exists()


def test_small_parts_become_few_row_groups(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_GROUP_ROWS", 10)
    parts.begin(JOB)
    for number in range(25):
        parts.add(chunk(number, number), table(number))
    parts.finish(SCHEMA, -1.0)
    about = pq.read_metadata(parts.output)
    assert [about.row_group(k).num_rows for k in range(about.num_row_groups)] == [10, 10, 5]
