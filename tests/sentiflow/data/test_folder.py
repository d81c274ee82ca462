import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sentiflow.data.inputs import Folder
from sentiflow.data.rows import TOO_LONG
from sentiflow.errors import UsageError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "texts"
    made.mkdir()
    return made


def write(folder: Path, name: str, content: bytes) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def test_texts_come_in_the_order_of_their_relative_paths_and_other_files_are_left_out(
    folder: Path, job: Callable
) -> None:
    for name in ("b.txt", "a/z.txt", "a/b/deep.TXT", "a.txt", "a-1.txt", "c.md", "a/txt"):
        write(folder, name, b"good film")
    done = job(folder)
    assert [row["source"] for row in done.scored] == ["a-1.txt", "a.txt", "a/b/deep.TXT", "a/z.txt", "b.txt"]
    assert list(done.scored[0]) == ["row", "source", "label", "score", "model", "version"]


def test_each_file_that_cannot_be_scored_is_a_reject_with_its_name(folder: Path, job: Callable) -> None:
    write(folder, "1.txt", b"\xef\xbb\xbfgood film\n")
    write(folder, "2.txt", b"")
    write(folder, "3.txt", b"caf\xe9")
    (folder / "4.txt").symlink_to(folder / "nowhere")
    os.mkfifo(folder / "5.txt")  # opening it would wait for a writer for ever
    done = job(folder)
    assert [row["source"] for row in done.scored] == ["1.txt"]
    assert done.rejects == [
        {"row": 2, "source": "2.txt", "reason": "no text", "value": ""},
        {"row": 3, "source": "3.txt", "reason": "not UTF-8", "value": "caf\\xe9"},
        {"row": 4, "source": "4.txt", "reason": "unreadable: No such file or directory", "value": ""},
        {"row": 5, "source": "5.txt", "reason": "unreadable: not a regular file", "value": ""},
    ]


def test_a_link_is_read_unless_it_leads_out_of_the_folder(folder: Path, job: Callable) -> None:
    """Red if scoring a folder of somebody's would copy any file of the machine into rejects and the text log."""
    write(folder.parent, "secret", b"S3CRET")
    write(folder.parent, "binary", b"S3CRET\xff")
    write(folder.parent, "texts-2/b.txt", b"S3CRET")  # a name that begins like the folder's
    write(folder, "a/real.txt", b"good")
    for name, leads_to in {
        "1.txt": folder / "a" / "real.txt",
        "2.txt": Path("a/../a/real.txt"),
        "3.txt": folder.parent / "secret",
        "4.txt": Path("../binary"),
        "5.txt": folder / "3.txt",  # out by way of another link
        "6.txt": folder / "6.txt",
        "7.txt": folder.parent / "texts-2" / "b.txt",
        "8.txt": folder.parent,
        "9.txt": Path("/proc/self/environ"),
    }.items():
        (folder / name).symlink_to(leads_to)
    done = job(folder)
    assert [row["source"] for row in done.scored] == ["1.txt", "2.txt", "a/real.txt"]
    out = "unreadable: a link that leads out of the folder"
    loop = f"unreadable: {os.strerror(errno.ELOOP)}"
    assert [(row["source"], row["reason"], row["value"]) for row in done.rejects] == [
        *((f"{k}.txt", loop if k == 6 else out, "") for k in (3, 4, 5, 6, 7, 9)),
    ]


def test_a_file_may_be_as_long_as_the_longest_text(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sentiflow.data.inputs.LONGEST", 50)
    write(folder, "1.txt", b"x" * 50)
    write(folder, "2.txt", b"x" * 60)
    assert [(row.text, row.reason, row.value) for row in Folder(folder).rows()] == [
        ("x" * 50, "", ""),
        ("", TOO_LONG, "x" * 51),  # as much as was read
    ]


def test_a_name_that_is_no_unicode_is_written_with_its_bytes_escaped(folder: Path, job: Callable) -> None:
    (Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.txt"))).write_text("good")
    assert [row["source"] for row in job(folder).scored] == ["caf\\xe9.txt"]


def test_a_change_of_any_file_changes_the_state(folder: Path) -> None:
    write(folder, "1.txt", b"good")
    write(folder, "2.txt", b"good")
    seen = {str(Folder(folder).state())}
    source = Folder(folder)
    write(folder, "2.txt", b"good!")
    seen.add(str(source.state()))
    write(folder, "3.txt", b"good")
    seen.add(str(source.state()))
    (folder / "3.txt").rename(folder / "4.txt")
    seen.add(str(source.state()))
    assert len(seen) == 4


@pytest.mark.parametrize("keep", [("id",), ()])
def test_columns_of_a_folder_are_refused(folder: Path, keep: tuple[str, ...]) -> None:
    write(folder, "1.txt", b"good")
    with pytest.raises(UsageError, match="has no columns"):
        Folder(folder).select("text" if keep else "body", keep)


def test_a_folder_without_texts_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="no .txt file"):
        Folder(folder)
