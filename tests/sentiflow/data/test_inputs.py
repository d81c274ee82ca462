import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from sentiflow.data import inputs
from sentiflow.data.inputs import open_input, to_values
from sentiflow.data.rows import NOT_UTF8, hints_for
from sentiflow.errors import UsageError
from sentiflow.names import TABLE_SUFFIXES


def table(folder: Path, name: str = "in.csv", content: str = "text,label,source\ngood,1,web\n") -> Path:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("in.csv", "", "is empty"),
        ("in.txt", "good", "not a supported table"),
        ("in.json", "[]", "not a supported table"),
    ],
)
def test_an_input_that_cannot_be_read_is_refused(tmp_path: Path, name: str, content: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_input(table(tmp_path, name, content))


def test_a_missing_input_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file or folder"):
        open_input(tmp_path / "in.csv")


def test_a_folder_of_the_parts_of_a_table_is_no_folder_of_texts(tmp_path: Path) -> None:
    (tmp_path / "reviews.parquet").mkdir()
    with pytest.raises(UsageError, match=r"reviews\.parquet is a folder"):
        open_input(tmp_path / "reviews.parquet")


def test_a_column_named_twice_is_selected_once(tmp_path: Path) -> None:
    source = open_input(table(tmp_path))
    source.select("text", ("source", "text", "Source"))
    assert source.schema.names == ["source", "text"]


def test_a_name_in_another_case_is_found_unless_one_is_written_so(tmp_path: Path) -> None:
    source = open_input(table(tmp_path, content="Text, LABEL ,TEXT\na,b,c\n"))
    source.select("Text", ("label",))
    (chunk,) = source.chunks()
    assert (chunk.texts, chunk.columns.to_pylist()) == (["a"], [{" LABEL ": "b"}])


@pytest.mark.parametrize(
    ("text", "more"),
    [
        ("text", ": for example --text-column texts; a training reads --label-column NAME, too"),
        ("xyz", ": --text-column NAME; a training reads --label-column NAME, too"),
        ("texts", ""),
    ],
)
def test_the_hint_names_the_option_of_the_column_that_is_missing(tmp_path: Path, text: str, more: str) -> None:
    source = open_input(table(tmp_path, content="texts,label\ngood,1\n"))
    with pytest.raises(UsageError) as caught:
        source.select(text, ("lang",))
    assert caught.value.hint == f"Give the names of your columns{more}."


def test_rows_and_lines_are_counted_from_the_first_record(tmp_path: Path) -> None:
    """Red if a record of several lines, or a blank line, moves the numbers of those behind it."""
    source = open_input(table(tmp_path, content='text\n"two\nlines"\n\ngood\n'))
    source.select("text")
    (chunk,) = source.chunks()
    assert (chunk.rows, chunk.lines) == ([1, 2], [2, 5])


def test_a_table_is_one_file_and_a_folder_many(tmp_path: Path) -> None:
    """Red if names of files stand where the columns of a table do, or the other way round."""
    (tmp_path / "a.txt").write_text("good")
    assert (open_input(table(tmp_path)).many, open_input(tmp_path).many) == (False, True)


@pytest.mark.parametrize("place", [0, 2**20 - 1, -(2**20), -1])
def test_another_content_of_the_same_size_and_time_is_told_by_its_head_and_tail(
    tmp_path: Path, place: int
) -> None:
    """Red if a job that was stopped goes on with another file."""
    table, content = tmp_path / "a.csv", bytearray(b"text\n" + b"good film\n" * 300_000)
    table.write_bytes(content)
    before, times = open_input(table).identity(), (table.stat().st_atime_ns, table.stat().st_mtime_ns)
    content[place] ^= 1
    table.write_bytes(content)
    os.utime(table, ns=times)
    after = open_input(table).identity()
    assert {name for name in before if before[name] != after[name]} == {"content"}


def test_times_with_nanoseconds_are_read_without_pandas() -> None:
    """The serving image has none; pyarrow gives pandas' Timestamp for them, else an error."""
    code = """
import sys

class WithoutPandas:
    def find_spec(name, *_):
        if name == "pandas":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, WithoutPandas)
import pyarrow as pa
from sentiflow.data import inputs
from sentiflow.data.inputs import to_values
nanosecond = pa.py_buffer((1).to_bytes(8, "little"))
print(to_values(pa.chunked_array([pa.Array.from_buffers(pa.timestamp("ns"), 1, [None, nanosecond])])))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "['1970-01-01 00:00:00.000000001']\n"


def test_whole_microseconds_look_alike_in_whatever_unit() -> None:
    moment = datetime(2026, 3, 5, 1, 2, 3, 4, tzinfo=UTC)
    for unit in ("us", "ns"):
        values = to_values(pa.chunked_array([pa.array([moment, None], pa.timestamp(unit, "UTC"))]))
        assert (values, type(values[0])) == ([moment, None], datetime)  # no pandas' Timestamp, which is equal


def test_a_time_zone_that_nobody_knows_is_told_in_whatever_unit() -> None:
    for unit in ("us", "ns"):
        column = pa.chunked_array(
            [pa.array([0], pa.int64()).cast(pa.timestamp(unit)).cast(pa.timestamp(unit, "No/Where"))]
        )
        with pytest.raises(UsageError, match="has values that Python has none for"):
            to_values(column)


@pytest.mark.parametrize(
    ("name", "hint"), [("a.csv", "iconv"), ("a.ndjson", "iconv"), ("a.parquet", "Write those")]
)
def test_the_hint_about_an_encoding_is_for_files_of_text(name: str, hint: str) -> None:
    assert hint in hints_for([NOT_UTF8], Path(name))[0]


def test_a_table_is_known_by_the_same_endings_everywhere() -> None:
    """Red if a dataset's name kept the ending of a format that is read."""
    assert tuple(inputs._KINDS) == TABLE_SUFFIXES
