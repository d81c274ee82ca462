"""Locks that end with their process: files on one machine, a PostgreSQL session for several."""

import errno
import hashlib
import logging
import os
import re
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout
from pydantic import SecretStr

from sentiflow.console import Logger
from sentiflow.errors import BusyError, ExternalError, UsageError, first_line
from sentiflow.files import make_folder, publish
from sentiflow.settings import INSTALL_TEAM, Settings

if TYPE_CHECKING:
    from psycopg import Connection

HOUSEKEEPING = "housekeeping"

_LOGGER = logging.getLogger(__name__)
_HINT = "Wait for it to end, or stop that process."
_LOOK = 1.0  # seconds: many times what it takes to see whether a lock is free; everybody waits that long
_BRIEF = 30.0  # seconds: many times what a change of the champion, or housekeeping, takes
_BRIEF_STEP = 120.0  # seconds: many times what it takes to make a store, also on a busy machine
_POLL = 0.5  # seconds between two attempts
_OWN_TAG = re.compile(r"(?P<host>[^:]*):(?P<id>[0-9a-f]{32})-(?P<inode>\d+):(?P<path>.*?(?P<name>[^/]+))", re.S)
_SAME = ("id", "inode", "name"), ("host", "id", "path")  # parts of such tags of which one group must agree


def lock_file(model_name: str, settings: Settings) -> Path:
    """The file that a training of this model holds locked."""
    return settings.data_dir / "locks" / f"{model_name}.lock"


def work_folder(model_name: str, settings: Settings) -> Path:
    """Where trainings of a model, which hold its lock, keep files while they run, a folder a run."""
    return settings.data_dir / "work" / model_name


def lock_tag(model_name: str, settings: Settings) -> str:
    """Which lock protects a run: while it can be taken, the run's process is gone."""
    return f"shared:{model_name}" if settings.lock_url else own_lock_tag(model_name, settings)


def own_lock_tag(model_name: str, settings: Settings) -> str:
    """The lock of this machine's data folder alone; a training holds it beside a shared one."""
    path = lock_file(model_name, settings)
    return f"{socket.gethostname()}:{_id_of(path.parent)}:{path}"


def names_own_lock(tag: str | None, model_name: str, settings: Settings) -> bool:
    """Whether a run's tag names this data folder's lock of the model: once it is free, the run's process is gone.

    The data folder is known by its id and the id file's inode, whatever its machine is called and wherever it is
    mounted. A copy has another inode; it counts as the folder only in its place, on a machine of the same name.
    """
    own = own_lock_tag(model_name, settings)
    there, here = _OWN_TAG.fullmatch(tag or ""), _OWN_TAG.fullmatch(own)
    if there is None or here is None:
        return tag in (own, lock_tag(model_name, settings))
    return any(there.group(*parts) == here.group(*parts) for parts in _SAME)


def place_of(tag: str | None) -> str:
    """Where a run began, by the tag of its lock, as a message says it."""
    if (tag or "").startswith("shared:"):
        return "with SENTIFLOW_LOCK_URL"
    found = _OWN_TAG.fullmatch(tag or "")
    return f"on {found['host']} with the data folder {Path(found['path']).parents[1]}" if found else "elsewhere"


def waiting_folder(settings: Settings) -> Path:
    """Where processes that wait for a person hold locks; a copy of the data folder has another one."""
    folder = settings.data_dir / "locks"
    return folder / f"waiting-{_id_of(folder)}"


def _id_of(folder: Path) -> str:
    """An id made once, and its file's inode: they tell a folder from copies, and from others at its path."""
    file = folder / "id"
    if not file.exists():
        with brief_lock(folder / "id.lock", f"Another first use of {folder}"):
            if not file.exists():
                publish(file, lambda partial: partial.write_text(uuid.uuid4().hex, encoding="utf-8"))
    return f"{file.read_text(encoding='utf-8')}-{file.stat().st_ino}"


@contextmanager
def training_lock(
    model_name: str,
    settings: Settings,
    patience: float = 0.0,
    logger: Logger = _LOGGER,
    purpose: str | None = "training",
) -> Iterator[None]:
    """Hold the lock of a registered model while it is trained, here and, if the settings ask, on all machines."""
    what = f"{'A' if purpose == HOUSEKEEPING else 'Another'} training of {model_name}"
    path = lock_file(model_name, settings)
    with file_lock(path, what, purpose, patience=patience, logger=logger, shared=settings.lock_url):
        yield


def check_free(model_name: str, settings: Settings) -> None:
    """Check that no training of this model is running, before another one starts; ``training_lock`` decides."""
    with training_lock(model_name, settings, purpose=None):
        pass


@contextmanager
def champion_lock(model_name: str, settings: Settings) -> Iterator[None]:
    """Hold the lock of a registered model's champion while it is looked at and moved: a second or two."""
    path = settings.data_dir / "locks" / f"{model_name}.champion.lock"
    what = f"Another promotion or rollback of {model_name}"
    with file_lock(path, what, "promotion", patience=_BRIEF, shared=settings.lock_url):
        yield


@contextmanager
def file_lock(
    path: Path,
    what: str,
    purpose: str | None,
    *,
    hint: str = _HINT,
    patience: float = 0.0,
    logger: Logger = _LOGGER,
    shared: SecretStr | None = None,
) -> Iterator[None]:
    """Hold a file's lock, and the one of the same name in the PostgreSQL at the address ``shared``.

    The file stays afterwards; it says who holds it and for which ``purpose``, None for who gives it back at once.
    Another holder is named in the log and waited for, ``patience`` seconds but at least one; then the error says
    ``what`` is going on, with a ``hint`` what to do.
    """
    until = time.monotonic() + patience
    locks: list[_File | _Session] = [_File(path, purpose)]
    if shared is not None:
        locks.append(_Session(shared.get_secret_value(), path.stem, purpose, logger))
    with ExitStack() as stack:
        for lock in locks:
            stack.callback(lock.release)
            _take(lock, what, hint, until, logger)
        yield


