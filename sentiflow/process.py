"""This process: who runs it, on what, how signals end it, what it imports in the background."""

import atexit
import getpass
import importlib
import os
import platform
import re
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from sentiflow.errors import ExternalError

if TYPE_CHECKING:
    from sys import UnraisableHookArgs


process_started: ContextVar[float | None] = ContextVar("process_started", default=None)
"""When this process began (seconds since the epoch), set by a command that runs one job; else unknown."""


def startup_seconds() -> float:
    """Seconds from the start of the process until now; 0 in a process that does other things, too."""
    started = process_started.get()
    return 0.0 if started is None else max(0.0, time.time() - started)


def user() -> str:
    """The name of the user that runs this process."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container's user may have no name
        return "unknown"


def person() -> str:
    """User and machine."""
    return f"{user()} on {socket.gethostname()}"


def processor() -> str:
    """The model of the processor, as Linux calls it; where it says nothing of it, its architecture."""
    try:
        found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()


BACKLOG = 1_024  # connections that wait in the kernel


def open_socket(host: str, port: int, hint: str) -> socket.socket:
    """Listen at once, so that no other process can; connections wait until somebody accepts them.

    Raises:
        ExternalError: the port is taken, or the address is not one of this machine.
    """
    try:
        flags = socket.AI_PASSIVE
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)[0]
        both = family == socket.AF_INET6 and socket.has_dualstack_ipv6()
        listener = socket.create_server(address, family=family, backlog=BACKLOG, dualstack_ipv6=both)
        # For all connections: asyncio sets it only where a socket names its protocol. Without it each answer waits
        # until the client has confirmed its head, 40 ms.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except (OSError, UnicodeError) as err:  # a name with a part that is empty or too long is no Unicode
        reason = str(err.strerror).partition(" (while")[0] if isinstance(err, OSError) else "no such name"
        raise ExternalError(f"Cannot listen on port {port} of {host}: {reason}.", hint) from err


def address_of(host: str, port: int) -> str:
    """Where a service listens, as an address to open, such as ``http://[::1]:8000``."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def ask_directly(host: str) -> None:
    """Let no proxy of the environment have the requests of this process, and of its children, to a host."""
    for name in ("no_proxy", "NO_PROXY"):
        os.environ[name] = ",".join(filter(None, (os.environ.get(name), host)))


EXIT_SECONDS = 20.0  # the most that the exit itself may take, with all that libraries still have to send

received: list[int] = []

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_RAISED = ("KeyboardInterrupt", "SystemExit", "TerminationSignal")  # by their handlers; the last one is Prefect's
_REPEAT_SECONDS = 1.0  # two signals closer than this are one: a terminal and `make` or `uv run` both send Ctrl-C
_CLOSING_SECONDS = 60.0  # the most that closing may take after a signal
_LATER_SECONDS = 0.1  # until an exception is raised again that Python ignored where it was raised first

_CUT_SHORT = b"Closing took too long and was stopped; the next command closes what is still open.\n"

_first_at = 0.0  # when the first signal came, by the monotonic clock
_outcome: int | None = None  # the exit code, once it is decided
_exit_at = 0.0  # when the process ends at the latest, by the monotonic clock; 0: nothing ends it
_wakeup: int | None = None
_noticed = threading.Event()  # a signal came; set also where the exception that it raised is lost
_ignored: list[BaseException] = []


@cache
def listen() -> None:
    """Raise an exception on the first SIGINT, SIGTERM or SIGHUP; end at once on another one, or after a minute.

    Handlers that are installed already, such as Prefect's within a flow, stay, and raise each time. A signal that
    the process was started to ignore (by ``nohup``, or as a shell's background job) stays ignored.
    """
    global _wakeup
    for number in _SIGNALS:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _end)
    signal.signal(signal.SIGALRM, _raise_again)
    sys.unraisablehook = _raise_later
    reader, _wakeup = os.pipe()
    os.set_blocking(_wakeup, False)
    signal.set_wakeup_fd(_wakeup, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(reader,), daemon=True, name="signals").start()


def decide(code: int, seconds: float = EXIT_SECONDS) -> None:
    """Decide the exit code of this process, which is about to end; signals raise nothing from now on.

    After these seconds the process ends with it, whatever is still to be done at its exit.
    """
    global _outcome, _exit_at
    _outcome, _exit_at = code, time.monotonic() + seconds
    if _wakeup is not None:
        os.write(_wakeup, bytes([0]))


