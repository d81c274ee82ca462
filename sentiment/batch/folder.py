"""A folder of text files, a review a file."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from stat import S_ISREG

from sentiment.batch.rows import MOST, NOT_UTF8, TOO_LONG, Row, beginning, why_not
from sentiment.batch.source import RowSource, text_schema
from sentiment.errors import UsageError

_SUFFIX = ".txt"


class Folder(RowSource):
    """All ``.txt`` files below a folder, in the order of their relative paths.

    Links to files in the folder are read. What lies elsewhere was not named to be scored, and perhaps logged.
    """

    many = True

    def __init__(self, path: Path, column: str, keep: Sequence[str]) -> None:
        if keep or column != "text":
            raise UsageError(
                f"{path} is a folder: it has no columns.", "Leave --column and --keep out; each file is a text."
            )
        self.path = path
        self._root = os.path.realpath(path)
        self.schema = text_schema(["source"])
        self._names = _find(path)
        if not self._names:
            raise UsageError(f"{path}: no {_SUFFIX} file in it or below it.", "Each such file is a text to score.")
        self.total = len(self._names)
        self.size = sum(about.st_size for _, about in self._stats() if about)

    def rows(self) -> Iterator[Row]:
        """Read file by file."""
        for done, name in enumerate(self._names, 1):
            text, reason, value = self._read(name)
            yield Row(text, reason, value, done, (_shown(name),), _shown(name))

    def identity(self) -> dict[str, str | int]:
        """Names, sizes and times of change of all files that are there now."""
        self._names = _find(self.path)
        state = hashlib.sha256()
        for name, about in self._stats():
            told = f"{about.st_size} {about.st_mtime_ns}" if about else "gone"
            state.update(f"{_shown(name)}\0{told}\n".encode())
        return {"files": len(self._names), "content": state.hexdigest()}

    def _stats(self) -> Iterator[tuple[str, os.stat_result | None]]:
        for name in self._names:
            try:
                yield name, (self.path / name).stat()
            except OSError:  # a broken link: it becomes a reject, with its reason
                yield name, None

    def _read(self, name: str) -> tuple[str, str, str]:
        """Text, or reason and beginning of what is there instead."""
        path = self.path / name
        try:
            if path.is_symlink() and not Path(os.path.realpath(path, strict=True)).is_relative_to(self._root):
                return "", "unreadable: a link that leads out of the folder", ""
            if not S_ISREG(path.stat().st_mode):  # opening a pipe would wait for ever
                return "", "unreadable: not a regular file", ""
            with path.open("rb") as stream:
                content = stream.read(MOST + 1)
        except OSError as err:
            return "", f"unreadable: {err.strerror}", ""
        if len(content) > MOST:
            return "", TOO_LONG, beginning(content)
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            return "", NOT_UTF8, beginning(content)
        reason = why_not(text)
        return ("", reason, beginning(text)) if reason else (text, "", "")


def _find(folder: Path) -> list[str]:
    """Relative paths with forward slashes, sorted; strings, as there may be a million."""
    found = []
    for path, _, names in os.walk(folder, onerror=_refuse):
        below = Path(path).relative_to(folder).as_posix()
        head = "" if below == "." else f"{below}/"
        found += [head + name for name in names if name.lower().endswith(_SUFFIX)]
    return sorted(found)


def _refuse(err: OSError) -> None:
    """A folder that cannot be listed would lose its files silently."""
    raise err


def _shown(name: str) -> str:
    """A file's name as valid text."""
    return os.fsencode(name).decode(errors="backslashreplace")