@contextmanager
def brief_lock(path: Path, what: str) -> Iterator[None]:
    """Hold a file's lock for what takes some seconds."""
    with file_lock(path, what, "a brief step", patience=_BRIEF_STEP):
        yield


@contextmanager
def if_free(path: Path, purpose: str | None = None) -> Iterator[bool]:
    """Hold a file's lock for a moment if it is free; gives whether it was. With a purpose, the file says so."""
    lock = _File(path, purpose)
    try:
        yield lock.take() is None
    finally:
        lock.release()


def _take(lock: "_File | _Session", what: str, hint: str, until: float, logger: Logger) -> None:
    began, logged = time.monotonic(), False
    while True:
        end = until
        try:
            holder = lock.take()
            if holder is None:
                break
            failure: ExternalError = BusyError(f"{what} is running: {holder}.", hint)
            end = max(until, began + (_BRIEF if holder.startswith(HOUSEKEEPING) else _LOOK))
        except ExternalError as err:  # PostgreSQL does not answer; it may be back in time
            failure = err
        now = time.monotonic()
        if now >= end:
            raise failure
        if not logged and now - began > _LOOK:
            logger.warning("%s Waiting up to %.0f s.", failure.args[0], end - began)
            logged = True
        time.sleep(_POLL if now - began > _LOOK else _LOOK / 20)
    if logged:
        logger.info("Continued after %.0f s of waiting.", time.monotonic() - began)


def _who(purpose: str | None) -> str:
    return f"{purpose or 'check'}, process {os.getpid()} on {socket.gethostname()}"


class _File:
    """The lock of a file, which says who holds it and for what, if that is given."""

    def __init__(self, path: Path, purpose: str | None) -> None:
        self._path, self._purpose = path, purpose
        # Who can open it can hold it. Where files have no locks, filelock would use the file's content as one.
        self._lock = FileLock(path, mode=0o600, fallback_to_soft=False)

    def take(self) -> str | None:
        """Take the lock if it is free; else say who holds it."""
        make_folder(self._path.parent)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            try:
                return self._path.read_text(encoding="utf-8") or "a process that has just begun"
            except FileNotFoundError:
                return "a process that has just ended"
        except OSError as err:
            if err.errno not in (errno.ENOSYS, errno.ENOLCK):
                raise
            problem = f"Files in {self._path.parent} cannot be locked: its file system has no locks."
            raise UsageError(problem, "Set SENTIFLOW_DATA_DIR to a folder on a local disk.") from err
        if self._purpose is not None:
            since = datetime.now(UTC).isoformat(timespec="seconds")
            file = os.open(self._path, os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW)
            with os.fdopen(file, "w", encoding="utf-8") as opened:
                opened.write(f"{_who(self._purpose)}, since {since}")
        return None

    def release(self) -> None:
        self._lock.release()


# A machine that is gone without a word frees its locks within a minute; either side checks.
_ALIVE = {
    "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3,
    "tcp_user_timeout": 60_000, "connect_timeout": 10,
}  # fmt: skip
_SERVER_ALIVE = "SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3"
_HOLDER = """
SELECT application_name, to_char(backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"+00:00"')
FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE locktype = 'advisory' AND granted AND objsubid = 1
  AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND (classid::bigint << 32) | objid::bigint = %s"""
_PREFIX = "sentiflow "


class _Session:
    """An advisory lock of PostgreSQL; the session that holds it is named after its process."""

    def __init__(self, url: str, name: str, purpose: str | None, logger: Logger) -> None:
        self._url, self._name, self._key, self._logger = url, name, key_of(name), logger
        self._application = _PREFIX + _who(purpose)  # PostgreSQL keeps 63 characters
        self._connection: Connection[Any] | None = None
        self._held = False

    def take(self) -> str | None:
        if self._connection is None or self._connection.closed:
            self._connection = _connect(self._url, self._application)
        try:
            row = self._connection.execute("SELECT pg_try_advisory_lock(%s)", [self._key]).fetchone()
            if row and row[0]:
                self._held = True
                return None
            row = self._connection.execute(_HOLDER, [self._key]).fetchone()
        except _driver().Error as err:
            raise _away(err) from err
        return f"{row[0].removeprefix(_PREFIX)}, since {row[1]}" if row else "a process that has just ended"

    def release(self) -> None:
        """End the session, which gives the lock back; the log says if it had ended before."""
        if self._connection is None:
            return
        if self._held:
            try:
                self._connection.execute("SELECT 1")
            except _driver().Error:
                lost = "The connection of the shared lock of %s was lost: another process may have had it."
                self._logger.warning(lost, self._name)
        self._connection.close()


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
        raise UsageError("SENTIFLOW_LOCK_URL: expected postgresql://user:password@host/database.") from None
    return connection


def _driver() -> Any:
    try:
        import psycopg
    except ImportError as err:
        raise UsageError("SENTIFLOW_LOCK_URL needs the driver psycopg.", INSTALL_TEAM) from err
    return psycopg


def _away(err: Exception) -> ExternalError:
    return ExternalError(
        f"The PostgreSQL of SENTIFLOW_LOCK_URL failed: {first_line(err)}", "Is it running and reachable?"
    )
