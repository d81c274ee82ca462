"""Whether somebody asked this process to end; libraries may turn the interrupt itself into other errors."""

import signal
import sys
from types import FrameType

from sentiment.errors import WorldError

received: list[int] = []


def listen() -> None:
    """Note SIGINT and SIGTERM, and end by an exception, so that what was begun is closed."""
    signal.signal(signal.SIGTERM, _end)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else a shell's background job ignores it
        signal.signal(signal.SIGINT, _end)


def listen_for_end() -> None:
    """Note SIGTERM in a process of a pool; Ctrl-C, which reaches it too, is its parent's to answer.

    Nothing is raised: the pool's own thread in the parent dies of a SystemExit that a worker sends it, and then
    nobody ends the workers. What takes long calls ``stop_if_asked`` instead.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, _frame: received.append(number))


def stop_if_asked() -> None:
    """Fail if this process was asked to end.

    Raises:
        WorldError: it was.
    """
    if received:
        raise WorldError("It was asked to end.")


def _end(number: int, _frame: FrameType | None) -> None:
    received.append(number)
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)
