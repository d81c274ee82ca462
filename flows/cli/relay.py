"""What flow runs in processes of their own say, line by line, on this terminal."""

import io
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import TextIO

from flows.cli.native import is_native_noise
from sentiment.output import printable, redact
from tasks.console import CONSOLE

# As the lines of flows.cli.logs: time, step, message. Prefect's own formats name the flow run in each line.
_FORMATS = {
    "PREFECT_LOGGING_FORMATTERS_STANDARD_FLOW_RUN_FMT": "%(asctime)s %(flow_name)-10s %(message)s",
    "PREFECT_LOGGING_FORMATTERS_STANDARD_TASK_RUN_FMT": "%(asctime)s %(task_run_name)-10s %(message)s",
    "PREFECT_LOGGING_FORMATTERS_STANDARD_FORMAT": "%(asctime)s %(name)-10s %(message)s",
    "PREFECT_LOGGING_FORMATTERS_STANDARD_DATEFMT": "%H:%M:%S",
}

_LOGGED = re.compile(r"\d\d:\d\d:\d\d ")
# What Prefect's engine says of states and hooks, which the lines around it say better.
_STATES = re.compile(r" (Finished in state Completed\(\)$|Running hook '|Hook '|Engine execution exited)")


@contextmanager
def relayed(*, debug: bool) -> Iterator[None]:
    """Pass on what children say, whole lines at a time, without TensorFlow's notes and Prefect's on states."""
    for name, value in _FORMATS.items():
        os.environ.setdefault(name, value)
    CONSOLE.file = sys.stderr  # what the command itself says is no child's
    try:
        with redirect_stdout(_Lines(sys.stdout, debug=debug)), redirect_stderr(_Lines(sys.stderr, debug=debug)):
            yield
    finally:
        CONSOLE.file = None  # type: ignore[assignment]  # to sys.stderr again, whatever that is


class _Lines(io.TextIOBase):
    def __init__(self, terminal: TextIO, *, debug: bool) -> None:
        self._terminal, self._debug = terminal, debug
        self._begun = ""
        self._in_traceback = False

    def write(self, text: str) -> int:
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            if self._debug or self._is_wanted(line):
                shown = printable(redact(line), keep="\t")
                self._terminal.write(f"{shown}\n")
        self._terminal.flush()
        return len(text)

    def _is_wanted(self, line: str) -> bool:
        """Whether it is no noise, and no traceback: the line before tells the error, Prefect's UI all of it."""
        if line.startswith("Traceback (most recent call last):"):
            self._in_traceback = True
        elif _LOGGED.match(line):
            self._in_traceback = False
        return not (self._in_traceback or _STATES.search(line) or is_native_noise(line))

    def isatty(self) -> bool:
        return self._terminal.isatty()

    def fileno(self) -> int:
        return self._terminal.fileno()
