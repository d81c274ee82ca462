"""One training of a registered model at a time, by a lock that dies with its process."""

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


def lock_file(model_name: str, settings: Settings) -> Path:
    """The file that a training of this model holds locked."""
    return settings.data_dir / "locks" / f"{model_name}.lock"


@contextmanager
def training_lock(model_name: str, settings: Settings) -> Iterator[None]:
    """Hold the lock of a registered model.

    Raises:
        WorldError: another process holds it; the message says which.
    """
    path = lock_file(model_name, settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    owner = path.with_suffix(".owner.json")
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout as err:
        raise WorldError(
            f"Another training of {model_name} is running: {_describe(owner)}.",
            "Wait for it to end, or stop that process.",
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
