"""A training: what it is, what it starts from, its MLflow run, its network and the packaged model."""

import atexit
import threading
from contextlib import suppress
from functools import cache

from sentiflow.signals import abandons_threads


@cache
def preload() -> None:
    """Begin to import TensorFlow, once; the exit waits for it: to finalize under a native import crashes."""
    thread = threading.Thread(target=_load, daemon=True, name="preload")
    thread.start()
    if not abandons_threads():
        atexit.register(thread.join)


def _load() -> None:
    with suppress(Exception):  # raised again where the import is needed
        from sentiflow.training.network import loop  # noqa: F401
