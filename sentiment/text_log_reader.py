"""What stands in a text log that a reader has not seen yet."""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from sentiment.files import publish
from sentiment.text_log import Entry, Segment, locked, segments

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
        found._parts.append((stack.enter_context(segment.path.open("rb")), start, segment.size))


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
