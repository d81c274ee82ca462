"""Rows of an input, and why some of them cannot be scored."""

import json
import math
from typing import NamedTuple

MOST = 32 * 2**20  # bytes or characters of one text: far beyond any review, and little enough to hold in memory

MISSING = "missing"
BLANK = "blank text"
NOT_UTF8 = "not UTF-8"
SURROGATE = "not Unicode text: it holds half of a surrogate pair"
TOO_LONG = f"longer than {MOST:,} characters"

_SHOWN = 200  # characters of a rejected value

_KINDS = {bool: "boolean", int: "number", float: "number", list: "array", dict: "object", bytes: "bytes"}


class Row(NamedTuple):
    """One row of an input.

    Attributes:
        text: what to score; empty where there is a reason not to.
        reason: why it cannot be scored; empty where it can.
        value: beginning of what stood there instead of a text, for people.
        done: units of the input (bytes, rows or files) that are read once this row is.
        columns: values that go along to the output, unless it is rejected.
        source: file that it stands in, for inputs of many files.
    """

    text: str
    reason: str
    value: str
    done: int
    columns: tuple[str | None, ...] = ()
    source: str = ""


class Reject(NamedTuple):
    """A row that cannot be scored; ``source`` is empty for tables."""

    row: int
    source: str
    reason: str
    value: str

    def to_json(self) -> str:
        """One line, ASCII only."""
        told = self._asdict()
        return json.dumps(told if self.source else {key: told[key] for key in told if key != "source"})


def why_not(value: object, broken: str = SURROGATE) -> str:
    """Why a value cannot be scored; empty when it can.

    Args:
        value: a text, or whatever stands in its place.
        broken: the reason given for a text that is no valid Unicode.

    Example:
        >>> why_not(None), why_not(" "), why_not(7), why_not("fine")
        ('missing', 'blank text', 'not text: number', '')
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return MISSING
    if not isinstance(value, str):
        return f"not text: {_KINDS.get(type(value), type(value).__name__)}"
    if len(value) > MOST:
        return TOO_LONG
    if not is_unicode(value):
        return broken
    return "" if value.strip() else BLANK


def is_unicode(text: str) -> bool:
    """Whether a text can be written at all: halves of surrogate pairs cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def beginning(value: object) -> str:
    r"""The first characters of a value as valid text; bytes that are none are written as ``\xff``.

    Example:
        >>> beginning(b"caf\xe9")
        'caf\\xe9'
    """
    if isinstance(value, bytes):
        return value[:_SHOWN].decode(errors="backslashreplace")
    text = (value if isinstance(value, str) else str(value))[:_SHOWN]
    try:
        return text.encode(errors="surrogateescape").decode(errors="backslashreplace")
    except UnicodeEncodeError:
        return text.encode(errors="backslashreplace").decode()
