"""Monitoring: the log of scored texts, one SQLite file that the service and scoring write, and checks read."""

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path

from pydantic import BaseModel, Field

from sentiflow.errors import ExternalError, UsageError, first_line
from sentiflow.files import empty_folder, make_folder, publish_private
from sentiflow.locks import file_lock, lock_file, work_folder
from sentiflow.settings import PREFIX, Settings

SERVED, SCORED = "served", "scored"
MEGABYTE = 1_000_000

_TIMEOUT = 15.0  # seconds to wait for other processes; SQLite serves those that wait in no order
_OWNER_ONLY = 0o600  # texts are whatever people wrote
_BATCH = 2_048  # texts read at a time
_ROW = 100  # bytes of a text's other columns, rounded up
_CHECKED = ".checked.json"
_MAX_NOTE = 100_000  # bytes
_KILLED = "a process was killed while it wrote; the next text that is logged repairs the file"

_TEXTS = """
CREATE TABLE IF NOT EXISTS texts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,  -- an id is not used again after its text is deleted
    at TEXT NOT NULL,
    source TEXT NOT NULL,
    model TEXT NOT NULL,
    version INTEGER NOT NULL,
    score REAL NOT NULL,
    text TEXT NOT NULL
)"""
_INSERT = "INSERT INTO texts (at, source, model, version, score, text) VALUES (?, ?, ?, ?, ?, ?)"
_SELECT = """
SELECT at, source, model, version, score, text, id FROM texts
WHERE model = ? AND id > ? AND id <= ? ORDER BY id LIMIT ?"""
_LAST_ID = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'texts'"
_DELETE_OLDEST = "DELETE FROM texts WHERE id <= (SELECT min(id) + (max(id) - min(id)) / 16 FROM texts)"


@dataclass(frozen=True)
class Entry:
    """One text."""

    at: str  # when it was scored, UTC, in ISO format
    source: str  # ``served`` or ``scored``
    model: str
    version: int
    score: float
    text: str  # as it came; half of a surrogate pair is kept as a question mark
    id: int = 0  # in the log; 0 until it is read from there


class DamagedLogError(ExternalError, OSError):
    """A file of the log is not what was written."""

    def __init__(self, file: Path, err: Exception) -> None:
        hint = "Move that file away; the next text makes a new one."
        super().__init__(f"The log of texts is damaged: {file}: {first_line(err)}.", hint)


class Note(BaseModel):
    """What checks note of a model."""

    id: int = Field(0, ge=0, lt=2**63)  # up to which its texts have been checked
    psi: dict[str, float] = {}  # of each feature, by the last check
    accuracy: float | None = None  # in use, by the last sample that was labelled


