"""CSV tables, by the rules of Python's ``csv``: quotes may span lines, a row is as long as the header."""

import csv
import io
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import BinaryIO

from sentiment.batch.rows import MISSING, MOST, NOT_UTF8, TOO_LONG, Row, beginning, is_unicode, why_not
from sentiment.batch.source import RowSource, check_columns, text_schema
from sentiment.errors import UsageError

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
