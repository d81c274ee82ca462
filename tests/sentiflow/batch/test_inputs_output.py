"""Tests of where an output may go."""

import os
from pathlib import Path

import pytest

from sentiflow.batch.inputs import check_output
from sentiflow.batch.output import rejects_of
from sentiflow.errors import UsageError


def test_a_pipe_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    source, pipe = tmp_path / "in.csv", tmp_path / "pipe"
    source.write_text("text\ngood\n")
    os.mkfifo(pipe)
    with pytest.raises(UsageError, match="is a device or a pipe"):
        check_output(source, pipe)


def test_a_folder_in_the_place_of_the_rejects_is_told_before_the_work(tmp_path: Path) -> None:
    source, output = tmp_path / "in.csv", tmp_path / "out.parquet"
    source.write_text("text\ngood\n")
    rejects_of(output).mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        check_output(source, output)


def test_outputs_of_other_names_have_other_rejects() -> None:
    names = ["s", "s.parquet", "s.2025", "s.2026", "s.pq"]
    assert len({rejects_of(Path(name)) for name in names}) == len(names)
