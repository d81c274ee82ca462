"""What a test waits for."""

import subprocess
import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


def until(
    asks: Callable[[], T],
    what: str = "it to hold",
    seconds: float = 120,
    told: Callable[[], str] = str,
    process: "subprocess.Popen[Any] | None" = None,
) -> T:
    """Ask until the answer is true; gives it.

    Args:
        asks: the question.
        what: is waited for.
        seconds: to wait at most.
        told: gives what is shown when it never comes.
        process: that must live meanwhile.
    """
    end = time.monotonic() + seconds
    while True:
        began = time.monotonic()
        lives = process is None or process.poll() is None
        if answer := asks():
            return answer
        assert lives, f"it ended before {what}\n{told()}"
        assert began < end, f"waited {seconds:.0f} s in vain for {what}\n{told()}"
        time.sleep(max(0.02, 3 * (time.monotonic() - began)))  # what takes long to ask is asked seldom
