"""Rows that cannot be used: why, what to do about them, and the file that they are written to."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import NamedTuple

from sentiflow.files import LONGEST
from sentiflow.redaction import is_unicode

NO_TEXT = "no text"
NOT_CSV = "not CSV"
NOT_JSON = "not JSON"
NOT_UTF8 = "not UTF-8"
TOO_LONG = f"longer than {LONGEST:,} characters"

_SHOWN = 200  # characters of a rejected value


class Reject(NamedTuple):
    """A row that cannot be used; ``line`` is 0 and ``source`` empty where an input has no such thing."""

    row: int
    line: int
    source: str
    reason: str
    value: str

    def to_json(self) -> str:
        """One line, ASCII only."""
        fields = self._asdict()
        return json.dumps({key: fields[key] for key in fields if fields[key] or key not in ("line", "source")})


def kind_of(reason: str) -> str:
    """A reason without its details."""
    return reason.partition(":")[0]


_HINTS = {
    NOT_UTF8: "If all of it has another encoding, save it as UTF-8: iconv -f cp1252 -t utf-8 {path} > utf8-{name}",
    NOT_CSV: "Double a quote inside a quoted text, and close each that is opened.",
    "wrong number of fields": "A text that contains the separator of the columns needs quotes around it.",
}


def hints_for(kinds: Iterable[str], path: Path) -> list[str]:
    """What to do about rejects of these kinds in a table."""
    is_text = path.suffix.lower() in (".csv", ".jsonl", ".ndjson")
    hints = _HINTS if is_text else {NOT_UTF8: "Write those texts as UTF-8."}
    return [hints[kind].format(path=quote(str(path)), name=quote(path.name)) for kind in kinds if kind in hints]


OUTPUT_COLUMNS = ("row", "label", "score", "model", "version")
"""Columns that each output of scoring has."""

_REJECTS = ".rejects.jsonl"


def rejects_of(path: Path) -> Path:
    """The file of rejects beside an output or a training table.

    Example:
        >>> rejects_of(Path("reviews.csv")).name
        'reviews.csv.rejects.jsonl'
    """
    return path.with_name(f"{path.name}{_REJECTS}")


def is_rejects(path: Path) -> bool:
    """Whether a file is named as rejects are."""
    return path.name.endswith(_REJECTS)


def count_reasons(reasons: Mapping[str, int]) -> str:
    """Reasons and how often each.

    Example:
        >>> count_reasons({"no text": 1200, "not UTF-8": 1})
        '1,200 no text, 1 not UTF-8'
    """
    return ", ".join(f"{count:,} {reason}" for reason, count in reasons.items())


def count_left_out(labels: Mapping[str, int]) -> str:
    """Labels whose rows are left out, and how many rows these are; the empty label is none.

    Example:
        >>> count_left_out({"3": 600, "": 8})
        '608 rows left out (label 3, none)'
    """
    count = sum(labels.values())
    names = ", ".join(label or "none" for label in labels)
    return f"{count:,} {'row' if count == 1 else 'rows'} left out (label {names})"


def why_not(value: object) -> str:
    """Why a value, a text or whatever stands in its place, is no text to use; empty when it is one.

    Example:
        >>> why_not(None), why_not(" "), why_not(7), why_not("fine")
        ('no text', 'no text', 'not text: int', '')
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return NO_TEXT
    if not isinstance(value, str):
        return f"not text: {type(value).__name__}"
    if len(value) > LONGEST:
        return TOO_LONG
    if not is_unicode(value):
        return NOT_UTF8
    return "" if value.strip() else NO_TEXT


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


@dataclass(frozen=True)
class Rejected:
    """The rows of a user's table that are not trained on."""

    rows: int  # of the table, those left out not counted; rejected ones are among them
    reasons: dict[str, int]
    file: str  # of the rejected rows, an object a line
    digest: str  # SHA-256 of that file

    @property
    def text(self) -> str:
        """How many there are, and why."""
        count = sum(self.reasons.values())
        return f"{count:,} of {self.rows:,} rows rejected ({count_reasons(self.reasons)})"

    def __str__(self) -> str:
        return f"{self.text}: {self.file}"
