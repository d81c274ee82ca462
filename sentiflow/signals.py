"""How signals end this process: the first is noted and raises, another one ends it at once."""

import atexit
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from functools import partial
from types import FrameType
from typing import Any, NoReturn

from sentiflow.errors import ExternalError

EXIT_SECONDS = 20.0  # the most that the exit itself may take, with all that libraries still have to send

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_REPEAT_SECONDS = 1.0  # two signals closer than this are one: a terminal and `make` or `uv run` both send Ctrl-C

_seen: list[int] = []  # the signals that came
_raised_at = 0.0  # when the first one raised, by the monotonic clock
_outcome: int | None = None  # the exit code, once it is decided
_abandons = False  # it ends by `os._exit`, and so waits for no thread


def listen() -> None:
    """Raise an exception on the first SIGINT, SIGTERM or SIGHUP; end at once on another one.

    Other handlers, such as Prefect's within a flow, are called as before. A signal that the process was started to
    ignore (by ``nohup``, or as a shell's background job) stays ignored.
    """
    for number in _SIGNALS:
        handler = signal.getsignal(number)
        if handler in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _end)
        elif callable(handler) and handler is not _end and not isinstance(handler, partial):
            signal.signal(number, partial(_note, handler))
    signal.signal(signal.SIGALRM, _exit)


def decide(code: int, seconds: float = EXIT_SECONDS) -> None:
    """Decide the exit code: signals raise nothing any more, and after these seconds the process has ended."""
    global _outcome
    _outcome = code
    signal.setitimer(signal.ITIMER_REAL, seconds)  # a thread to wait may lack the memory to start


def abandons_threads() -> bool:
    """Whether this process ends without waiting for its threads, as a command does."""
    return _abandons


def leave_at_exit() -> None:
    """Let this process end with the exit code that was decided, without finalization; called before all else.

    What is registered first is called last, so all other callbacks have run. Finalization crashes when other
    threads run or import native code, as they do while TensorFlow is imported in the background.
    """
    global _abandons
    _abandons = True
    atexit.register(_leave)


def _leave() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # its reader has gone, or it is closed
            stream.flush()
    _exit()


def listen_for_end() -> None:
    """Note SIGTERM in a process of a pool; Ctrl-C, which reaches it too, is handled by its parent.

    Nothing is raised: the pool's own thread in the parent dies of a SystemExit that a worker sends it, and then
    nothing ends the workers. What takes long calls ``stop_if_asked`` instead.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, _frame: _seen.append(number))


def first_signal() -> int:
    """The first signal that asked this process to end; 0 if none came."""
    return next(iter(_seen), 0)


def stop_if_asked() -> None:
    """Fail if asked to end: as the signal would, which native code loses, or by an error in other threads."""
    if not (number := first_signal()):
        return
    if threading.current_thread() is threading.main_thread():
        handler = signal.getsignal(number)
        if handler is _end:
            _raise(number)
        elif callable(handler):
            handler(number, None)
    raise ExternalError("It was asked to end.")


def _note(handler: Any, number: int, frame: FrameType | None) -> None:
    _seen.append(number)
    handler(number, frame)


def _end(number: int, _frame: FrameType | None) -> None:
    global _raised_at
    if _raised_at:
        if time.monotonic() - _raised_at > _REPEAT_SECONDS:
            _exit()
        return
    _seen.append(number)
    _raised_at = time.monotonic()
    if _outcome is None:
        _raise(number)


def _raise(number: int) -> NoReturn:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)


def _exit(*_of_handler: object) -> NoReturn:
    """End this process at once: with the code that was decided, else with that of the first signal."""
    number = first_signal()
    os._exit(_outcome if _outcome is not None else 128 + number if number else 1)
