"""JSON Lines: an object a line."""

import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from sentiment.batch.rows import MOST, NOT_UTF8, SURROGATE, TOO_LONG, Row, beginning, is_unicode, why_not
from sentiment.batch.source import RowSource, check_columns, text_schema

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
