import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from sentiflow.data.inputs import open_input
from sentiflow.data.rows import (
    TOO_LONG,
    Chunk,
    Reject,
    by_label,
    count_left_out,
    find_columns,
    grouped_tables,
    numbers,
    strings,
    why_not,
)
from sentiflow.errors import UsageError
from sentiflow.files import LONGEST


def chunks_of(path: Path) -> list[Chunk]:
    source = open_input(path)
    source.select("text", ("id",) if path.is_file() else ())
    return list(source.chunks())


def test_a_chunk_of_a_csv_has_2048_rows(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("text,id\n" + "good,1\n" * 2_049)
    assert [len(chunk) for chunk in chunks_of(tmp_path / "in.csv")] == [2_048, 1]


@pytest.mark.parametrize(("most", "lengths"), [(10, [2, 2, 2]), (11, [3, 3])])
def test_a_chunk_ends_with_the_row_that_reaches_the_bound_of_characters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int, lengths: list[int]
) -> None:
    """Six rows of five characters each, the column that goes along included."""
    monkeypatch.setattr("sentiflow.data.rows.CHUNK_SIZE", most)
    (tmp_path / "in.csv").write_text("text,id\n" + "good,1\n" * 6)
    assert [len(chunk) for chunk in chunks_of(tmp_path / "in.csv")] == lengths


def test_the_files_of_a_folder_are_units_of_its_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sentiflow.data.rows.CHUNK_ROWS", 2)
    for k in range(5):
        (tmp_path / f"{k}.txt").write_text("good" if k else "")  # the first is rejected
    chunks = chunks_of(tmp_path)
    assert [(chunk.rows, len(chunk), chunk.units) for chunk in chunks] == [
        ([2], 2, 2),
        ([3, 4], 2, 2),
        ([5], 1, 1),
    ]


@pytest.mark.parametrize(
    ("rows", "size", "lengths"),
    [(4, 1_000, [4, 4, 4]), (5, 1_000, [6, 6]), (100, 32, [4, 4, 4]), (100, 33, [6, 6]), (100, 1_000, [12])],
)
def test_tables_are_put_together_up_to_a_number_of_rows_or_of_bytes(
    rows: int, size: int, lengths: list[int]
) -> None:
    """Six tables of 2 rows of 8 bytes each."""
    tables = [pa.table({"n": pa.array([2 * k, 2 * k + 1], pa.int64())}) for k in range(6)]
    made = list(grouped_tables(tables, rows, size))
    assert [len(table) for table in made] == lengths
    assert pa.concat_tables(made)["n"].to_pylist() == list(range(12))


def test_the_name_of_a_column_cannot_command_the_terminal(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there are: '\\x1b\[2J', x{60}\."):
        find_columns(tmp_path, ["\x1b[2J", "x" * 61], "text")


@pytest.mark.parametrize(
    "values", [[], [None], ["a", None, "", "é😀", "a\x00b"] * 5, [None] * 9, ["x" * 300_000, "y"]], ids=len
)
def test_strings_are_what_pyarrow_makes_of_them(values: list[str | None]) -> None:
    made = strings(values)
    made.validate(full=True)
    assert made.equals(pa.array(values, pa.string()))


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.float64])
def test_numbers_are_what_pyarrow_makes_of_them(kind: type) -> None:
    values = np.arange(10).astype(kind)[::3]  # not contiguous
    assert numbers(values).equals(pa.array(values))
    assert numbers(values[:0]).equals(pa.array(values[:0]))


def test_a_reject_is_one_line_of_plain_characters() -> None:
    line = Reject(3, 5, "", "no text", "\u2028é\n").to_json()
    assert line.isascii() and "\n" not in line
    assert json.loads(line) == {"row": 3, "line": 5, "reason": "no text", "value": "\u2028é\n"}
    assert json.loads(Reject(3, 0, "a.txt", "no text", "").to_json()) == {
        "row": 3,
        "source": "a.txt",
        "reason": "no text",
        "value": "",
    }


def test_a_text_too_long_to_hold_is_told_so() -> None:
    assert (why_not("a" * LONGEST), why_not("a" * (LONGEST + 1))) == ("", TOO_LONG)


def test_rows_that_are_left_out_are_counted_with_their_labels() -> None:
    assert count_left_out({"3": 600, "": 8}) == "608 rows left out (label 3, none)"
    assert by_label({"mixed": 1, "Mixed": 3, "": 4, "MIXED": 2}) == {"Mixed": 6, "": 4}
    assert count_left_out({"unsure": 1}) == "1 row left out (label unsure)"
