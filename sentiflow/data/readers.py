"""Readers of tables by rows: CSV, JSON Lines, JSON arrays, and sheets of Excel and OpenDocument."""

import codecs
import csv
import io
import itertools
import json
import re
import subprocess
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from sentiflow.data.packed import MOST, PACKED_A_BYTE, opened, size_of, suffix_of
from sentiflow.data.rows import NOT_CSV, NOT_JSON, NOT_UTF8, TOO_LONG, Record, RowInput, beginning
from sentiflow.environment import need
from sentiflow.errors import UsageError
from sentiflow.files import LONGEST, read_csv
from sentiflow.redaction import is_unicode

TEXT = ".txt"
_HEAD_SIZE = 2**16  # bytes that are enough for a header
_HEAD = 1_000  # objects whose keys are the columns that a message names


class CsvTable(RowInput):
    """A CSV table with a header; a header without commas, and .tsv and .txt files, have other separators."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.total = self.size = size_of(path)
        self.separator = self._separator()
        self.names = self._header()

    def records(self) -> Iterator[Record]:
        wanted = [self.names.index(name) for name in self._wanted]
        for fields, wrong, line, done in itertools.islice(self._records(), 1, None):
            if not wrong and len(fields) != len(self.names):
                wrong = f"wrong number of fields: {len(fields)} instead of {len(self.names)}"
            if wrong:
                yield Record((), wrong, self.separator.join(fields), done, line)
            else:
                yield Record([fields[k] for k in wanted], "", None, done, line)

    def _separator(self) -> str:
        if suffix_of(self.path) in (".tsv", TEXT):
            return "\t"
        header = first_line(self.path)
        return "," if "," in header else max(",;\t", key=header.count)

    def _header(self) -> list[str]:
        with closing(self._records()) as records:
            fields, *_ = next(records, ([], "", 0, 0))
        return [beginning(name) if not is_unicode(name) else name for name in fields]

    def _records(self) -> Generator[tuple[list[str], str, int, int]]:
        """Every record, the header first: fields, what is wrong, number of its first line, bytes read so far."""
        with opened(self.path) as stream:
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


def head(path: Path) -> bytes:
    with opened(path) as stream:
        return stream.read(_HEAD_SIZE)


def first_line(path: Path) -> str:
    """What stands in the first line outside of quotes."""
    unquoted = re.sub(rb'"[^"]*"', b"", head(path).lstrip(codecs.BOM_UTF8 + b"\r\n"))
    return re.split(rb"[\r\n]", unquoted, maxsplit=1)[0].decode(errors="replace")


class JsonLines(RowInput):
    """A file with an object a line; a key is a column."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.total = self.size = size_of(path)
        first = itertools.islice(self._objects(), _HEAD)
        self.names = list(dict.fromkeys(key for found, *_ in first for key in found))

    def select(self, text: str, others: Sequence[str] = (), label: str = "") -> None:
        if self.names:
            super().select(text, others, label)
            return
        # Without any object, the rejects show better what is wrong.
        self._texts, kept = [text], list(dict.fromkeys([label, *others] if label else others))
        self._wanted = [text, *kept]
        self.schema = pa.schema([(name, pa.string()) for name in kept])

    def records(self) -> Iterator[Record]:
        for found, wrong, shown, done, line in self._objects():
            yield Record([found.get(name) for name in self._wanted], wrong, shown, done, line)

    def _objects(self) -> Iterator[tuple[dict[str, Any], str, object, int, int]]:
        """Each object or why it is none, what stands there, bytes read so far, and its line."""
        with opened(self.path) as stream:
            for number, line in _lines(stream):
                yield *_parse(line), line.strip(), stream.tell(), number


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


_BETWEEN = re.compile(r"[\s,]*")
_BLOCK = 2**20  # characters


