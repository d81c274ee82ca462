"""One training and one change of the champion at a time, by locks that die with their process."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from sentiment.errors import WorldError
from sentiment.settings import Settings

_PATIENCE = 30.0  # seconds: many times what a change of the champion takes


def lock_file(model_name: str, settings: Settings) -> Path:
    """The file that a training of this model holds locked."""
    return settings.data_dir / "locks" / f"{model_name}.lock"


@contextmanager
def training_lock(model_name: str, settings: Settings) -> Iterator[None]:
    """Hold the lock of a registered model while it is trained.

    Raises:
        WorldError: another process holds it; the message says which.
    """
    with _held(lock_file(model_name, settings), 0, f"Another training of {model_name}"):
        yield


@contextmanager
def champion_lock(model_name: str, settings: Settings) -> Iterator[None]:
    """Hold the lock of a registered model's champion while it is looked at and moved: a second or two.

    Raises:
        WorldError: another process holds it for long; the message says which.
    """
    path = settings.data_dir / "locks" / f"{model_name}.champion.lock"
    with _held(path, _PATIENCE, f"Another promotion or rollback of {model_name}"):
        yield


@contextmanager
def _held(path: Path, patience: float, what: str) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    owner = path.with_suffix(".owner.json")
    lock = FileLock(path)
    try:
        lock.acquire(timeout=patience)
    except Timeout as err:
        raise WorldError(
            f"{what} is running: {_describe(owner)}.", "Wait for it to end, or stop that process."
        ) from err
    try:
        about = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        owner.write_text(json.dumps(about), encoding="utf-8")
        yield
    finally:
        owner.unlink(missing_ok=True)
        lock.release()


def _describe(owner: Path) -> str:
    try:
        about = json.loads(owner.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "its process has just begun"
    return f"process {about['pid']} on {about['host']}, since {about['since']}"
