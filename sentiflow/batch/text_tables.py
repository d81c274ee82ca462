"""Inputs that are text: CSV and JSON Lines."""

import csv
import io
import itertools
import json
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO

from sentiflow.batch.source import (
    MISSING,
    MOST,
    NOT_UTF8,
    SURROGATE,
    TOO_LONG,
    Row,
    RowSource,
    beginning,
    check_columns,
    is_unicode,
    text_schema,
    why_not,
)
from sentiflow.errors import UsageError

# Bytes that are no UTF-8 are decoded to U+DC80 to U+DCFF, so no file can hold these two.
_END, _CUT = "\ud800", "\ud801"
_LONGEST = 2 * MOST  # characters of a record: one whose quote stays open must not take all the file with it
# Characters read twice for the sake of stray quotes: so many, and so many times what has been read; then, until
# more has been read, a quote ends with its line. A file full of them takes a multiple of its size, not its square.
_PATIENCE, _REPEATS = 8_000_000, 2
UNCLOSED = "a quote is never closed"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


class CsvTable(RowSource):
    """A CSV table with a header."""

    def __init__(self, path: Path, column: str, keep: Sequence[str]) -> None:
        self.path = path
        self.total = self.size = path.stat().st_size
        self.schema = text_schema(keep)
        header = self._header()
        check_columns(path, header, column, keep)
        self._fields = len(header)
        self._text = header.index(column)
        self._kept = [header.index(name) for name in keep]

    def rows(self) -> Iterator[Row]:
        """Read from the beginning; blank lines are no rows."""
        records = self._records()
        next(records)
        for fields, wrong, done in records:
            reason = wrong or self._why_not(fields)
            if reason:
                value = fields[self._text] if len(fields) == self._fields else ",".join(fields)
                yield Row("", reason, beginning(value), done)
            else:
                yield Row(fields[self._text], "", "", done, tuple(fields[k] for k in self._kept))

    def _why_not(self, fields: list[str]) -> str:
        if len(fields) != self._fields:
            return f"wrong number of fields: {len(fields)} instead of {self._fields}"
        text = fields[self._text]
        if not text:
            return MISSING
        if not all(is_unicode(fields[k]) for k in self._kept):
            return NOT_UTF8
        return why_not(text, broken=NOT_UTF8)

    def _header(self) -> list[str]:
        with self.path.open("rb") as stream:
            if stream.read(2) in _UTF16:
                raise UsageError(
                    f"{self.path}: not UTF-8, but UTF-16.",
                    f"Convert it: iconv -f utf-16 -t utf-8 {self.path.name} > utf8.csv",
                )
        with closing(self._records()) as records:
            fields, wrong, _ = next(records, ([], "", 0))
        if wrong:
            raise UsageError(
                f"{self.path}: the header cannot be read: {wrong}.", "The first line names the columns."
            )
        return [beginning(name) if not is_unicode(name) else name for name in fields]

    def _records(self) -> Generator[tuple[list[str], str, int]]:
        """Every record, the header first, with what is wrong with it and the bytes read so far."""
        csv.field_size_limit(MOST)  # the default, 131,072 characters, is less than a long text
        with self.path.open("rb") as stream:
            lines = _Lines(stream)
            reader = csv.reader(lines)
            while True:
                fields, wrong = _next(reader, lines)
                if wrong in (UNCLOSED, TOO_LONG):
                    # One stray quote must not swallow the rest: only its own line is lost to it.
                    fields, reader = lines.back_to_second(), csv.reader(lines)
                if fields == [_END]:
                    return
                if fields:
                    yield fields, wrong, stream.tell()


