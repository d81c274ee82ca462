"""The rows of the files that people bring: read, or rejected with a reason."""

import json
import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from shlex import quote
from typing import NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow.lib import StringBuilder

from sentiflow.data.packed import on_disk
from sentiflow.errors import ExternalError, UsageError
from sentiflow.files import LONGEST, publish_private
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
    is_text = path.suffix.lower() in (".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".json", "")
    hints = _HINTS if is_text else {NOT_UTF8: "Write those texts as UTF-8."}
    return [hints[kind].format(path=quote(str(path)), name=quote(path.name)) for kind in kinds if kind in hints]


OUTPUT_COLUMNS = ("row", "label", "score", "model", "version")  # of each output of scoring

REJECTS = ".rejects.jsonl"


def rejects_of(path: Path) -> Path:
    """The file of rejects beside an output."""
    return path.with_name(f"{path.name}{REJECTS}")


def count_reasons(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in reasons.items())


def by_label(counts: Mapping[str, int]) -> dict[str, int]:
    """Counts of labels, the commonest first; of spellings in different case the commonest stands for all."""
    spelled: dict[str, str] = {}
    found: Counter[str] = Counter()
    for label, count in sorted(counts.items(), key=lambda each: (-each[1], each[0])):
        found[spelled.setdefault(label.casefold(), label)] += count
    return dict(found.most_common())


def count_left_out(labels: Mapping[str, int], of: str = "") -> str:
    """Labels whose rows are left out of something, and how many rows these are; the empty label is none."""
    count = sum(labels.values())
    return f"{count:,} {'row' if count == 1 else 'rows'} left out{of} (label {_listed(labels)})"


def share_kept(kept: int, labels: Mapping[str, int]) -> str:
    """Of which rows a figure is, where those of some labels are left out of it; else empty."""
    all_rows = kept + sum(labels.values())
    return f"{100 * kept // all_rows}% of the rows; label {_listed(labels)} left out" if labels else ""


def _listed(labels: Mapping[str, int]) -> str:
    names = [f"{label:.40}" or "none" for label in labels]
    return ", ".join(names[:5] + ["..."] * (len(names) > 5))


def why_not(value: object) -> str:
    """Why a value, a text or whatever stands in its place, is no text to use; empty when it is one."""
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
    r"""The first characters of a value as valid text; bytes that are none are written as ``\xff``."""
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

    def __str__(self) -> str:
        count = sum(self.reasons.values())
        return f"{count:,} of {self.rows:,} rows rejected ({count_reasons(self.reasons)}): {self.file}"


_READINGS = 10  # whose rejects are kept


def keep_rejects(rejects: Sequence[Reject], rows: int, folder: Path) -> Rejected | None:
    """Write the rejects of so many rows into a folder, where those of the last readings stay."""
    if not rejects:
        return None
    content = "".join(f"{reject.to_json()}\n" for reject in rejects).encode()
    file = folder / f"{sha256(content).hexdigest()[:12]}{REJECTS}"
    publish_private(file, content)
    for old in sorted(folder.glob(f"*{REJECTS}"), key=lambda each: each.stat().st_mtime_ns)[:-_READINGS]:
        old.unlink()
    reasons = Counter(kind_of(reject.reason) for reject in rejects)
    return Rejected(rows, dict(reasons.most_common()), str(file))


def numbers(values: NDArray[np.int64] | NDArray[np.int32] | NDArray[np.float64]) -> pa.Array:
    """An array of numbers, none missing."""
    content = pa.py_buffer(np.ascontiguousarray(values))
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [None, content])


def strings(values: Iterable[str | bytes | None]) -> pa.Array:
    """An array of texts, None where one is missing; ``pa.array`` would import pandas, in half a second."""
    builder = StringBuilder()
    builder.append_values(values)
    return builder.finish()


class Row(NamedTuple):
    """One row of an input."""

    text: str  # the text; empty where there is a reason to reject the row
    reason: str  # why it is rejected, in words that end where a colon begins details; empty where it is not
    value: str  # beginning of what stood there instead of a text, for people
    done: int  # units of the input (bytes, rows or files) that are read once this row is
    line: int = 0  # of the file, where the row begins, from 1; 0 for inputs without lines
    columns: tuple[str | None, ...] = ()  # those that were selected beside the text, unless it is rejected
    source: str = ""  # file that it stands in, for inputs of many files


def changed(source: object) -> ExternalError:
    """The error for an input that is another one than when its reading began."""
    return ExternalError(f"{source} changed while it was read.", "Run again when nothing else writes to it.")


