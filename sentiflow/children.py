"""Processes that end when the one that started them does, even when that was killed.

    python -P children.py MODULE [ARGUMENT ...]

runs a Python module in a process group, which is asked to end when the parent has ended, and killed if it does
not. Run as a script it needs the standard library only.
"""

import gc
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import IO, Protocol

END_SECONDS = 5  # what a process has to end by itself

_PARENT = "_SENTIFLOW_PARENT"  # the process with which the one ends that reads it
_POLL_SECONDS = 0.5  # between two checks whether the parent lives
_FLOW_RUN_SECONDS = 10  # what a flow run has to close what it began


def collect_less() -> None:
    """Collect garbage after 50,000 new objects, not 700, which takes a fifth of the time of imports."""
    gc.set_threshold(50_000)


gone = threading.Event()  # whether the parent ended before this process


def end_with_parent(parent: int, seconds: float = END_SECONDS) -> None:
    """Once the parent, by its number, has ended, ask this process or its group to end; kill it later."""
    threading.Thread(target=_watch, args=(parent, seconds), daemon=True).start()


def _watch(parent: int, seconds: float) -> None:
    while os.getppid() == parent:
        time.sleep(_POLL_SECONDS)
    gone.set()
    end = os.killpg if os.getpgrp() == os.getpid() else os.kill
    end(os.getpid(), signal.SIGTERM)
    time.sleep(seconds)
    end(os.getpid(), signal.SIGKILL)


class Process(Protocol):
    """As ``multiprocessing`` has them."""

    def terminate(self) -> None: ...
    def join(self, timeout: float | None = None) -> None: ...
    def kill(self) -> None: ...


def stop(processes: Iterable[Process], seconds: float = END_SECONDS) -> None:
    """Ask processes to end, kill those that do not in time, and wait; they may have ended already."""
    asked, until = list(processes), time.monotonic() + seconds
    for process in asked:
        process.terminate()
    for process in asked:
        process.join(max(0.0, until - time.monotonic()))
    for process in asked:
        process.kill()
        process.join()


class Child(subprocess.Popen[bytes]):
    """A Python module in a process group of its own.

    Ctrl-C, which a terminal sends to the group of this process, does not reach it. Its working directory is ``/``.
    Its output goes to a file, by default where that of this process goes; ``descriptors`` stay open under the same
    numbers.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        output: "IO[bytes] | None" = None,
        descriptors: Sequence[int] = (),
    ) -> None:
        from sentiflow.environment import FOLDER, ROOT, here

        super().__init__(
            [sys.executable, "-P", __file__, *command],
            env={
                FOLDER: str(here()), **environment,
                "PYTHONSAFEPATH": "1", _PARENT: str(os.getpid()),
            },
            cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            pass_fds=descriptors, start_new_session=True,
        )  # fmt: skip
        self.stopping = False
        """Whether it was asked to end."""

    def answers(self, url: str, seconds: float) -> bool:
        """Wait until it answers at an address of this machine; gives False if it ends before, or takes longer."""
        from urllib.request import ProxyHandler, build_opener

        opener, until = build_opener(ProxyHandler({})), time.monotonic() + seconds
        while self.poll() is None and time.monotonic() < until:
            try:
                with opener.open(url, timeout=2):
                    return True
            except OSError:  # urllib's errors are of this kind
                time.sleep(0.1)
        return False

    def send_signal(self, sig: int) -> None:
        """To its group: to what it started, too, even when it has ended itself."""
        self.stopping = True
        with suppress(ProcessLookupError, PermissionError):  # nothing of the group is left
            os.killpg(self.pid, sig)

    def join(self, timeout: float | None = None) -> None:
        with suppress(subprocess.TimeoutExpired):
            self.wait(timeout)


def mark_children() -> None:
    """Let flow runs that this process starts end with it."""
    os.environ[_PARENT] = str(os.getpid())


def end_with_schedule(flow: object, flow_run: object, state: object) -> None:  # noqa: ARG001 - what Prefect gives
    """End with the schedule that started this process, if one did; Prefect calls it as a flow begins."""
    if parent := os.environ.pop(_PARENT, None):
        end_with_parent(int(parent), _FLOW_RUN_SECONDS)


if __name__ == "__main__":
    # The module may set a handler of its own. Until then the group's last process stays, to kill those that hang.
    signal.signal(signal.SIGTERM, lambda _number, _frame: None)
    end_with_parent(int(os.environ.pop(_PARENT)))
    collect_less()
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
