"""The import of TensorFlow in the background: it takes seconds, while a server starts and data is prepared."""

import atexit
import importlib
import threading
from contextlib import suppress

_importing: list[threading.Thread] = []
_abandoned = False


def preload() -> None:
    """Begin to import TensorFlow, once a process.

    A process that ends meanwhile waits for it: an interpreter that is finalized under a native import crashes.
    """
    if not _importing:
        _importing.append(threading.Thread(target=_load, daemon=True, name="preload"))
        _importing[0].start()
        atexit.register(_wait)


def abandon() -> None:
    """Let this process end while the import goes on: it ends by ``os._exit``, without finalization."""
    global _abandoned
    _abandoned = True


def _load() -> None:
    with suppress(Exception):  # raised again where the import is needed
        importlib.import_module("sentiment.training")


def _wait() -> None:
    if not _abandoned:
        _importing[0].join()
