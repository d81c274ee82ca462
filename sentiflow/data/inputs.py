"""Tables and folders of texts: CSV, JSON Lines and text files, and which reader a path needs."""

import codecs
import csv
import hashlib
import io
import itertools
import json
import os
import re
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from functools import cache
from pathlib import Path
from shlex import quote
from stat import S_ISREG
from typing import Any, BinaryIO

import pyarrow as pa

from sentiflow.data.parquet import ParquetTable
from sentiflow.data.rows import (
    NOT_CSV,
    NOT_JSON,
    NOT_UTF8,
    REJECTS,
    TOO_LONG,
    Input,
    Row,
    RowInput,
    beginning,
    find_columns,
    why_not,
)
from sentiflow.errors import UsageError
from sentiflow.files import LONGEST, read_csv
from sentiflow.redaction import is_unicode

_HEAD_SIZE = 2**16  # bytes that are enough for a header
_HEAD = 1_000  # lines whose keys are the columns that a message names


class CsvTable(RowInput):
    """A CSV table with a header; a header without commas, and .tsv and .txt files, have other separators."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.total = self.size = path.stat().st_size
        self.separator = self._separator()
        self.names = self._header()

    def select(self, text: str, others: Sequence[str] = (), label: str = "") -> None:
        column, kept = find_columns(self.path, self.names, text, others, label)
        self._text = self.names.index(column)
        self._kept = [self.names.index(name) for name in kept]
        self.schema = pa.schema([(name, pa.string()) for name in kept])

    def rows(self) -> Iterator[Row]:
        for fields, wrong, line, done in itertools.islice(self._records(), 1, None):
            reason = wrong or self._why_not(fields)
            if reason:
                value = fields[self._text] if len(fields) == len(self.names) else self.separator.join(fields)
                yield Row("", reason, beginning(value), done, line)
            else:
                yield Row(fields[self._text], "", "", done, line, tuple(fields[k] for k in self._kept))

    def _why_not(self, fields: list[str]) -> str:
        if len(fields) != len(self.names):
            return f"wrong number of fields: {len(fields)} instead of {len(self.names)}"
        if not all(is_unicode(fields[k]) for k in self._kept):
            return NOT_UTF8
        return why_not(fields[self._text])

    def _separator(self) -> str:
        if self.path.suffix.lower() in (".tsv", _SUFFIX):
            return "\t"
        header = _first_line(self.path)
        return "," if "," in header else max(",;\t", key=header.count)

    def _header(self) -> list[str]:
        with closing(self._records()) as records:
            fields, *_ = next(records, ([], "", 0, 0))
        return [beginning(name) if not is_unicode(name) else name for name in fields]

    def _records(self) -> Generator[tuple[list[str], str, int, int]]:
        """Every record, the header first: fields, what is wrong, number of its first line, bytes read so far."""
        with self.path.open("rb") as stream:
            reader = read_csv(io.TextIOWrapper(stream, "utf-8-sig", "surrogateescape", newline=""), self.separator)
            while True:
                first = reader.line_num + 1
                try:
                    fields, wrong = next(reader), ""
                except StopIteration:
                    return
                except csv.Error as err:
                    fields, wrong = [], f"{NOT_CSV}: {err} in line {reader.line_num:,}"
                    # What is open at the end, or for longer than any text, has taken all rows behind it.
                    if "end of data" in wrong or ("limit" in wrong and reader.line_num > first):
                        where = f"{self.path}: the row that begins in line {first:,}"
                        problem = f"{where} opens a quote that is never closed."
                        raise UsageError(problem, "Close it, or double it where it belongs to the text.") from err
                if fields or wrong:
                    yield fields, wrong, first, stream.tell()


def _first_line(path: Path) -> str:
    """What stands in the first line outside of quotes."""
    with path.open("rb") as stream:
        head = stream.read(_HEAD_SIZE)
    unquoted = re.sub(rb'"[^"]*"', b"", head.lstrip(codecs.BOM_UTF8 + b"\r\n"))
    return re.split(rb"[\r\n]", unquoted, maxsplit=1)[0].decode(errors="replace")


class JsonLines(RowInput):
    """A file with an object a line; a key is a column."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.total = self.size = path.stat().st_size
        self.names = self._keys()

    def select(self, text: str, others: Sequence[str] = (), label: str = "") -> None:
        self._column, self._keep = text, list(dict.fromkeys([label, *others] if label else others))
        if self.names:  # without any object, the rejects show better what is wrong
            self._column, self._keep = find_columns(self.path, self.names, text, others, label)
        self.schema = pa.schema([(name, pa.string()) for name in self._keep])

    def rows(self) -> Iterator[Row]:
        with self.path.open("rb") as stream:
            for number, line in _lines(stream):
                text, reason, kept = self._read(line)
                value = beginning(line.strip()) if reason else ""
                yield Row("" if reason else text, reason, value, stream.tell(), number, kept)

    def _read(self, line: bytes) -> tuple[Any, str, tuple[str | None, ...]]:
        record, reason = _parse(line)
        text = record.get(self._column)
        if reason := reason or why_not(text):
            return "", reason, ()
        kept = tuple(_as_text(record.get(name)) for name in self._keep)
        return text, "" if all(is_unicode(value) for value in kept if value) else NOT_UTF8, kept

    def _keys(self) -> list[str]:
        """The keys of the first objects, in order of appearance."""
        keys: dict[str, None] = {}
        with self.path.open("rb") as stream:
            for _, line in itertools.islice(_lines(stream), _HEAD):
                record, _ = _parse(line)
                keys |= dict.fromkeys(record)
        return list(keys)


