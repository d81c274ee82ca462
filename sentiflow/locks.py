"""Locks of files, which end with their process: they keep apart what uses one data folder."""

import errno
import logging
import os
import re
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from sentiflow.errors import BusyError, UsageError
from sentiflow.files import make_folder, publish
from sentiflow.settings import Settings

HOUSEKEEPING = "housekeeping"

logger = logging.getLogger(__name__)
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
    path = lock_file(model_name, settings)
    return f"{socket.gethostname()}:{_id_of(path.parent)}:{path}"


def names_own_lock(tag: str | None, model_name: str, settings: Settings) -> bool:
    """Whether a run's tag names this data folder's lock of the model: once it is free, the run's process is gone.

    The data folder is known by its id and the id file's inode, whatever its machine is called and wherever it is
    mounted. A copy has another inode; it counts as the folder only in its place, on a machine of the same name.
    """
    own = lock_tag(model_name, settings)
    there, here = _OWN_TAG.fullmatch(tag or ""), _OWN_TAG.fullmatch(own)
    if there is None or here is None:
        return tag == own
    return any(there.group(*parts) == here.group(*parts) for parts in _SAME)


def place_of(tag: str | None) -> str:
    """Where a run began, by the tag of its lock, as a message says it."""
    found = _OWN_TAG.fullmatch(tag or "")
    return f"on {found['host']} with the data folder {Path(found['path']).parents[1]}" if found else "elsewhere"


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
    model_name: str, settings: Settings, patience: float = 0.0, purpose: str | None = "training"
) -> Iterator[None]:
    """Hold the lock of a registered model while it is trained with this data folder."""
    what = f"{'A' if purpose == HOUSEKEEPING else 'Another'} training of {model_name}"
    path = lock_file(model_name, settings)
    with file_lock(path, what, purpose, patience=patience):
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
    with file_lock(path, what, "promotion", patience=_BRIEF):
        yield


@contextmanager
def file_lock(
    path: Path, what: str, purpose: str | None, *, hint: str = _HINT, patience: float = 0.0
) -> Iterator[None]:
    """Hold a file's lock.

    The file stays afterwards; it says who holds it and for which ``purpose``, None for who gives it back at once.
    Another holder is named in the log and waited for, ``patience`` seconds but at least one; then the error says
    ``what`` is going on, with a ``hint`` what to do.
    """
    until = time.monotonic() + patience
    lock = _File(path, purpose)
    try:
        _take(lock, what, hint, until)
        yield
    finally:
        lock.release()


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


def _take(lock: "_File", what: str, hint: str, until: float) -> None:
    began, logged = time.monotonic(), False
    while (holder := lock.take()) is not None:
        failure = BusyError(f"{what} is running: {holder}.", hint)
        end = max(until, began + (_BRIEF if holder.startswith(HOUSEKEEPING) else _LOOK))
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
