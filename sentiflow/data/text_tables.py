"""Inputs that are text: CSV and JSON Lines."""

import codecs
import csv
import io
import itertools
import json
import re
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from shlex import quote
from typing import Any, BinaryIO

from sentiflow.data.rows import (
    MOST,
    NOT_UTF8,
    TOO_LONG,
    Row,
    RowInput,
    beginning,
    changed,
    find_columns,
    text_schema,
    why_not,
)
from sentiflow.errors import UsageError
from sentiflow.output import is_unicode

_STRAY_QUOTE = "expected after '\"'"  # in an error of csv: a quoted text ends before its field does
_HEAD_SIZE = 2**16  # bytes that are enough for a header
_MOST_AGAIN = 10  # times that a file may be read again for quotes that do not match


class CsvTable(RowInput):
    """A CSV table with a header.

    Attributes:
        separator: between columns: a comma, or a semicolon or tab if the header has these and no comma.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.total = self.size = path.stat().st_size
        _refuse_utf16(path)
        self.separator = self._separator()
        self.names = self._header()

    def select(self, text: str, others: Sequence[str] = ()) -> None:
        """Choose the column of texts and others; see ``Input.select``."""
        column, kept = find_columns(self.path, self.names, text, others)
        self._text = self.names.index(column)
        self._kept = [self.names.index(name) for name in kept]
        self.schema = text_schema(kept)

    def rows(self) -> Iterator[Row]:
        """Read from the beginning; blank lines are no rows."""
        records = self._records()
        if next(records, ([], "", 0, 0))[0] != self._read_names:
            raise changed(self.path)
        for fields, wrong, line, done in records:
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
        with self.path.open("rb") as stream:
            head = stream.read(_HEAD_SIZE)
        unquoted = re.sub(rb'"[^"]*"', b"", head.lstrip(codecs.BOM_UTF8 + b"\r\n"))
        header = re.split(rb"[\r\n]", unquoted, maxsplit=1)[0].decode(errors="replace")
        return "," if "," in header else max(",;\t", key=header.count)

    def _header(self) -> list[str]:
        with closing(self._records()) as records:
            fields, wrong, _, _ = next(records, ([], "", 0, 0))
        if wrong:
            raise UsageError(
                f"{self.path}: the header cannot be read: {wrong}.", "The first line names the columns."
            )
        self._read_names = fields
        return [beginning(name) if not is_unicode(name) else name for name in fields]

    def _records(self) -> Generator[tuple[list[str], str, int, int]]:
        """Every record, the header first: fields, what is wrong, number of its first line, bytes read so far."""
        csv.field_size_limit(MOST)  # the default, 131,072 characters, is less than a long text
        with self.path.open("rb") as stream:
            lines = _Lines(stream)
            reader = csv.reader(lines, delimiter=self.separator, strict=True)
            while True:
                first = lines.start()
                try:
                    fields, wrong = next(reader), ""
                except StopIteration:
                    return
                except csv.Error as err:
                    fields, wrong = [beginning(lines.record[0].rstrip("\r\n"))], str(err)
                if wrong.endswith(_STRAY_QUOTE) and lines.can_take_back():
                    wrong = f"quotes do not match: line {lines.number:,} goes on after a closing quote"
                    lines.take_back()
                # A record takes more lines than one only while a quote is open.
                elif lines.ended or (wrong and lines.number > first):
                    far = f", or only after more than {MOST:,} characters" if "field limit" in wrong else ""
                    raise UsageError(
                        f"{self.path}: the row that begins in line {first:,} opens a quote that is never closed"
                        f"{far}.",
                        "Close it, or double it where it belongs to the text.",
                    )
                if fields:
                    yield fields, wrong, first, stream.tell()


def _refuse_utf16(path: Path) -> None:
    with path.open("rb") as stream:
        mark = stream.read(2)
    if mark in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        raise UsageError(
            f"{path}: not UTF-8, but UTF-16.",
            f"Convert it: iconv -f utf-16 -t utf-8 {quote(str(path))} > utf8{path.suffix}",
        )


class _Lines(Iterator[str]):
    """Lines as ``csv`` wants them, none too long to hold.

    Attributes:
        number: of the last line; 1 is the first.
        ended: whether the end was reached; in the middle of a record, when ``csv`` raised an error.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._text = io.TextIOWrapper(stream, "utf-8-sig", "surrogateescape", newline="")
        self._again: deque[str] = deque()
        self.record: list[str] = []
        self.number, self.ended = 0, False
        self._read = self._taken_back = 0  # characters

    def start(self) -> int:
        """Begin a record; the number of its first line."""
        self.record = []
        return self.number + 1

    def can_take_back(self) -> bool:
        """Whether the time to read all stays in proportion to the file if the current record is taken back."""
        return self._taken_back + sum(map(len, self.record[1:])) <= _MOST_AGAIN * self._read

    def take_back(self) -> None:
        """Give the lines of the current record again, but for its first."""
        again = self.record[1:]
        self._again.extendleft(reversed(again))
        self._taken_back += sum(map(len, again))
        self.number -= len(again)

    def __next__(self) -> str:
        if self._again:
            line = self._again.popleft()
        else:
            line = self._text.readline(MOST + 1)
            self._read += len(line)
        if not line:
            self.ended = True
            raise StopIteration
        self.number += 1
        self.record.append(line)
        if len(line) > MOST and line[-1] not in "\r\n":
            while (rest := self._text.readline(MOST)) and rest[-1] not in "\r\n":
                pass
            raise csv.Error(TOO_LONG)
        return line


