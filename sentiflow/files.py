"""Files that appear whole or not at all, and tables of text, of which no line is too long to hold."""

import csv
import errno
import glob
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TextIO

if TYPE_CHECKING:
    from _csv import Reader

PARTIAL = ".partial"
LONGEST = 32 * 2**20  # bytes or characters of one text: far beyond any review, and little enough to hold in memory


def read_csv(stream: TextIO, separator: str = ",") -> "Reader":
    """A strict reader; a line or a field longer than any text may be is an error of its row, and never held."""
    csv.field_size_limit(LONGEST)
    return csv.reader(_lines(stream), delimiter=separator, strict=True)


def _lines(stream: TextIO) -> Iterator[str]:
    while line := stream.readline(LONGEST + 1):
        if len(line) > LONGEST and line[-1] not in "\r\n":
            while (rest := stream.readline(LONGEST)) and rest[-1] not in "\r\n":
                pass
            line = "x" * (LONGEST + 1)  # a field beyond the limit, whatever stood there
        yield line


def create_private(path: Path) -> BinaryIO:
    """A new file to write, in place of any that is there; only its owner can read it."""
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "w+b")


def make_folder(folder: Path) -> None:
    """Make a folder, and what is missing above it, for its owner alone; one that is there stays as it is."""
    if not folder.is_dir():
        if folder.parent != folder:
            make_folder(folder.parent)
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
        except FileExistsError as err:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder)) from err


def own_folder(folder: Path) -> Path:
    """Make a folder that only its owner can enter, also one that was there with another mode; gives it back."""
    make_folder(folder)
    folder.chmod(0o700)
    return folder


@contextmanager
def empty_folder(folder: Path) -> Iterator[Path]:
    """A folder for the files of a process alone; what a killed one left goes first, and all goes at the end."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        yield own_folder(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish(target: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a file beside ``target``, then rename it into place; a failed write leaves nothing."""
    make_folder(target.parent)
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}{PARTIAL}")
    try:
        write(partial)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def publish_private(target: Path, content: bytes | memoryview) -> None:

    def write(path: Path) -> None:
        with create_private(path) as file:
            file.write(content)

    publish(target, write)


def leftovers(target: Path) -> list[Path]:
    """What processes left that were killed while they published a file; and of a database its journals."""
    return list(target.parent.glob(f".{glob.escape(target.name)}.*{PARTIAL}*"))
