"""The SQLite file of a local MLflow store, read without MLflow: importing it takes longer than an answer may."""

import logging
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

from sentiflow.errors import WorldError

LOGGER = logging.getLogger(__name__)

DELETED = "Deleted_Internal"  # how MLflow marks a deleted version in its table

PATIENCE = 60.0  # seconds that a locked database is waited for
_ATTEMPT = 1.0  # seconds of one attempt; in between an interrupt is heard
_TIMEOUT = "PRAGMA busy_timeout"

T = TypeVar("T")


class PatientConnection(sqlite3.Connection):
    """A connection that waits while another process holds the database locked, and says so once.

    A statement is tried again only when no transaction was open before it: with one open, the other process may
    be waiting for this one.
    """

    def __init__(self, database: str, *args: Any, **more: Any) -> None:
        super().__init__(database, *args, **{**more, "timeout": _ATTEMPT})
        self._name = database.removeprefix("file://").partition("?")[0]

    def cursor(self, factory: Any = None) -> Any:
        """A cursor that waits likewise."""
        return super().cursor(factory or _PatientCursor)

    def execute(self, *what: Any) -> sqlite3.Cursor:
        """Carry out a statement."""
        cursor: sqlite3.Cursor = self.cursor().execute(*what)
        return cursor

    def commit(self) -> None:
        """Commit; this may be tried again, as it waits for readers alone."""
        self.patiently(super().commit)

    def patiently(self, work: Callable[[], T]) -> T:
        """Do some work, and again while the database is locked, for a minute."""
        began, told = time.monotonic(), False
        while True:
            try:
                return work()
            except sqlite3.OperationalError as err:
                if not is_locked(err) or time.monotonic() - began > PATIENCE:
                    raise
            if not told:
                LOGGER.warning(
                    "waiting for %s: another process holds it locked (up to %.0f s)", self._name, PATIENCE
                )
                told = True


class _PatientCursor(sqlite3.Cursor):
    connection: PatientConnection

    def execute(self, sql: str, *values: Any) -> "_PatientCursor":
        if sql.startswith(_TIMEOUT):  # MLflow's own, of 20 s in one piece
            return self
        return self._patiently(lambda: super(_PatientCursor, self).execute(sql, *values))

    def executemany(self, sql: str, rows: Any) -> "_PatientCursor":
        kept = list(rows)
        return self._patiently(lambda: super(_PatientCursor, self).executemany(sql, kept))

    def _patiently(self, work: Callable[[], Any]) -> "_PatientCursor":
        if self.connection.in_transaction:
            work()
        else:
            self.connection.patiently(work)
        return self


def is_locked(err: BaseException) -> bool:
    """Whether SQLite says that another connection holds the database."""
    return (getattr(err, "sqlite_errorcode", 0) & 0xFF) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def locked_error(store: str) -> WorldError:
    """What to tell of a database that stayed locked."""
    return WorldError(
        f"The store {store}: database is locked by another process, for more than {PATIENCE:.0f} s.",
        "Wait for that process to end, or stop it, and run again.",
    )


def query(file: Path, sql: str, *values: str | int) -> list[tuple[Any, ...]]:
    """Ask the file, which is opened for reading only.

    Raises:
        WorldError: it cannot be read, is no store, or stays locked.
    """
    try:
        try:
            return _fetch(file, "ro", sql, values)
        except sqlite3.OperationalError as err:
            if err.sqlite_errorcode & 0xFF != sqlite3.SQLITE_READONLY:
                raise
        return _fetch(file, "rw", sql, values)  # what a killed process left half-written is undone first
    except sqlite3.Error as err:
        if is_locked(err):
            raise locked_error(str(file)) from err
        raise WorldError(f"Cannot read the store {file}: {err}.", "Is it an MLflow store?") from err


def _fetch(file: Path, mode: str, sql: str, values: tuple[str | int, ...]) -> list[tuple[Any, ...]]:
    address = f"{file.as_uri()}?mode={mode}"
    with closing(sqlite3.connect(address, uri=True, factory=PatientConnection)) as connection:
        return connection.execute(sql, values).fetchall()
