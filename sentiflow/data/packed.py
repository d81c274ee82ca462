"""Compressed tables and archives of tables, opened as what they hold, and limits of what they may unpack to."""

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO
from zipfile import BadZipFile, ZipFile

from sentiflow.errors import UsageError, first_line

ARCHIVE = ".zip"
_OPEN: dict[str, Callable[[Path], Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
# What a file may hold, and how much more a byte of it. Packed reviews take a third.
MOST, PACKED_A_BYTE = 2**28, 100  # bytes

_BLOCK = 2**20
_BROKEN = (OSError, EOFError, zlib.error, lzma.LZMAError, BadZipFile, NotImplementedError, RuntimeError, KeyError)


def suffix_of(path: Path) -> str:
    """How a table's name ends, in lower case, without that of its compression."""
    plain = path.with_suffix("") if path.suffix.lower() in _OPEN else path
    return plain.suffix.lower()


def is_packed(path: Path) -> bool:
    return path.suffix.lower() in _OPEN or on_disk(path) != path


def on_disk(path: Path) -> Path:
    """The archive that a table is in, else its own file."""
    above = (each for each in path.parents if each.suffix.lower() == ARCHIVE and each.is_file())
    return path if path.exists() else next(above, path)


def opened(path: Path) -> BinaryIO:
    """The bytes of a table; the path of one in an archive goes on behind the archive's."""
    if (archive := on_disk(path)) != path:
        with ZipFile(archive) as files:
            return files.open(path.relative_to(archive).as_posix())  # type: ignore[return-value]
    unpack = _OPEN.get(path.suffix.lower())
    return unpack(path) if unpack else path.open("rb")


def size_of(path: Path) -> int:
    """Bytes of a table, unpacked; a broken file and one that holds too much are refused."""
    if not is_packed(path):
        return path.stat().st_size
    about = on_disk(path).stat()
    return _unpacked_size(path, about.st_size, about.st_mtime_ns)


@lru_cache
def _unpacked_size(path: Path, packed: int, _changed: int) -> int:
    size = 0
    try:
        with opened(path) as stream:
            while part := stream.read(_BLOCK):
                size += len(part)
                check_unpacked(path, size, packed)
    except _BROKEN as err:
        raise UsageError(
            f"{path}: cannot be unpacked: {first_line(err).rstrip('.')}.", "Is the file whole, and not encrypted?"
        ) from err
    return size


def check_unpacked(
    path: Path, found: int, packed: int, most: int = MOST, more_a_byte: int = PACKED_A_BYTE, what: str = "bytes"
) -> None:
    """Refuse a file of so many bytes that unpacks to more than any table of reviews."""
    if found > most + more_a_byte * packed:
        problem = f"{path}: its {packed:,} bytes unpack to {found:,} {what}."
        hint = "Few tables of reviews are packed as small as that. If yours is, write it as .csv or .jsonl."
        raise UsageError(problem, hint)


def members(archive: Path) -> list[Path]:
    """The paths of the files in an archive, in the order of their names, hidden ones left out."""
    try:
        with ZipFile(archive) as files:
            every = [each for each in files.infolist() if not each.is_dir()]
    except _BROKEN as err:
        raise UsageError(f"{archive}: cannot be read as an archive: {first_line(err).rstrip('.')}.") from err
    check_unpacked(archive, sum(each.file_size for each in every), archive.stat().st_size)
    names = sorted({each.filename for each in every})
    for name in names:
        inside = PurePosixPath(name)
        if inside.is_absolute() or ".." in inside.parts or inside.as_posix() != name:
            raise UsageError(f"{archive}: {name!r} is no name of a file in a folder.", "Pack the tables again.")
    return [archive / name for name in names if not any(part.startswith(".") for part in name.split("/"))]
