"""Inputs that are text: CSV and JSON Lines."""

import codecs
import csv
import io
import itertools
import json
import re
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from shlex import quote
from typing import Any, BinaryIO

from sentiflow.data.rejects import NOT_CSV, NOT_JSON, NOT_UTF8, TOO_LONG, beginning, why_not
from sentiflow.data.rows import Row, RowInput, changed, find_columns, text_schema
from sentiflow.errors import UsageError
from sentiflow.files import LONGEST, read_csv
from sentiflow.redaction import is_unicode

_HEAD_SIZE = 2**16  # bytes that are enough for a header


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
                        raise UsageError(
                            f"{where} opens a quote that is never closed.",
                            "Close it, or double it where it belongs to the text.",
                        ) from err
                if fields or wrong:
                    yield fields, wrong, first, stream.tell()


def _refuse_utf16(path: Path) -> None:
    with path.open("rb") as stream:
        mark = stream.read(2)
    if mark in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        raise UsageError(
            f"{path}: not UTF-8, but UTF-16.",
            f"Convert it: iconv -f utf-16 -t utf-8 {quote(str(path))} > utf8{path.suffix}",
        )


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

    def _read(self, line: bytes) -> tuple[Any, str, tuple[str | None, ...]]:
        record, reason = _parse(line)
        text = record.get(self._column)
        if reason := reason or why_not(text):
            return "", reason, ()
        try:
            kept = tuple(_as_text(record.get(name)) for name in self._keep)
        except RecursionError:  # Python's depths for reading and for writing are not the same
            return "", f"{NOT_JSON}: nested too deeply", ()
        return text, "" if all(is_unicode(value) for value in kept if value) else NOT_UTF8, kept

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
    except RecursionError:
        return {}, f"{NOT_JSON}: nested too deeply"
    except json.JSONDecodeError as err:
        return {}, f"{NOT_JSON}: {err.msg} at character {err.pos}"
    except ValueError as err:  # an integer of more digits than Python converts
        return {}, f"{NOT_JSON}: {str(err).partition(':')[0]}"
    return (record, "") if isinstance(record, dict) else ({}, "not an object")


def _as_text(value: Any) -> str | None:
    """A text as it is, another value as JSON, null as nothing."""
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)
