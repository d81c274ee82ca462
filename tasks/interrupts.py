"""Whether somebody asked this process to end; libraries may turn the interrupt itself into other errors."""

import signal
import sys
from types import FrameType

received: list[int] = []


def listen() -> None:
    """Note SIGINT and SIGTERM, and end by an exception, so that what was begun is closed."""
    signal.signal(signal.SIGTERM, _end)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else a shell's background job ignores it
        signal.signal(signal.SIGINT, _end)


def _end(number: int, _frame: FrameType | None) -> None:
    received.append(number)
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)
