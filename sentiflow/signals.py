"""How signals end this process: the first raises, its closing and its exit are bounded in time."""

import atexit
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from functools import cache
from types import FrameType
from typing import NoReturn

from sentiflow.errors import ExternalError

EXIT_SECONDS = 20.0  # the most that the exit itself may take, with all that libraries still have to send

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_REPEAT_SECONDS = 1.0  # two signals closer than this are one: a terminal and `make` or `uv run` both send Ctrl-C
_CLOSING_SECONDS = 60.0  # the most that closing may take after a signal

_CUT_SHORT = b"Closing took too long and was stopped; the next command closes what is still open.\n"

_first_at = 0.0  # when our handler took the first signal, by the monotonic clock
_outcome: int | None = None  # the exit code, once it is decided
_seen: list[int] = []  # the signals that came
_abandons = False  # it ends by `os._exit`, and so waits for no thread
_pipe: int | None = None  # Python writes them there, too, whoever handles them: within a flow Prefect does


@cache
def listen() -> None:
    """Raise an exception on the first SIGINT, SIGTERM or SIGHUP; end at once on another one, or after a minute.

    Handlers that are installed already, such as Prefect's within a flow, stay, and raise each time. A signal that
    the process was started to ignore (by ``nohup``, or as a shell's background job) stays ignored.
    """
    global _pipe
    for number in _SIGNALS:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _end)
    signal.signal(signal.SIGALRM, _end)
    _pipe, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)


def decide(code: int, seconds: float = EXIT_SECONDS) -> None:
    """Decide the exit code: signals raise nothing any more, and after these seconds the process has ended."""
    global _outcome
    _outcome = code
    signal.setitimer(signal.ITIMER_REAL, seconds)


def abandons_threads() -> bool:
    """Whether this process ends without waiting for its threads."""
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
    """The first signal that asked this process to end, whoever handles it; 0 if none came."""
    if _pipe is not None:
        with suppress(BlockingIOError):
            _seen.extend(number for number in os.read(_pipe, 64) if number in _SIGNALS)
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


def _end(number: int, _frame: FrameType | None) -> None:
    global _first_at
    if number == signal.SIGALRM:
        with suppress(OSError):
            os.write(2, _CUT_SHORT)
        _exit()
    if _first_at:
        if time.monotonic() - _first_at > _REPEAT_SECONDS:
            _exit()
        return
    _seen.append(number)
    _first_at = time.monotonic()
    if _outcome is None:
        signal.setitimer(signal.ITIMER_REAL, _CLOSING_SECONDS)
        _raise(number)


def _raise(number: int) -> NoReturn:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)


def _exit() -> NoReturn:
    """End this process at once: with the code that was decided, else with that of the first signal."""
    number = first_signal()
    os._exit(_outcome if _outcome is not None else 128 + number if number else 1)
