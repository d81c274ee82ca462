"""How a process ends that is asked to by a signal.

The first signal raises an exception, so that what was begun is closed. A library may swallow that exception or
turn it into another one, and native code lets none be raised: ``received`` tells that a signal came, and a thread
ends the process with the promised exit code when closing takes longer than a minute.
"""

import os
import select
import signal
import sys
import threading
import time
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING

from sentiment.errors import WorldError

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

received: list[int] = []

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_REPEAT_SECONDS = 1.0  # two signals closer than this are one: a terminal and `make` or `uv run` both send Ctrl-C
_CLOSING_SECONDS = 60.0  # the most that closing may take after a signal
_LATER_SECONDS = 0.1  # until an exception is raised again that Python ignored where it was raised first

_first_at = 0.0  # when the first signal came, by the monotonic clock
_outcome: int | None = None  # the exit code, once it is decided
_ignored: list[BaseException] = []


def listen() -> None:
    """Raise an exception on the first SIGINT, SIGTERM or SIGHUP; end at once on another one, or after a minute.

    A signal that the process was started to ignore (by ``nohup``, or as a shell's background job) stays ignored.
    """
    for number in _SIGNALS:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _end)
    signal.signal(signal.SIGALRM, _raise_again)
    sys.unraisablehook = _raise_later
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(reader,), daemon=True, name="signals").start()


def decide(code: int) -> None:
    """Decide the exit code of this process, which is about to end; signals raise nothing from now on."""
    global _outcome
    _outcome = code


def leave() -> None:
    """End with the exit code that was decided, without finalization; register it with ``atexit`` before all else.

    What is registered first is called last, so all other callbacks have run. Finalization crashes when other
    threads run or import native code, as they do while TensorFlow is imported in the background.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # nobody reads it any more, or it is closed
            stream.flush()
    _exit()


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
    global _first_at
    if received:
        if time.monotonic() - _first_at > _REPEAT_SECONDS:
            _exit()
        return
    received.append(number)
    _first_at = time.monotonic()
    if _outcome is not None:
        return
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)


def _raise_later(unraisable: "UnraisableHookArgs") -> None:
    """Keep what a signal raised where Python ignores it, in a ``__del__`` or a callback, and raise it later."""
    err = unraisable.exc_value
    if err is None or isinstance(err, Exception):
        sys.__unraisablehook__(unraisable)
    else:
        _ignored.append(err)
        signal.setitimer(signal.ITIMER_REAL, _LATER_SECONDS)


def _raise_again(_number: int, _frame: FrameType | None) -> None:
    if _ignored and _outcome is None:
        raise _ignored.pop()


def _watch(reader: int) -> None:
    """End the process when closing takes too long; the interpreter writes each signal's number to the pipe."""
    until, first = 0.0, 0
    while True:
        left = max(0.0, until - time.monotonic()) if first else None
        if not select.select([reader], [], [], left)[0]:
            with suppress(OSError):
                os.write(2, b"It could not be closed within a minute; the next start closes what is open.\n")
            _exit(first)
        for number in os.read(reader, 1):
            if number in _SIGNALS and not first:
                until, first = time.monotonic() + _CLOSING_SECONDS, number


def _exit(number: int = 0) -> None:
    """End this process at once: with the code that was decided, else with that of the first signal."""
    number = received[0] if received else number
    os._exit(_outcome if _outcome is not None else 128 + number if number else 1)
