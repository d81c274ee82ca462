import subprocess
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sentiflow import names
from sentiflow.data import inputs, packed
from sentiflow.data.inputs import open_input
from sentiflow.data.parquet import to_values
from sentiflow.errors import UsageError


def table(folder: Path, name: str = "in.csv", content: str = "text,label,source\ngood,1,web\n") -> Path:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("in.csv", "", "is empty"),
        ("in.txt", "good", "not a supported table"),
        ("in.json", '{"reviews": [\n', "neither an array of objects nor an object a line"),
        ("in.json", "[1, 2]", "neither an array of objects nor an object a line"),
        ("in.docx", "good", "not a supported table"),
        ("in.csv", "PK\x03\x04", "a workbook or an archive"),
    ],
)
def test_an_input_that_cannot_be_read_is_refused(tmp_path: Path, name: str, content: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_input(table(tmp_path, name, content))


def test_a_folder_of_the_parts_of_a_table_is_one_of_tables(tmp_path: Path) -> None:
    (folder := tmp_path / "reviews.parquet").mkdir()
    pq.write_table(pa.table({"text": ["good"]}), folder / "part-0.parquet")
    (source := open_input(folder)).select("text")
    assert [chunk.texts for chunk in source.chunks()] == [["good"]]


@pytest.mark.parametrize("name", ["in.tsv", "in.TXT"])
def test_tabs_separate_the_columns_of_tsv_and_txt_tables_whatever_the_header_holds(
    tmp_path: Path, name: str
) -> None:
    content = 'text\tlabel, or stars\n"good,\nbut long"\t1\n'
    assert open_input(table(tmp_path, name, content)).names == ["text", "label, or stars"]


def test_a_text_file_is_a_table_if_tabs_separate_its_columns(tmp_path: Path) -> None:
    found = table(tmp_path, "a.txt", "text\tlabel\n"), table(tmp_path, "b.tsv", "text\n")
    table(tmp_path, "readme.txt", "What lies here,\tand why\n".replace("\t", " "))
    assert inputs.find_tables(tmp_path).tables == list(found)


def test_a_table_of_a_folder_may_be_a_link_within_it_and_none_that_leads_out(tmp_path: Path) -> None:
    """Red if whoever gives a folder had another's file trained on, or its first line told."""
    (folder := tmp_path / "tables").mkdir()
    (tmp_path / "tables-2").mkdir()
    secret = table(tmp_path / "tables-2", "secret", "S3CRET\n")
    (folder / ".store").mkdir()
    (folder / "b.csv").symlink_to(table(folder / ".store", "b.csv", "text,label\n"))
    (tmp_path / "named").symlink_to(folder)
    assert inputs.find_tables(tmp_path / "named").tables == [tmp_path / "named" / "b.csv"]
    for target in (secret, Path("../tables-2/secret")):
        (folder / "zz.csv").symlink_to(target)
        with pytest.raises(UsageError, match=r"zz\.csv is a link that leads out of the folder"):
            inputs.find_tables(folder)
        (folder / "zz.csv").unlink()


def test_a_name_in_another_case_is_found_unless_one_is_written_so(tmp_path: Path) -> None:
    source = open_input(table(tmp_path, content="Text, LABEL ,TEXT\na,b,c\n"))
    source.select("Text", ("label",))
    (chunk,) = source.chunks()
    assert (chunk.texts, chunk.columns.to_pylist()) == (["a"], [{" LABEL ": "b"}])


@pytest.mark.parametrize(
    "column",
    [pa.array([0], pa.timestamp("us", "No/Where")), pa.array([10**7], pa.int32()).cast(pa.date32())],
    ids=str,
)
def test_values_that_python_has_none_for_are_refused(column: pa.Array) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        to_values(pa.chunked_array([column]))


def test_a_table_is_known_by_the_same_endings_everywhere() -> None:
    """Red if a dataset's name kept the ending of a format that is read."""
    assert set(names._TABLES) == {*inputs._ROWS, *inputs._WHOLE, packed.ARCHIVE}
    assert set(names._COMPRESSED) == set(packed._OPEN)


@pytest.mark.parametrize(
    ("ending", "encoding", "mark"), [("csv", "utf-16-le", b"\xff\xfe"), ("jsonl", "utf-16-be", b"\xfe\xff")]
)
def test_what_a_spreadsheet_saves_as_unicode_text_is_named_with_the_command_that_helps(
    tmp_path: Path, ending: str, encoding: str, mark: bytes
) -> None:
    made = tmp_path / f"a b.{ending}"
    content = "text,label\nnaïve,1\n"
    made.write_bytes(mark + content.encode(encoding))
    with pytest.raises(UsageError, match=r"not UTF-8, but UTF-16") as err:
        open_input(made)
    command = err.value.hint.removeprefix("Convert it: ")
    subprocess.run(["sh", "-c", command], cwd=tmp_path, check=True)
    assert (tmp_path / f"utf8-a b.{ending}").read_text(encoding="utf-8") == content
