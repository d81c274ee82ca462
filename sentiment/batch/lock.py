"""One process an output at a time, by a lock that dies with its process."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from sentiment.errors import WorldError


@contextmanager
def output_lock(output: Path) -> Iterator[None]:
    """Hold an output while it is made; its folder is made, too.

    Raises:
        WorldError: another process holds it; the message says which.
        OSError: the folder cannot be made or written to.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    path = output.with_name(f".{output.name}.lock")
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout as err:
        if not path.exists():
            raise WorldError(f"Cannot write into {output.parent}.", "Name another place with -o.") from err
        raise WorldError(
            f"{output} is being made already, by {_owner(path)}.",
            "Wait for it, or name another with -o.",
        ) from err
    try:
        path.write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")
        yield
    finally:
        path.unlink(missing_ok=True)  # while held: who waits for this file finds it gone, and opens the next
        lock.release()


def _owner(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8") or "a process that has just begun"
    except FileNotFoundError:
        return "a process that has just ended"
