"""Locks that end with their process: files on one machine, a PostgreSQL session for several."""

import hashlib
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from sentiflow.console import Logger
from sentiflow.errors import BusyError, UsageError, WorldError
from sentiflow.settings import Settings

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


HOUSEKEEPING = "housekeeping"

_BEAT = 5.0  # seconds between two looks at the session
_SHARED_POLL = 1.0  # seconds between two attempts of who waits
_BRIEF = 30.0  # seconds: many times what housekeeping holds a lock for


class SharedLock:
    """One lock of one name, held by a session of its own.

    A session that breaks (PostgreSQL restarted, a network cut) is opened again in the background, and the lock
    taken again; the log tells. Who finds it taken by another meanwhile goes on, and tells: its result is right all
    the same, and hours of work are worth more than the load of two trainings at a time.

    Attributes:
        lost_to: who took the lock while the session was broken; None as it should be.
    """

    def __init__(self, url: str, name: str, purpose: str, logger: Logger) -> None:
        self.lost_to: str | None = None
        self._session, self._name, self._logger = LockSession(url, name, purpose), name, logger
        self._holds = False
        self._ended = threading.Event()
        self._keeper = threading.Thread(target=self._keep, daemon=True, name=f"lock of {name}")

    def take(self, seconds: float, what: str) -> None:
        """Take the lock, waiting so long for another holder, of whom the log tells.

        Raises:
            UsageError: the driver is missing, or the address is none.
            BusyError: another session still holds the lock.
            WorldError: PostgreSQL does not answer.
        """
        try:
            self._wait(seconds, what)
        except BaseException:
            self._session.close()
            raise
        self._holds = True
        self._keeper.start()

    def release(self) -> None:
        """Give the lock back by ending its session."""
        self._ended.set()
        self._keeper.join()
        if not self._holds:
            self._logger.warning("The shared lock of %s was not held at the end.", self._name)
        self._session.close()

    def _wait(self, seconds: float, what: str) -> None:
        began, told = time.monotonic(), False
        while (reason := self._ask(what, patient=time.monotonic() - began < seconds)) is not None:
            if f" {HOUSEKEEPING}, " in reason:
                seconds = max(seconds, _BRIEF)
            if time.monotonic() - began >= seconds:
                raise BusyError(reason, "Wait for it to end, or stop that process.")
            if not told:
                self._logger.info("%s Waiting up to %.0f s.", reason, seconds)
                told = True
            time.sleep(min(_SHARED_POLL, seconds))
        if told:
            self._logger.info("Went on after %.0f s of waiting.", time.monotonic() - began)

    def _ask(self, what: str, *, patient: bool) -> str | None:
        """Try once, and say what stands against it; a PostgreSQL that is away may come back in time."""
        try:
            holder = self._session.take(newcomer=True)
        except WorldError as err:
            if not patient:
                raise
            return str(err.args[0])
        return None if holder is None else f"{what} is running: {holder}."

    def _keep(self) -> None:
        """Look at the session until the lock is given back; nothing else uses it meanwhile."""
        broken = 0.0
        while not self._ended.wait(_BEAT if self._holds else min(_SHARED_POLL, _BEAT)):
            if self._holds and not self._session.lives():
                self._holds, broken = False, time.monotonic()
                self._logger.warning("The session that holds the shared lock of %s broke.", self._name)
            if not self._holds and self._retake():
                self._holds = True
                seconds = time.monotonic() - broken
                self._logger.warning("Holding the shared lock of %s again after %.0f s.", self._name, seconds)

    def _retake(self) -> bool:
        try:
            holder = self._session.take(newcomer=False)
        except WorldError:  # still away; the next turn asks again, and the end tells
            return False
        if holder is not None and self.lost_to is None:
            self.lost_to = holder
            self._logger.warning(
                "LOST the shared lock of %s while its session was broken, to %s. "
                "This training goes on, and its run says so.",
                self._name,
                holder,
            )
        return holder is None


_LOGGER = logging.getLogger(__name__)
_PATIENCE = 30.0  # seconds: many times what a change of the champion, or a look of housekeeping, takes
_POLL = 0.5
_LOOK_SECONDS = 1.0  # many times what `check_free` holds a lock for


@dataclass(frozen=True)
class Held:
    """A lock that is held.

    Attributes:
        waited: seconds until it was.
    """

    waited: float
    _shared: SharedLock | None

    @property
    def lost_to(self) -> str | None:
        """Who took the shared lock while its connection was broken; None as it should be."""
        return None if self._shared is None else self._shared.lost_to


def lock_file(model_name: str, settings: Settings) -> Path:
    """The file that a training of this model holds locked."""
    return settings.data_dir / "locks" / f"{model_name}.lock"


def lock_tag(model_name: str, settings: Settings) -> str:
    """Which lock protects a run: whoever can take that one knows that the run's process is gone."""
    return f"shared:{model_name}" if settings.lock_url else own_lock_tag(model_name, settings)


def own_lock_tag(model_name: str, settings: Settings) -> str:
    """The lock of this machine alone; a training holds it beside a shared one."""
    return f"{socket.gethostname()}:{lock_file(model_name, settings)}"