def leave() -> None:
    """End with the exit code that was decided, without finalization; register it with ``atexit`` before all else.

    What is registered first is called last, so all other callbacks have run. Finalization crashes when other
    threads run or import native code, as they do while TensorFlow is imported in the background.
    """
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
    signal.signal(signal.SIGTERM, lambda number, _frame: received.append(number))


def asked_to_end() -> bool:
    """Whether a signal has come that ends this process, in any thread, and whoever handles it."""
    return bool(received) or _noticed.is_set()


def stop_if_asked() -> None:
    """Fail if this process was asked to end.

    Raises:
        ExternalError: it was.
    """
    if asked_to_end():
        raise ExternalError("It was asked to end.")


def noticed() -> bool:
    """Whether a signal has come since ``listen``, also where what it raised was ignored; asked by the main thread.

    Other threads, which signals do not interrupt, get False.
    """
    return threading.current_thread() is threading.main_thread() and _noticed.is_set()


@contextmanager
def signals_as_raised() -> Iterator[None]:
    """Raise what a signal raised in place of an error that C++ code made of it."""
    try:
        yield
    except Exception:
        if _wakeup is not None:
            _noticed.wait(_LATER_SECONDS)  # for the thread that notices
        if noticed():
            raise_ignored()
        raise


def raise_ignored() -> None:
    """Raise what a signal raised where that was ignored.

    Raises:
        KeyboardInterrupt, SystemExit: as ``listen`` does; the first one also without it.
        TerminationSignal: within a flow, whose handler of SIGTERM is Prefect's and keeps no record.
    """
    if received:
        _raise(received[0])
    if callable(handler := signal.getsignal(signal.SIGTERM)):
        handler(signal.SIGTERM, None)
    raise KeyboardInterrupt


def _end(number: int, _frame: FrameType | None) -> None:
    global _first_at
    if received:
        if time.monotonic() - _first_at > _REPEAT_SECONDS:
            _exit()
        return
    received.append(number)
    _first_at = time.monotonic()
    if _outcome is None:
        _raise(number)


def _raise(number: int) -> NoReturn:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)


def _raise_later(unraisable: "UnraisableHookArgs") -> None:
    """Keep what a signal raised where Python ignores it, in a ``__del__`` or a callback, and raise it later."""
    err = unraisable.exc_value
    if err is None or type(err).__name__ not in _RAISED or threading.current_thread() != threading.main_thread():
        sys.__unraisablehook__(unraisable)
        return
    _ignored.append(err)
    signal.setitimer(signal.ITIMER_REAL, _LATER_SECONDS)


def _raise_again(_number: int, _frame: FrameType | None) -> None:
    if _ignored and _outcome is None:
        raise _ignored.pop()


def _watch(reader: int) -> None:
    """End the process when its end takes too long; Python writes each signal's number to the pipe, at once."""
    global _exit_at
    first = 0
    while True:
        left = max(0.0, _exit_at - time.monotonic()) if _exit_at else None
        if not select.select([reader], [], [], left)[0]:
            # Not through file descriptor 2: its lines may pass a filter's thread.
            with suppress(OSError, ValueError):
                os.write(sys.stderr.fileno(), _CUT_SHORT)
            _exit(first)
        (number,) = os.read(reader, 1)
        if number in _SIGNALS and not first:
            first = number
            _noticed.set()
            _exit_at = _exit_at or time.monotonic() + _CLOSING_SECONDS


def _exit(number: int = 0) -> None:
    """End this process at once: with the code that was decided, else with that of the first signal."""
    number = received[0] if received else number
    os._exit(_outcome if _outcome is not None else 128 + number if number else 1)


_abandoned = False


@cache
def preload() -> None:
    """Begin to import TensorFlow, once a process.

    A process that ends meanwhile waits for it: an interpreter that is finalized under a native import crashes.
    """
    thread = threading.Thread(target=_load, daemon=True, name="preload")
    thread.start()
    if not _abandoned:
        atexit.register(thread.join)


def abandon() -> None:
    """Let this process end while a later import goes on: it ends by ``os._exit``, without finalization."""
    global _abandoned
    _abandoned = True


def _load() -> None:
    with suppress(Exception):  # raised again where the import is needed
        importlib.import_module("sentiflow.network.training")
