"""The log of scored texts: written by the service and by scoring, read by the monitor."""

import errno
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from os import O_APPEND, O_CREAT, O_RDWR, SEEK_END, fdopen
from os import open as open_file
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout

from sentiflow.files import publish

SERVED, SCORED = "served", "scored"

_SEGMENTS = 16  # of a full log: so much of it goes at a time
_PATIENCE = 5.0  # seconds to wait for another writer, many times what a write takes
_MINE_ALONE = 0o600  # texts are whatever people wrote


@dataclass(frozen=True)
class Entry:
    """One text.

    Attributes:
        at: when it was scored, UTC, in ISO format.
        source: ``served`` or ``scored``.
        model: registered name of what scored it.
        version: its number.
        score: what it said, 0 to 1.
        text: as it came.
    """

    at: str
    source: str
    model: str
    version: int
    score: float
    text: str

    def to_line(self) -> bytes:
        """One line of JSON; half of a character pair, which JSON can carry, is kept, too."""
        return json.dumps(vars(self), ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"


@dataclass(frozen=True)
class Segment:
    """A file of the log, and its size when it was looked at."""

    path: Path
    size: int

    @property
    def begun(self) -> int:
        """Nanoseconds since the epoch; segments of all models are told apart by it."""
        return int(self.path.stem)


class TextLog:
    """The way into a log; nothing is made before the first text."""

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self.folder, self._most = folder, most_bytes
        self._segment = max(most_bytes // _SEGMENTS, 1)

    def append(self, entries: Sequence[Entry]) -> int:
        """Write texts; the oldest ones of all models go where there is no room.

        Returns:
            How many were written; a text that is longer than the whole log is not.

        Raises:
            OSError: the disk is full or cannot be written to, or another process holds the log for long.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        written = 0
        with locked(self.folder):
            for model, group in groupby(entries, lambda entry: entry.model):
                lines = [line for line in (entry.to_line() for entry in group) if len(line) < self._most]
                (self.folder / model).mkdir(mode=0o700, exist_ok=True)
                for chunk in _chunks(lines, self._segment):
                    self._write(model, b"".join(chunk))
                    written += len(chunk)
        return written

    def _write(self, model: str, lines: bytes) -> None:
        kept = self._make_room(len(lines) + 1)  # one more to end a torn line
        mine = [segment for segment in kept if segment.path.parent.name == model]
        if mine and mine[-1].size + len(lines) <= self._segment:
            path = mine[-1].path
        else:  # a clock that was put back must not make the newest segment look old
            begun = max([time.time_ns(), *(segment.begun + 1 for segment in kept)])
            path = self.folder / model / f"{begun:020d}.jsonl"
        with fdopen(open_file(path, O_RDWR | O_APPEND | O_CREAT, _MINE_ALONE), "r+b") as stream:
            if stream.seek(0, SEEK_END):
                stream.seek(-1, SEEK_END)
                lines = lines if stream.read(1) == b"\n" else b"\n" + lines
            stream.write(lines)

    def _make_room(self, wanted: int) -> list[Segment]:
        """Delete the oldest segments until so many bytes have room; gives those that stay, oldest first."""
        kept = segments(self.folder.glob("*/*.jsonl"))
        total = sum(segment.size for segment in kept)
        while kept and total + wanted > self._most:
            oldest = kept.pop(0)
            oldest.path.unlink()
            total -= oldest.size
        return kept


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a log's lock; the folder must be there.

    Raises:
        OSError: it cannot be had.
    """
    lock = FileLock(folder / ".lock", mode=_MINE_ALONE)
    try:
        lock.acquire(timeout=_PATIENCE, poll_interval=0.01)
    except Timeout as err:
        raise TimeoutError(errno.ETIMEDOUT, "another process holds the text log", str(folder)) from err
    try:
        yield
    finally:
        lock.release()


def segments(files: Iterable[Path]) -> list[Segment]:
    """Segments with their sizes, oldest first; the log's lock must be held."""
    found = [Segment(path, path.stat().st_size) for path in files if path.stem.isdecimal()]
    return sorted(found, key=lambda segment: segment.begun)


def _chunks(lines: Sequence[bytes], most: int) -> Iterator[Sequence[bytes]]:
    """Consecutive lines of so many bytes; a longer line stands alone."""
    first, size = 0, 0
    for k, line in enumerate(lines):
        if size + len(line) > most and k > first:
            yield lines[first:k]
            first, size = k, 0
        size += len(line)
    if first < len(lines):
        yield lines[first:]


_SEEN = ".seen.json"

Seen = Mapping[str, int]


@dataclass
class Unread:
    """Texts of one model that were not read before; they stay readable while newer ones push them out.

    Attributes:
        seen: bytes of each segment that are read once ``entries`` is through: where the next look begins.
        skipped: lines that were no texts, torn by a kill or damaged; counts while ``entries`` is read.
        begins: segment and byte of the first new text; empty when there is none.
    """

    seen: dict[str, int] = field(default_factory=dict)
    skipped: int = 0
    begins: str = ""
    _parts: list[tuple[BinaryIO, int, int]] = field(default_factory=list)

    def entries(self) -> Iterator[Entry]:
        """Each text, oldest first, as far as one process wrote them."""
        for stream, start, end in self._parts:
            stream.seek(start)
            while stream.tell() < end:
                line = stream.readline(end - stream.tell())
                entry = _parsed(line)
                if entry is not None:
                    yield entry
                elif line != b"\n":  # the end of a torn line that was counted before
                    self.skipped += 1


@contextmanager
def unread(folder: Path, model: str, seen: Seen) -> Iterator[Unread]:
    """Open what is new since ``seen``; writers go on meanwhile, and what they write is for the next look.

    Raises:
        OSError: the log cannot be read, or another process holds it for long.
    """
    found = Unread()
    with ExitStack() as stack:
        if folder.is_dir():
            with locked(folder):
                for segment in segments((folder / model).glob("*.jsonl")):
                    _open(segment, seen, found, stack)
        yield found


def _open(segment: Segment, seen: Seen, found: Unread, stack: ExitStack) -> None:
    found.seen[segment.path.name] = segment.size
    start = seen.get(segment.path.name, 0)
    if start < segment.size:
        found.begins = found.begins or f"{segment.path.name} {start}"
        found._parts.append((stack.enter_context(segment.path.open("rb")), start, segment.size))  # noqa: SLF001 - of this module


def read_seen(folder: Path, model: str) -> Seen:
    """Where the last look ended; nothing before the first, or when that cannot be told."""
    try:
        seen = json.loads((folder / model / _SEEN).read_text(encoding="utf-8"))
        return {str(name): int(end) for name, end in seen.items()}
    except (FileNotFoundError, ValueError, TypeError, AttributeError):
        return {}


def write_seen(folder: Path, model: str, seen: Seen) -> None:
    """Keep where a look ended, by one rename."""
    content = json.dumps(dict(seen), indent=1)
    publish(folder / model / _SEEN, lambda path: path.write_text(content, encoding="utf-8"))


def _parsed(line: bytes) -> Entry | None:
    try:
        entry = Entry(**json.loads(line))
    except (ValueError, TypeError):
        return None
    if not (isinstance(entry.text, str) and isinstance(entry.at, str) and line.endswith(b"\n")):
        return None
    return entry