class JsonArray(JsonLines):
    """A file that is one array of objects, of which one after the other is in memory."""

    def _objects(self) -> Iterator[tuple[dict[str, Any], str, object, int, int]]:
        decode = json.JSONDecoder().raw_decode
        with opened(self.path) as stream:
            reader = io.TextIOWrapper(stream, "utf-8-sig", "surrogateescape")
            text, at, row = reader.read(_BLOCK), 0, 0
            at = text.index("[") + 1
            while not text.startswith("]", at := _BETWEEN.match(text, at).end()):  # type: ignore[union-attr]
                try:
                    found, end = decode(text, at)
                except (RecursionError, ValueError) as err:
                    more = reader.read(max(_BLOCK, len(text) - at))
                    if not more or len(text) - at > LONGEST:
                        problem = f"{self.path}: not JSON behind object {row:,} of its array: {_why(err)}."
                        raise UsageError(problem, "Is the file whole? An object a line is read, too.") from err
                    text, at = text[at:] + more, 0
                    continue
                at, row = end, row + 1
                wrong = "" if isinstance(found, dict) else "not an object"
                yield {} if wrong else found, wrong, json.dumps(found) if wrong else None, stream.tell(), 0


def _why(err: Exception) -> str:
    return err.msg if isinstance(err, json.JSONDecodeError) else str(err)


def json_table(path: Path) -> JsonLines:
    """The reader of a JSON file, by what it begins with."""
    begin = head(path).removeprefix(codecs.BOM_UTF8).lstrip()
    if re.match(rb"\[\s*\{", begin):
        return JsonArray(path)
    first = begin.partition(b"\n")[0]
    if suffix_of(path) == ".json" and len(first) < _HEAD_SIZE // 2 and _parse(first)[1]:
        problem = f"{path}: neither an array of objects nor an object a line."
        raise UsageError(problem, 'Write a row as an object: [{"text": "...", "label": 1}, ...]')
    return JsonLines(path)


class Sheet(RowInput):
    """A sheet of a workbook, its first one unless another is named; its first row names the columns."""

    def __init__(self, path: Path, name: str = "") -> None:
        need("excel", f"Reading {path.name}")
        self.path, self._name = path, name
        with closing(self._rows()) as rows:
            about, (_, self.names) = next(rows), next(rows, (0, []))
        sheets = about[1]["names"]
        self.size, self.total = PACKED_A_BYTE * path.stat().st_size // 20, about[1]["rows"]
        self.unread = [f"sheet {each}" for each in sheets if each != about[1]["name"]]
        self.part = f" ({about[1]['name']})" if len(sheets) > 1 else ""

    def records(self) -> Iterator[Record]:
        wanted = [self.names.index(name) for name in self._wanted]
        for line, cells in itertools.islice(self._rows(), 2, None):
            yield Record([cells[k] for k in wanted], "", None, line, line)

    def _rows(self) -> Generator[tuple[int, Any]]:
        """What the workbook holds, then the rows that are not empty, with their numbers."""
        memory = 2 * MOST + PACKED_A_BYTE * self.path.stat().st_size
        command = [sys.executable, "-I", str(_PROCESS), str(self.path), self._name, str(memory)]
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process:
            try:
                number = -1
                for number, line in enumerate(map(json.loads, process.stdout or ()), 0):
                    if number == 0:
                        self._check(line)
                    if number == 0 or any(line):
                        yield number, line
            except BaseException:
                process.kill()
                raise
            if process.wait():
                raise UsageError(
                    f"{self.path}: cannot be read in {memory / 2**20:,.0f} MiB of memory.",
                    "Save the sheet as CSV UTF-8, without empty rows and columns around the table.",
                )

    def _check(self, about: dict[str, Any]) -> None:
        hint = "Open it and save it again, or save the sheet as CSV UTF-8."
        if "problem" in about:
            raise UsageError(f"{self.path}: cannot be read as a workbook: {about['problem']}.", hint)
        if about["rows"] is None:
            raise UsageError(f"{self.path}: no sheet {self._name}; there are: {', '.join(about['names'])}.")


_PROCESS = Path(__file__).with_name("sheet_process.py")
