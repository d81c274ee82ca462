"""How long the stages of a run take."""

import time
from contextvars import ContextVar

process_started: ContextVar[float | None] = ContextVar("process_started", default=None)
"""When this process began (seconds since the epoch), set by a command that runs one job; else unknown."""


def startup_seconds() -> float:
    """Seconds from the start of the process until now; 0 in a process that does other things, too."""
    started = process_started.get()
    return 0.0 if started is None else max(0.0, time.time() - started)
