"""Tests of files that appear whole or not at all."""

from pathlib import Path

import pytest

from sentiflow.files import make_folder, publish


@pytest.mark.parametrize("before", [None, "old"])
def test_a_file_appears_whole_in_place_of_any_that_is_there(tmp_path: Path, before: str | None) -> None:
    """Red, too, if it is written on another file system, from where nothing can be renamed."""
    target = tmp_path / "a" / "b.txt"
    if before is not None:
        target.parent.mkdir()
        target.write_text(before, encoding="utf-8")

    def write(path: Path) -> None:
        path.write_text("whole", encoding="utf-8")
        assert path.parent == target.parent
        assert (target.read_text(encoding="utf-8") if target.exists() else None) == before

    publish(target, write)
    assert target.read_text(encoding="utf-8") == "whole"
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("failure", [OSError("no space left"), KeyboardInterrupt()], ids=str)
@pytest.mark.parametrize("before", [[], ["b.txt"]])
def test_a_failed_or_interrupted_write_leaves_what_was_there(
    tmp_path: Path, failure: BaseException, before: list[str]
) -> None:
    for name in before:
        (tmp_path / name).write_text("old", encoding="utf-8")

    def fail(path: Path) -> None:
        path.write_text("half", encoding="utf-8")
        raise failure

    with pytest.raises(type(failure)):
        publish(tmp_path / "b.txt", fail)
    assert [(path.name, path.read_text(encoding="utf-8")) for path in tmp_path.iterdir()] == [
        (name, "old") for name in before
    ]


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
