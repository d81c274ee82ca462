"""Sessions of PostgreSQL that hold advisory locks; the driver is imported when the first one is opened."""

import hashlib
import os
import socket
import time
from typing import TYPE_CHECKING, Any

from sentiment.errors import UsageError, WorldError

if TYPE_CHECKING:
    from psycopg import Connection

# After PostgreSQL's own start whoever held a lock before gets it back first: it looks every few seconds.
GRACE = 20.0

# A machine that is gone without a word frees its locks within a minute; either side looks.
_ALIVE = {
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
    "connect_timeout": 10,
}
_SERVER_ALIVE = "SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3"
_TAKE = "SELECT pg_try_advisory_lock(%s)"
_UPTIME = "SELECT extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())"
_HOLDER = """
SELECT application_name, to_char(backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"+00:00"')
FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE locktype = 'advisory' AND granted AND objsubid = 1
  AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND (classid::bigint << 32) | objid::bigint = %s"""
_PREFIX = "sentiflow "
_MOST = 63  # characters of a session's name that PostgreSQL keeps


class LockSession:
    """A session that takes one lock; opened when it is needed, and again after it broke."""

    def __init__(self, url: str, name: str, purpose: str) -> None:
        self._url, self._key = url, key_of(name)
        self._application = f"{_PREFIX}{purpose}, process {os.getpid()} on {socket.gethostname()}"[:_MOST]
        self._connection: Connection[Any] | None = None

    def take(self, *, newcomer: bool) -> str | None:
        """Take the lock if it is free; else say who holds it.

        A newcomer leaves a server that has just started to those that held locks before it did.

        Raises:
            UsageError: the driver is missing, or the address is none.
            WorldError: PostgreSQL does not answer.
        """
        if newcomer:
            while (left := GRACE - float(self._value(_UPTIME)[0])) > 0:
                time.sleep(min(left, 1.0))
        if self._value(_TAKE, self._key)[0]:
            return None
        return self.holder() or "a process that has just ended"

    def holder(self) -> str | None:
        """Who holds the lock and since when; None when nobody does.

        Raises:
            UsageError: the driver is missing, or the address is none.
            WorldError: PostgreSQL does not answer.
        """
        row = self._value(_HOLDER, self._key)
        return f"{row[0].removeprefix(_PREFIX)}, since {row[1]}" if row else None

    def lives(self) -> bool:
        """Whether the session, and with it the lock, is still there."""
        if self._connection is None:
            return False
        try:
            return bool(self._value("SELECT 1"))
        except WorldError:
            return False

    def close(self) -> None:
        """End the session, which gives the lock back."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _value(self, sql: str, *values: int) -> Any:
        """The first row of an answer; a session that breaks is closed."""
        if self._connection is None:
            self._connection = _connect(self._url, self._application)
        try:
            return self._connection.execute(sql, values or None).fetchone()
        except _driver().Error as err:
            self.close()
            raise _away(err) from err


def key_of(name: str) -> int:
    """The number that stands for a name in PostgreSQL: 64 bits with a sign, equal on every machine."""
    return int.from_bytes(hashlib.sha256(f"sentiflow {name}".encode()).digest()[:8], "big", signed=True)


def _connect(url: str, application: str) -> "Connection[Any]":
    psycopg = _driver()
    try:
        connection: Connection[Any] = psycopg.connect(url, autocommit=True, application_name=application, **_ALIVE)
        connection.execute(_SERVER_ALIVE)
    except psycopg.OperationalError as err:
        raise _away(err) from err
    except psycopg.ProgrammingError:  # its message may quote the address, and so the password
        raise UsageError(
            "SENTIFLOW_LOCK_URL is no PostgreSQL address.", "Expected: postgresql://user:password@host/database"
        ) from None
    return connection


def _driver() -> Any:
    try:
        import psycopg
    except ImportError as err:
        raise UsageError(
            "SENTIFLOW_LOCK_URL needs the driver psycopg.", "Install it: pip install 'sentiflow[team]'"
        ) from err
    return psycopg


def _away(err: Exception) -> WorldError:
    reason = (str(err).strip().splitlines() or [type(err).__name__])[0]
    return WorldError(f"The PostgreSQL of SENTIFLOW_LOCK_URL failed: {reason}", "Is it running and reachable?")