class _Lines(Iterator[str]):
    """Lines as ``csv`` wants them, none too long to hold, and a mark behind the last.

    The mark becomes a record of its own, or the end of a field whose quote is never closed.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._lines = io.TextIOWrapper(stream, "utf-8-sig", "surrogateescape", newline="")
        self._again: deque[str] = deque()
        self._ended = False
        self.record: list[str] = []
        """Lines of the record that is being read."""
        self._cut_short = False
        self._held = self._done = self._twice = 0  # characters: of the record, of all before it, read again

    def __next__(self) -> str:
        if self.record and (self._held > _LONGEST or self._twice > _PATIENCE + _REPEATS * self._done):
            return self._end_here()
        line = self._again.popleft() if self._again else self._read()
        self.record.append(line)
        self._held += len(line)
        return line

    def _end_here(self) -> str:
        """End whatever quote is open: the mark, then nothing more until another record begins."""
        if self._cut_short:
            raise StopIteration
        self._cut_short = True
        return _END

    def begin(self) -> None:
        """Begin another record."""
        self._cut_short = False
        self._done += self._held
        self._held = 0
        self.record.clear()

    def back_to_second(self) -> list[str]:
        """The first line of the record as it stands; those after it will be read again."""
        first, *others = self.record
        self._again.extendleft(reversed(others))
        self._twice += self._held - len(first)
        self._held = len(first)
        return [first.rstrip(_CUT + "\r\n")]

    def _read(self) -> str:
        line = self._lines.readline(MOST)
        if len(line) == MOST and line[-1] not in "\r\n":
            line = line[:-1] + _CUT
            while (rest := self._lines.readline(MOST)) and rest[-1] not in "\r\n":
                pass
        if not line and self._ended:
            raise StopIteration
        self._ended = not line
        return line or _END


def _next(reader: "Iterator[list[str]]", lines: _Lines) -> tuple[list[str], str]:
    """The next record and what is wrong with it."""
    lines.begin()
    try:
        fields = next(reader)
    except csv.Error as err:
        return ["".join(lines.record)], TOO_LONG if "field limit" in str(err) else f"not CSV: {err}"
    if len(fields) and fields != [_END]:
        if fields[-1].endswith(_END):
            return fields, UNCLOSED
        if any(field.endswith(_CUT) for field in fields):
            return fields, TOO_LONG
    return fields, ""


_BOM = b"\xef\xbb\xbf"
_HEAD = 1_000  # lines whose keys are the columns that a message names


class JsonLines(RowSource):
    """A file with an object a line; a key is a column."""

    def __init__(self, path: Path, column: str, keep: Sequence[str]) -> None:
        self.path = path
        self.total = self.size = path.stat().st_size
        self.schema = text_schema(keep)
        self._column, self._keep = column, keep
        keys, whole = self._keys()
        if keys:  # without any object, the rejects tell better what is wrong
            check_columns(path, keys, column, keep, "" if whole else f" in the first {_HEAD:,} lines")

    def rows(self) -> Iterator[Row]:
        """Read from the beginning; blank lines are no rows."""
        with self.path.open("rb") as stream:
            for line in _lines(stream):
                text, reason, kept = self._read(line)
                yield Row(
                    "" if reason else text, reason, beginning(line.strip()) if reason else "", stream.tell(), kept
                )

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
            return "", SURROGATE, ()
        return text, "", kept

    def _keys(self) -> tuple[list[str], bool]:
        """The keys of the first objects, in order of appearance, and whether these are all."""
        keys: dict[str, None] = {}
        with self.path.open("rb") as stream:
            lines = _lines(stream)
            for line in itertools.islice(lines, _HEAD):
                record, _ = _parse(line)
                keys |= dict.fromkeys(record)
            whole = next(lines, None) is None
        return list(keys), whole


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    """Lines that are not blank; of one too long to hold, a beginning that is too long for ``_parse``, too."""
    start = stream.read(len(_BOM))
    if start != _BOM:
        stream.seek(0)
    while line := stream.readline(MOST + 1):
        if len(line) > MOST and not line.endswith(b"\n"):
            while (rest := stream.readline(MOST)) and not rest.endswith(b"\n"):
                pass
        if line.strip():
            yield line


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