CHUNK_ROWS = 2_048  # enough to sort by length, few enough to share out
CHUNK_SIZE = 8_000_000  # characters or bytes: a chunk of long texts ends sooner


@dataclass(frozen=True)
class Chunk:
    """Consecutive rows of an input."""

    rows: list[int]  # numbers of the rows that have a text, the others are rejects; 1 is the first of the input
    lines: list[int]  # of the file, where these rows begin; 0 for inputs without lines
    texts: list[str]
    columns: pa.Table  # those selected beside the text, a row a text
    rejects: list[Reject]
    units: int  # of the input (bytes, rows or files) that this chunk took

    def __len__(self) -> int:
        return len(self.rows) + len(self.rejects)


class Input(ABC):
    """An input whose rows can be read more than once, each time in the same chunks."""

    path: Path
    names: Sequence[str] = ()
    part: str = ""  # which of several tables of the file it is, for people
    unread: Sequence[str] = ()  # what else the input holds and is not read
    total: int  # units of progress: bytes, rows or files
    size: int  # bytes of the texts, about
    schema: pa.Schema  # of the columns selected beside the text
    many: bool = False  # the input is many files, and what goes along is the name of each

    @abstractmethod
    def select(self, text: str, others: Sequence[str] = (), label: str = "") -> None:
        """Choose the column of texts, and what to read beside it; see ``find_columns``."""

    def select_usual(self, text: str, others: Sequence[str] = (), label: str = "") -> list[str]:
        """Choose columns, of other usual names where none is called so; tell which."""
        found = {name: usual_column(self.path, name, self.names) for name in (text, label)}
        self.select(found[text], others, found[label])
        return [f"Taken for the column {name}: {taken}" for name, taken in found.items() if taken != name]

    @abstractmethod
    def groups(self) -> Iterator[tuple[list[Row], pa.Table, int]]:
        """The rows of each chunk, the columns of those that have a text, and the units that all of them took."""

    def chunks(self) -> Iterator[Chunk]:
        """Read the selected columns from the beginning; a chunk is a function of the input alone."""
        first = 1
        for group, columns, units in self.groups():
            rows = list(enumerate(group, first))
            good = [(k, row) for k, row in rows if not row.reason]
            rejects = [Reject(k, row.line, row.source, row.reason, row.value) for k, row in rows if row.reason]
            places, lines = [k for k, _ in good], [row.line for _, row in good]
            yield Chunk(places, lines, [row.text for _, row in good], columns, rejects, units)
            first += len(group)

    def state(self) -> object:
        """Its size and time of change: equal as long as nothing writes to it."""
        about = on_disk(self.path).stat()
        return about.st_size, about.st_mtime_ns


class Record(NamedTuple):
    """What an input has in place of a row."""

    values: Sequence[object]  # of the columns of texts, then of those that go along
    wrong: str  # why it is no row; empty if it is one
    shown: object  # what stands there, for people; None for its text
    done: int  # as in ``Row``, and so are the others
    line: int = 0
    source: str = ""


class RowInput(Input):
    """An input that is read row by row; what goes along is text."""

    _texts: Sequence[str]

    def select(self, text: str, others: Sequence[str] = (), label: str = "") -> None:
        self._texts, kept = find_columns(self.path, self.names, text, others, label)
        self._wanted = [*self._texts, *kept]
        self.schema = pa.schema([(name, pa.string()) for name in kept])

    @abstractmethod
    def records(self) -> Iterator[Record]:
        """Read from the beginning, row by row; blank lines are no rows."""

    def rows(self) -> Iterator[Row]:
        texts = len(self._texts)
        for values, wrong, shown, done, line, source in self.records():
            text = None if wrong else values[0] if texts == 1 else joined(values[:texts])
            kept = tuple([_as_text(value) for value in values[texts:]])
            reason = wrong or why_not(text)
            if not (reason or all(is_unicode(value) for value in kept if value)):
                reason = NOT_UTF8
            if reason:
                yield Row("", reason, beginning((text or "") if shown is None else shown), done, line, (), source)
            else:
                yield Row(str(text), "", "", done, line, kept, source)

    def groups(self) -> Iterator[tuple[list[Row], pa.Table, int]]:
        done = 0
        sized = ((row, 1, sum(map(len, filter(None, (row.text, *row.columns))))) for row in self.rows())
        for group in _grouped(sized, CHUNK_ROWS, CHUNK_SIZE):
            good = [row.columns for row in group if not row.reason]
            columns = [strings([each[k] for each in good]) for k in range(len(self.schema))]
            yield group, pa.table(columns, schema=self.schema), group[-1].done - done
            done = group[-1].done


