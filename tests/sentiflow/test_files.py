"""Tests of files that appear whole or not at all."""

from pathlib import Path

import pytest

from sentiflow.files import make_folder, publish


def fail(path: Path) -> None:
    path.write_text("half", encoding="utf-8")
    raise OSError("no space left")


def test_a_file_appears_with_what_was_written(tmp_path: Path) -> None:
    publish(tmp_path / "a" / "b.txt", lambda path: path.write_text("whole", encoding="utf-8"))
    assert (tmp_path / "a" / "b.txt").read_text(encoding="utf-8") == "whole"


def test_an_old_file_is_replaced(tmp_path: Path) -> None:
    target = tmp_path / "b.txt"
    target.write_text("old", encoding="utf-8")
    publish(target, lambda path: path.write_text("new", encoding="utf-8"))
    assert target.read_text(encoding="utf-8") == "new"


def test_the_target_is_not_there_while_it_is_written(tmp_path: Path) -> None:
    seen = []
    target = tmp_path / "b.txt"

    def write(path: Path) -> None:
        path.write_text("x", encoding="utf-8")
        seen.append(target.exists())

    publish(target, write)
    assert seen == [False]


def test_the_temporary_file_stands_in_the_targets_folder(tmp_path: Path) -> None:
    """Red if it stood on another file system, from where nothing can be renamed."""
    parents = []

    def write(path: Path) -> None:
        path.touch()
        parents.append(path.parent)

    publish(tmp_path / "b.txt", write)
    assert parents == [tmp_path]


def test_nothing_but_the_target_stays(tmp_path: Path) -> None:
    publish(tmp_path / "b.txt", lambda path: path.touch())
    assert list(tmp_path.iterdir()) == [tmp_path / "b.txt"]


def test_a_failed_write_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no space left"):
        publish(tmp_path / "b.txt", fail)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "b.txt"
    target.write_text("old", encoding="utf-8")
    with pytest.raises(OSError, match="no space left"):
        publish(target, fail)
    assert target.read_text(encoding="utf-8") == "old"


def test_an_interrupted_write_leaves_no_file(tmp_path: Path) -> None:
    def interrupt(path: Path) -> None:
        path.touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        publish(tmp_path / "b.txt", interrupt)
    assert list(tmp_path.iterdir()) == []


def test_folders_that_are_made_are_their_owner_s_alone_and_others_stay(tmp_path: Path) -> None:
    """Red if another user could read reviews, or open a lock and hold it."""
    (tmp_path / "given").mkdir()
    (tmp_path / "given").chmod(0o755)
    made = tmp_path / "given" / "data" / "datasets"
    make_folder(made)
    make_folder(made)
    publish(made / "mine" / "file", lambda path: path.write_text(""))
    assert [path.stat().st_mode & 0o777 for path in (made / "mine", made, made.parent, made.parents[1])] == [
        0o700, 0o700, 0o700, 0o755,
    ]  # fmt: skip
