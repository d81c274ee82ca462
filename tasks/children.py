"""Servers as child processes that end when this process does, even by SIGKILL."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from tasks.watched import END_SECONDS

_SCRIPT = str(Path(__file__).with_name("watched.py"))


class Child:
    """A Python module that runs in a process group of its own.

    Ctrl-C, which a terminal sends to the group of this process, does not reach it.

    Args:
        command: the module and its arguments.
        environment: its variables.
        output: where its standard output and error go; by default where those of this process go.
        descriptors: files that stay open in it under the same numbers.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        output: "IO[bytes] | None" = None,
        descriptors: Sequence[int] = (),
    ) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", _SCRIPT, *command],
            env=environment, stdin=subprocess.PIPE, stdout=output, stderr=output,
            pass_fds=descriptors, start_new_session=True,
        )  # fmt: skip
        self._lock = threading.Lock()
        self.stopping = False
        """Whether it was told to end."""

    @property
    def exit_code(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._process.poll()

    def wait(self) -> int:
        """Wait until it ends; gives its exit code."""
        return self._process.wait()

    def stop(self, *, at_once: bool = False) -> None:
        """End it and what it started, and wait for it; it may have ended already.

        Args:
            at_once: do not ask first.
        """
        self.stopping = True
        with self._lock:
            if self._process.stdin is not None:
                self._process.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(0 if at_once else END_SECONDS + 1)
            with suppress(ProcessLookupError, PermissionError):  # nothing of the group is left
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