def _as_text(value: object) -> str | None:
    """A text as it is, another value as JSON, null as nothing."""
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def joined(values: Sequence[object]) -> object:
    """The text of a row's columns of texts, with a space between; what is empty in one of them is left out."""
    if len(values) == 1:
        return values[0]
    there = [value for value in values if not (value is None or value != value or value == "")]
    others = [value for value in there if not isinstance(value, str)]
    return others[0] if others else " ".join(map(str, there)) or None


def _shown(name: str) -> str:
    """A column's name for a terminal, which must not obey it."""
    return f"{name:.60}" if name.isprintable() else f"{name!r:.60}"


def match(name: str, found: Sequence[str]) -> list[str]:
    """The columns that a name means: those written so, else those that differ only in case and outer spaces."""
    exact = [each for each in found if each == name]
    return exact or [each for each in found if each.strip().lower() == name.strip().lower()]


_USUAL = {
    "text": (
        "review", "reviews", "review_text", "reviewtext", "content", "body", "comment", "comments", "message",
        "sentence", "tweet", "feedback", "texts", "评论", "评价", "内容", "文本",
    ),
    "label": (
        "sentiment", "rating", "stars", "score", "class", "target", "polarity", "labels", "标签", "情感", "评分",
        "星级",
    ),
}  # fmt: skip
"""Names that other tables give to the columns that are called text and label unless an option says otherwise."""


def usual_column(path: Path, name: str, found: Sequence[str]) -> str:
    """A column of another usual name, where there is none of the name that is looked for by default."""
    if match(name, found):
        return name
    there = [each for each in found if each.strip().lower() in _USUAL.get(name, ())]
    if len(there) > 1:
        names = " or ".join(map(_shown, there))
        raise UsageError(f"{path}: no column {name}, and {names} may be it.", f"Say which: --{name}-column NAME")
    return there[0] if there else name


def find_columns(
    path: Path, found: Sequence[str], text: str, others: Sequence[str] = (), label: str = ""
) -> tuple[list[str], list[str]]:
    """The columns that names mean by ``match``, as the table writes them: of texts, then of labels and others.

    ``title,body`` are two columns of texts, unless one is called so.
    """
    texts = [text] if match(text, found) else list(filter(None, map(str.strip, text.split(",")))) or [text]
    kept = [label, *others] if label else others
    options = dict.fromkeys(others, "--keep") | {label: "--label-column"} | dict.fromkeys(texts, "--text-column")
    matches = {name: match(name, found) for name in (*texts, *kept)}
    missing = [name for name, there in matches.items() if not there]
    problems = [f"no column {name}" for name in missing]
    hint = "Rename one of them in the table."
    if missing:
        problems.append(f"there are: {', '.join(map(_shown, found)) or 'none':.2000}")
        given = " ".join(f"{option} NAME" for option in dict.fromkeys(options[name] for name in missing))
        hint = f"Name a column that is there: {given}"
    several = {name: " or ".join(map(_shown, there)) for name, there in matches.items() if len(there) > 1}
    problems += [f"the column {name} may mean {names:.200}" for name, names in several.items()]
    if problems:
        raise UsageError(f"{path}: {'; '.join(problems)}.", hint)
    return [matches[name][0] for name in texts], list(dict.fromkeys(matches[name][0] for name in kept))


_Item = TypeVar("_Item")


def _grouped(sized: Iterable[tuple[_Item, int, int]], max_rows: int, max_size: int) -> Iterator[list[_Item]]:
    """Items, each with its rows and its size, in groups that end with the one that reaches either bound."""
    group: list[_Item] = []
    rows = size = 0
    for item, more, bytes_more in sized:
        group.append(item)
        rows, size = rows + more, size + bytes_more
        if rows >= max_rows or size >= max_size:
            yield group
            group, rows, size = [], 0, 0
    if group:
        yield group


def grouped_tables(tables: Iterable[pa.Table], max_rows: int, max_size: int) -> Iterator[pa.Table]:
    """Concatenate tables up to ``max_rows`` rows or ``max_size`` bytes, whichever comes first."""
    return map(pa.concat_tables, _grouped(((each, len(each), each.nbytes) for each in tables), max_rows, max_size))
