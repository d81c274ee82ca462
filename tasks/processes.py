"""Processes that this one did not start, or must end with patience."""

import os
import signal
import time

# Asked to end, a server waits for connections that nobody closes; an interrupt after that cuts them.
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGKILL)


def end(process: int, seconds: tuple[float, float, float] = (3, 10, 10)) -> None:
    """End a server, and wait for it; it may be a child of this process, or of one that was killed.

    Args:
        process: its number.
        seconds: to wait after asking, after interrupting, and after killing it.
    """
    for number, patience in zip(_SIGNALS, seconds, strict=True):
        until = time.monotonic() + patience
        try:
            os.kill(process, number)
            while time.monotonic() < until:
                if _reaped(process):
                    return
                os.kill(process, 0)
                time.sleep(0.1)
        except ProcessLookupError:
            return


def _reaped(child: int) -> bool:
    try:
        return os.waitpid(child, os.WNOHANG)[0] == child
    except ChildProcessError:
        return False
