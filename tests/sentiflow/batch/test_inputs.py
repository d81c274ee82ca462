from pathlib import Path

import pytest

from sentiflow.batch.inputs import check_output, open_source
from sentiflow.errors import UsageError


def table(folder: Path, name: str = "in.csv", content: str = "text,label,source\ngood,1,web\n") -> Path:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("in.csv", "", "is empty"),
        ("in.txt", "good", "no kind of input that can be read"),
        ("in.json", "[]", "no kind of input that can be read"),
    ],
)
def test_an_input_that_cannot_be_read_is_refused(tmp_path: Path, name: str, content: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_source(table(tmp_path, name, content), "text", ())


def test_a_missing_input_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file or folder"):
        open_source(tmp_path / "in.csv", "text", ())


def test_a_kept_column_named_like_one_of_the_output_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="label of the input cannot be kept"):
        open_source(table(tmp_path), "text", ("label",))


def test_source_is_a_column_of_the_output_for_folders_only(tmp_path: Path) -> None:
    assert open_source(table(tmp_path), "text", ("source",)).schema.names == ["source"]


def test_a_column_kept_twice_is_kept_once(tmp_path: Path) -> None:
    assert open_source(table(tmp_path), "text", ("source", "text", "source")).schema.names == ["source", "text"]


@pytest.mark.parametrize(
    ("source", "output", "message"),
    [
        ("in.csv", ".", "is a folder"),
        ("in.csv", "out.csv", "the output is a Parquet file"),
        ("in.parquet", "in.parquet", "is the input"),
        ("in.rejects.jsonl", "in.parquet", r"in\.rejects\.jsonl is the input"),
    ],
)
def test_an_output_that_would_mislead_or_destroy_is_refused(
    tmp_path: Path, source: str, output: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        check_output(table(tmp_path, source), tmp_path / output)