def _lines(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Lines that are not blank, numbered; of one too long to hold, a beginning that is too long for ``_parse``."""
    if stream.read(len(codecs.BOM_UTF8)) != codecs.BOM_UTF8:
        stream.seek(0)
    number = 0
    while line := stream.readline(LONGEST + 1):
        number += 1
        if len(line) > LONGEST and not line.endswith(b"\n"):
            while (rest := stream.readline(LONGEST)) and not rest.endswith(b"\n"):
                pass
        if line.strip():
            yield number, line


def _parse(line: bytes) -> tuple[dict[str, Any], str]:
    """The object of a line, or why it holds none."""
    if len(line) > LONGEST:
        return {}, TOO_LONG
    try:
        record = json.loads(line.rstrip().decode())
    except UnicodeDecodeError:
        return {}, NOT_UTF8
    except (RecursionError, ValueError) as err:
        return {}, f"{NOT_JSON}: {err}"
    return (record, "") if isinstance(record, dict) else ({}, "not an object")


def _as_text(value: Any) -> str | None:
    """A text as it is, another value as JSON, null as nothing."""
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


_SUFFIX = ".txt"


class Folder(RowInput):
    """All ``.txt`` files below a folder, sorted; a link that leads out of it is a reject: nobody named that."""

    many = True
    schema = pa.schema([("source", pa.string())])

    def __init__(self, path: Path) -> None:
        self.path = path
        self._root = os.path.realpath(path)
        self._names = _find(path)
        if not self._names:
            hint = "Each such file is a text to score; a table is scored by itself."
            raise UsageError(f"{path}: no {_SUFFIX} file in it or below it.", hint)
        self.total = len(self._names)
        self.size = sum(about.st_size for _, about in self._stats() if about)

    def select(self, text: str, others: Sequence[str] = (), label: str = "") -> None:
        if label or others or text != "text":
            problem = f"{self.path} is a folder: it has no columns."
            raise UsageError(problem, "Leave --text-column, --label-column and --keep out; each file is a text.")

    def rows(self) -> Iterator[Row]:
        for done, name in enumerate(self._names, 1):
            text, reason, value = self._read(name)
            yield Row(text, reason, value, done, 0, (shown(name),), shown(name))

    def state(self) -> object:
        self._names = _find(self.path)
        return [(name, about and (about.st_size, about.st_mtime_ns)) for name, about in self._stats()]

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
            if _leads_out(path, self._root):
                return "", "unreadable: a link that leads out of the folder", ""
            if not S_ISREG(path.stat().st_mode):  # opening a pipe would wait for ever
                return "", "unreadable: not a regular file", ""
            with path.open("rb") as stream:
                content = stream.read(LONGEST + 1)
        except OSError as err:
            return "", f"unreadable: {err.strerror}", ""
        if len(content) > LONGEST:
            return "", TOO_LONG, beginning(content)
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            return "", NOT_UTF8, beginning(content)
        reason = why_not(text)
        return ("", reason, beginning(text)) if reason else (text, "", "")


def _leads_out(path: Path, root: str) -> bool:
    """Whether a path is a link to outside of a folder; OSError for one that leads nowhere."""
    return path.is_symlink() and not Path(os.path.realpath(path, strict=True)).is_relative_to(root)


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


def shown(name: str) -> str:
    """A file's name as valid text."""
    return os.fsencode(name).decode(errors="backslashreplace")


_KINDS: dict[str, Callable[[Path], Input]] = {
    ".csv": CsvTable,
    ".tsv": CsvTable,
    ".txt": CsvTable,
    ".jsonl": JsonLines,
    ".ndjson": JsonLines,
    ".parquet": ParquetTable,
    ".pq": ParquetTable,
}


_SUPPORTED = f"files that end in {', '.join(each for each in _KINDS if each != _SUFFIX)}, or in .txt with tabs"


def tables_of(path: Path) -> list[Path]:
    """The tables of a folder by their names, hidden files and rejects left out; else the path itself."""
    if not path.is_dir():
        return [path]
    there = (each for each in path.iterdir() if _may_be_table(each) and not each.name.startswith("."))
    found = [each for each in there if not each.name.endswith(REJECTS)]
    if not found:
        raise UsageError(f"{path}: no table in this folder.", f"Put tables into it: {_SUPPORTED}.")
    for each in found:
        if not each.is_file():
            problem = f"{each} is no file, but a folder, a pipe or a link that leads nowhere."
            raise UsageError(problem, "Put the table itself there, or remove it.")
        if _leads_out(each, os.path.realpath(path)):
            raise UsageError(f"{each} is a link that leads out of the folder.", "Put the table itself there.")
    return sorted(found, key=lambda each: each.name)


def _may_be_table(path: Path) -> bool:
    """Whether a file's ending is that of a table; other texts than tables end in ``.txt``, too."""
    suffix = path.suffix.lower()
    return suffix in _KINDS and (suffix != _SUFFIX or not path.is_file() or "\t" in _first_line(path))


def digest_of(files: Iterable[Path]) -> str:
    """SHA-256 over the contents and the names of files."""
    state = hashlib.sha256()
    for file in files:
        about = file.stat()
        found = _hash(file, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns)
        state.update(found + hashlib.sha256(os.fsencode(file.name)).digest())
    return state.hexdigest()


@cache
def _hash(file: Path, *_about: int) -> bytes:
    """SHA-256 of a file, computed once in a process until it changes."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()


def open_input(path: Path) -> Input:
    if path.is_dir() and path.suffix.lower() in _KINDS:
        raise UsageError(f"{path} is a folder.", "Give one file of it, or put its parts into one.")
    if path.is_dir():
        return Folder(path)
    if not path.exists():
        raise UsageError(f"{path}: no such file or folder.", "Give a table or a folder of .txt files.")
    if path.is_file() and path.stat().st_size == 0:
        raise UsageError(f"{path} is empty.", "A table needs column names and rows.")
    if not path.is_file() or not _may_be_table(path):
        problem = f"{path}: not a supported table."
        raise UsageError(problem, f"Give {_SUPPORTED}; for `score`, also a folder of .txt files.")
    kind = _KINDS[path.suffix.lower()]
    if kind is not ParquetTable and _is_utf_16(path):
        written = f"iconv -f UTF-16 -t utf-8 {quote(str(path))} > utf8-{quote(path.name)}"
        raise UsageError(f"{path}: not UTF-8, but UTF-16.", f"Convert it: {written}")
    return kind(path)


def _is_utf_16(path: Path) -> bool:
    """Whether a file begins as what Excel saves as Unicode text does."""
    with path.open("rb") as file:
        return file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
