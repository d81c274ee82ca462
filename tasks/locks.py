"""One training and one change of the champion at a time, by locks that die with their process."""

import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from sentiment.errors import BusyError
from sentiment.settings import Settings
from tasks.lock_session import LockSession
from tasks.loggers import Logger
from tasks.shared_lock import HOUSEKEEPING, SharedLock

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