@contextmanager
def training_lock(
    model_name: str,
    settings: Settings,
    patience: float = 0.0,
    logger: Logger = _LOGGER,
    purpose: str = "training",
) -> Iterator[Held]:
    """Hold the lock of a registered model while it is trained, on this machine and, if the settings ask, on all.

    Args:
        model_name: whose.
        settings: where the locks are.
        patience: seconds to wait for another holder.
        logger: is told who that is, and what becomes of a shared lock.
        purpose: for those that find it taken.

    Raises:
        BusyError: another process holds it; the message says which.
    """
    path = lock_file(model_name, settings)
    what = f"{'A' if purpose == HOUSEKEEPING else 'Another'} training of {model_name}"
    with _held(path, settings, patience, what, logger, purpose) as held:
        yield held


def check_free(model_name: str, settings: Settings) -> None:
    """Look whether a training of this model is running, before anything is started for another one.

    Nothing is held afterwards: ``training_lock`` decides. Housekeeping does not count: it is through in a moment.

    Raises:
        BusyError: another training is running; the message says which process.
        UsageError: the shared lock of the settings has no driver, or its address is none.
        WorldError: PostgreSQL does not answer.
    """
    path, what = lock_file(model_name, settings), f"Another training of {model_name}"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, mode=0o600)
    try:
        lock.acquire(timeout=_LOOK_SECONDS, poll_interval=_LOOK_SECONDS / 20)
        lock.release()
    except Timeout as err:
        if _owner(path).get("purpose") != HOUSEKEEPING:
            raise _busy(what, _describe(_owner(path))) from err
    if settings.lock_url is not None:
        session = LockSession(settings.lock_url.get_secret_value(), model_name, "look")
        try:
            holder = session.holder()
        finally:
            session.close()
        if holder is not None and not holder.startswith(f"{HOUSEKEEPING}, "):
            raise _busy(what, holder)


@contextmanager
def champion_lock(model_name: str, settings: Settings) -> Iterator[None]:
    """Hold the lock of a registered model's champion while it is looked at and moved: a second or two.

    Raises:
        BusyError: another process holds it for long; the message says which.
    """
    path = settings.data_dir / "locks" / f"{model_name}.champion.lock"
    what = f"Another promotion or rollback of {model_name}"
    with _held(path, settings, _PATIENCE, what, _LOGGER, "promotion"):
        yield


@contextmanager
def own_lock(name: str, settings: Settings, purpose: str) -> Iterator[bool]:
    """Hold a lock of this machine for a moment if it is free; gives whether it was."""
    path = settings.data_dir / "locks" / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, mode=0o600)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    with _noted(lock, purpose):
        yield True


@contextmanager
def _held(
    path: Path, settings: Settings, patience: float, what: str, logger: Logger, purpose: str
) -> Iterator[Held]:
    path.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    lock = FileLock(path, mode=0o600)
    _acquire(lock, path, patience, what, logger)
    with _noted(lock, purpose), ExitStack() as stack:
        shared = None
        if settings.lock_url is not None:
            shared = SharedLock(settings.lock_url.get_secret_value(), path.stem, purpose, logger)
            shared.take(max(0.0, patience - (time.monotonic() - began)), what)
            stack.callback(shared.release)
        yield Held(time.monotonic() - began, shared)


def _acquire(lock: FileLock, path: Path, patience: float, what: str, logger: Logger) -> None:
    """Take the file's lock, waiting if there is patience, or if its holder is through in a moment."""
    try:
        lock.acquire(timeout=_LOOK_SECONDS, poll_interval=_LOOK_SECONDS / 20)
        return
    except Timeout:
        about = _owner(path)
    seconds = max(patience, _PATIENCE if about.get("purpose") == HOUSEKEEPING else 0.0)
    began = time.monotonic()
    try:
        if seconds:
            logger.info("%s is running: %s. Waiting up to %.0f s.", what, _describe(about), seconds)
        lock.acquire(timeout=seconds, poll_interval=_POLL)
    except Timeout as err:
        raise _busy(what, _describe(_owner(path))) from err
    logger.info("Went on after %.0f s of waiting.", time.monotonic() - began)


@contextmanager
def _noted(lock: FileLock, purpose: str) -> Iterator[None]:
    """Say beside a lock that is held who holds it; give it back at the end."""
    owner = _owner_file(Path(lock.lock_file))
    try:
        about = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
            "purpose": purpose,
        }
        owner.write_text(json.dumps(about), encoding="utf-8")
        yield
    finally:
        owner.unlink(missing_ok=True)
        lock.release()


def _busy(what: str, holder: str) -> BusyError:
    return BusyError(f"{what} is running: {holder}.", "Wait for it to end, or stop that process.")


def _owner_file(path: Path) -> Path:
    return path.with_suffix(".owner.json")


def _owner(path: Path) -> dict[str, Any]:
    try:
        about = json.loads(_owner_file(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return about if isinstance(about, dict) else {}


def _describe(about: dict[str, Any]) -> str:
    if not about:
        return "its process has just begun"
    return f"process {about['pid']} on {about['host']}, since {about['since']}"