class TextLog:
    """A log in a folder; neither is made before the first text.

    Whoever may write texts can plant anything in the folder, a journal too, which makes SQLite delete files as it
    repairs the log. So reading repairs nothing, and what a check notes lies beside the log.

    Every method raises ``OSError`` if the file cannot be used: the disk is full or read-only, the file is damaged,
    or another process holds it for more than 15 seconds.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder, self.file, self._max = folder, folder / "texts.db", max_bytes

    def append(self, entries: Sequence[Entry]) -> int:
        """Write texts; the oldest ones of all models are deleted to make room.

        Gives how many were written: texts that need more than half of the log are left out.
        """
        rows = [(*astuple(entry)[:-2], entry.text.encode("utf-8", "replace").decode()) for entry in entries]
        rows = [row for row in rows if 2 * (len(row[-1].encode()) + _ROW) <= self._max]
        make_folder(self.folder)
        if not self.file.exists():  # a new log begins again with the first id
            for model in self.notes():
                self.mark(model, id=0)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
        os.close(os.open(self.file, flags, _OWNER_ONLY))  # SQLite's journal gets the same mode
        with self._open("rw") as db:
            db.execute("PRAGMA auto_vacuum = FULL")  # deleted texts leave the file, which shrinks
            db.execute("BEGIN IMMEDIATE")
            with db:  # commits, or rolls back after an exception
                db.execute(_TEXTS)
                db.executemany(_INSERT, rows)
                while _used(db) > self._max and db.execute(_DELETE_OLDEST).rowcount:
                    pass
        return len(rows)

    def unchecked(self, model: str) -> Iterator[list[Entry]]:
        """Texts of a model that no check has seen, oldest first, in batches, without those written meanwhile."""
        yield from self.after(model, self._note(model).id)

    def after(self, model: str, last: int) -> Iterator[list[Entry]]:
        """Texts of a model behind that id, as ``unchecked`` gives them.

        Writers are not blocked between two batches.
        """
        if not self.file.is_file():
            return
        with self._open("ro") as db:
            if not _has_table(db):
                return
            (end,) = db.execute("SELECT coalesce(max(id), 0) FROM texts").fetchone()
            if last > db.execute(_LAST_ID).fetchone()[0]:  # it is of a log that was deleted meanwhile
                last = 0
            while rows := db.execute(_SELECT, (model, last, end, _BATCH)).fetchall():
                yield [Entry(*row) for row in rows]
                last = rows[-1][-1]

    def delete(self, matches: Callable[[str], bool]) -> None:
        """Delete all texts that match, of all models."""
        if not self.file.is_file():
            return
        with self._open("rw") as db:
            if not _has_table(db):
                return
            db.execute("PRAGMA secure_delete = ON")
            rows = db.execute("SELECT id, text FROM texts").fetchall()
            with db:
                db.executemany("DELETE FROM texts WHERE id = ?", [(row,) for row, text in rows if matches(text)])

    def mark(self, model: str, **found: object) -> None:
        """Note fields of a ``Note``."""
        note = self._note(model).model_copy(update=found)
        publish_private(self.folder / f"{model}{_CHECKED}", note.model_dump_json().encode())

    def notes(self) -> dict[str, Note]:
        """What was noted of each model."""
        names = sorted(note.name.removesuffix(_CHECKED) for note in self.folder.glob(f"*{_CHECKED}"))
        return {name: self._note(name) for name in names}

    def _note(self, model: str) -> Note:
        note = self.folder / f"{model}{_CHECKED}"
        try:
            with os.fdopen(os.open(note, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
                return Note.model_validate_json(file.read(_MAX_NOTE))
        except FileNotFoundError:
            return Note()
        except ValueError as err:
            raise DamagedLogError(note, err) from err

    @contextmanager
    def _open(self, mode: str) -> Iterator[sqlite3.Connection]:
        try:
            # Only ``append`` makes the file, for its owner alone.
            address = f"{self.file.absolute().as_uri()}?mode={mode}"
            with closing(sqlite3.connect(address, timeout=_TIMEOUT, isolation_level=None, uri=True)) as db:
                yield db
        except sqlite3.OperationalError as err:
            killed = getattr(err, "sqlite_errorname", "") == "SQLITE_READONLY_ROLLBACK"
            raise OSError(f"{self.file}: {_KILLED if killed else err}") from err
        except sqlite3.Error as err:
            raise DamagedLogError(self.file, err) from err


def _has_table(db: sqlite3.Connection) -> bool:
    """A log has none at first, and if the process that began it was killed."""
    return bool(db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'texts'").fetchone()[0])


@contextmanager
def check_folder(model: str, settings: Settings, patience: float = 0.0) -> Iterator[Path]:
    """Hold the lock of a model's drift checks, and give an empty folder for their files.

    It is in the data folder: the service, which strangers ask, can write to the log's. A killed check leaves texts
    there.
    """
    name = f"{model}.monitor"
    lock, what = lock_file(name, settings), f"Another drift check of {model}"
    with file_lock(lock, what, "monitoring", patience=patience), empty_folder(work_folder(name, settings)) as work:
        yield work


def need_log(settings: Settings) -> TextLog:
    """The log that the settings name, or a UsageError."""
    log = configured_log(settings)
    if log is None:
        raise UsageError(
            "There is no log of scored and served texts.",
            f"Set {PREFIX}PREDICTION_LOG_DIR to a folder, for this command, the service and the scorer.",
        )
    return log


def configured_log(settings: Settings) -> TextLog | None:
    """The log that the settings name; None if they name none."""
    if settings.prediction_log_dir is None:
        return None
    return TextLog(settings.prediction_log_dir, int(settings.prediction_log_mb * MEGABYTE))


def _used(db: sqlite3.Connection) -> int:
    """Bytes of the pages in use."""
    pages, free, size = (
        db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)
