"""Processes that end when the one that started them does, even when that was killed.

    python -P children.py MODULE [ARGUMENT ...]

runs a Python module in a process group. Its standard input is a pipe that the parent holds open and never writes
to. The kernel closes it when the parent ends, whatever ended it; the group is then asked to end, and killed if it
does not. Run as a script it needs the standard library only.
"""

import gc
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO

END_SECONDS = 5  # what the group has to end by itself

_VARIABLE = "_SENTIFLOW_SCHEDULE_PROCESS"
_POLL_SECONDS = 0.5  # between two checks whether the schedule lives
_FLOW_RUN_SECONDS = 10  # what a flow run has to close what it began


def collect_less() -> None:
    """Collect garbage after 50,000 new objects, not 700, which takes a fifth of the time of imports."""
    gc.set_threshold(50_000)


def _end_with_parent() -> None:
    while os.read(0, 1024):
        pass
    os.killpg(0, signal.SIGTERM)
    time.sleep(END_SECONDS)
    os.killpg(0, signal.SIGKILL)


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
        from sentiflow import folder

        super().__init__(
            [sys.executable, "-P", __file__, *command],
            env={folder.VARIABLE: str(folder.here()), **environment, "PYTHONSAFEPATH": "1"}, cwd=folder.ROOT,
            stdin=subprocess.PIPE, stdout=output, stderr=output,
            pass_fds=descriptors, start_new_session=True,
        )  # fmt: skip
        self._lock = threading.Lock()
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

    def stop(self, *, at_once: bool = False) -> None:
        """End it and what it started, ``at_once`` without asking first, and wait; it may have ended already."""
        self.stopping = True
        with self._lock:
            if self.stdin is not None:
                self.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                self.wait(0 if at_once else END_SECONDS + 1)
            with suppress(ProcessLookupError, PermissionError):  # nothing of the group is left
                os.killpg(self.pid, signal.SIGKILL)
            self.wait()


gone = threading.Event()  # whether the schedule ended before this flow run


def mark_children() -> None:
    """Let flow runs that this process starts end with it."""
    os.environ[_VARIABLE] = str(os.getpid())


def end_with_schedule(flow: object, flow_run: object, state: object) -> None:  # noqa: ARG001 - what Prefect gives
    """Watch the process that started this one, if it is a schedule; a hook that Prefect calls as a flow begins."""
    if schedule := os.environ.pop(_VARIABLE, None):
        threading.Thread(target=_watch, args=(int(schedule),), daemon=True).start()


def _watch(schedule: int) -> None:
    while os.getppid() == schedule:
        time.sleep(_POLL_SECONDS)
    gone.set()
    os.kill(os.getpid(), signal.SIGTERM)  # the flow closes what it began
    time.sleep(_FLOW_RUN_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    # The module may set a handler of its own. Until then the group's last process stays, to kill those that hang.
    signal.signal(signal.SIGTERM, lambda _number, _frame: None)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    collect_less()
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