_HEAD = 1_000  # lines whose keys are the columns that a message names


class JsonLines(RowInput):
    """A file with an object a line; a key is a column."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.total = self.size = path.stat().st_size
        _refuse_utf16(path)
        self.names, self._whole = self._keys()

    def select(self, text: str, others: Sequence[str] = ()) -> None:
        """Choose the column of texts and others; see ``Input.select``."""
        self._column, self._keep = text, list(dict.fromkeys(others))
        if self.names:  # without any object, the rejects show better what is wrong
            where = "" if self._whole else f" in the first {_HEAD:,} lines"
            self._column, self._keep = find_columns(self.path, self.names, text, others, where)
        self.schema = text_schema(self._keep)

    def rows(self) -> Iterator[Row]:
        """Read from the beginning; blank lines are no rows."""
        with self.path.open("rb") as stream:
            for number, line in _lines(stream):
                text, reason, kept = self._read(line)
                value = beginning(line.strip()) if reason else ""
                yield Row("" if reason else text, reason, value, stream.tell(), number, kept)

    def _read(self, line: bytes) -> tuple[str, str, tuple[str | None, ...]]:
        record, reason = _parse(line)
        if reason:
            return "", reason, ()
        text: Any = record.get(self._column)
        if reason := why_not(text):
            return "", reason, ()
        try:
            kept = tuple(_as_text(record.get(name)) for name in self._keep)
        except RecursionError:
            return "", "nested too deeply", ()
        if not all(is_unicode(value) for value in kept if value):
            return "", NOT_UTF8, ()
        return text, "", kept

    def _keys(self) -> tuple[list[str], bool]:
        """The keys of the first objects, in order of appearance, and whether these are all."""
        keys: dict[str, None] = {}
        with self.path.open("rb") as stream:
            lines = _lines(stream)
            for _, line in itertools.islice(lines, _HEAD):
                record, _ = _parse(line)
                keys |= dict.fromkeys(record)
            whole = next(lines, None) is None
        return list(keys), whole


def _lines(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Lines that are not blank, numbered; of one too long to hold, a beginning that is too long for ``_parse``."""
    if stream.read(len(codecs.BOM_UTF8)) != codecs.BOM_UTF8:
        stream.seek(0)
    number = 0
    while line := stream.readline(MOST + 1):
        number += 1
        if len(line) > MOST and not line.endswith(b"\n"):
            while (rest := stream.readline(MOST)) and not rest.endswith(b"\n"):
                pass
        if line.strip():
            yield number, line


def _parse(line: bytes) -> tuple[dict[str, Any], str]:
    """The object of a line, or why it holds none."""
    if len(line) > MOST:
        return {}, TOO_LONG
    try:
        record = json.loads(line.rstrip().decode())
    except UnicodeDecodeError:
        return {}, NOT_UTF8
    except RecursionError:
        return {}, "not JSON: nested too deeply"
    except json.JSONDecodeError as err:
        return {}, f"not JSON: {err.msg} at character {err.pos}"
    except ValueError as err:  # an integer of more digits than Python converts
        return {}, f"not JSON: {str(err).partition(':')[0]}"
    if not isinstance(record, dict):
        return {}, f"not an object: {_kind(record)}"
    return record, ""


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    return "text" if isinstance(value, str) else why_not(value).removeprefix("not text: ")


def _as_text(value: Any) -> str | None:
    """A text as it is, another value as JSON, null as nothing."""
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)
