"""Output of the command line: log lines, relayed output of flow runs, errors."""

import io
import logging
import os
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from datetime import datetime
from pathlib import Path, PurePath
from typing import TextIO

from sentiflow.console import CONSOLE, escape
from sentiflow.errors import ExternalError, SentiflowError, UsageError, first_line, out_of_memory, prefect_away
from sentiflow.folder import as_typed
from sentiflow.redaction import printable, redact
from sentiflow.signals import EXIT_SECONDS


def shown_login(login: str, file: Path) -> str:
    """What follows an address: its login on a terminal, else the file that has it, since output may be a log."""
    return f"   login: [bold]{escape(login if CONSOLE.file.isatty() else f'in {file}')}[/]"


class ConsoleHandler(logging.Handler):
    """Prints the project's own lines and everybody's warnings; all of Prefect's and tracebacks when debugging."""

    def __init__(self, *, debug: bool) -> None:
        super().__init__()
        self._debug = debug
        self.setFormatter(logging.Formatter("%(message)s"))
        if not debug:
            self.addFilter(_is_shown)

    def emit(self, record: logging.LogRecord) -> None:
        """Print one line."""
        show(datetime.fromtimestamp(record.created), _step(record), record.getMessage(), record.levelno)
        if self._debug and record.exc_info:
            CONSOLE.print(
                redact(logging.Formatter().formatException(record.exc_info)), markup=False, soft_wrap=True
            )


def show(moment: datetime, step: str, message: str, level: int) -> None:
    """Print a log line, the first if there are several."""
    style = "yellow" if level >= logging.WARNING else "default"
    first = redact(message.splitlines()[0]) if message else ""
    CONSOLE.say(f"[dim]{moment:%H:%M:%S}[/] [bold]{escape(step):<10}[/] [{style}]{escape(first)}[/]")


def set_up(*, debug: bool) -> None:
    """Send log lines to the console. Before Prefect is imported: it then leaves the root logger alone."""
    root = logging.getLogger()
    root.handlers = [ConsoleHandler(debug=debug)]
    root.setLevel(logging.WARNING)
    if not debug:  # what Prefect cannot send to a lost server would fill the terminal; the error says it once
        logging.raiseExceptions = False
        os.environ.setdefault("PREFECT_LOGGING_INTERNAL_LEVEL", "CRITICAL")


def _step(record: logging.LogRecord) -> str:
    """The task that speaks, or the library."""
    return str(getattr(record, "task_run_name", None) or record.name.partition(".")[0])


# Retries, Prefect's own failures to log, and advice for environments that pip made.
_SILENT = ("urllib3", "prefect._internal", "mlflow.utils.environment")


def _is_shown(record: logging.LogRecord) -> bool:
    """Whether a line is none of Prefect's engine's: the project's own and the final error say it better."""
    return not record.name.startswith(_SILENT) and "prefect" not in PurePath(record.pathname).parts


# As the lines of flows.cli.messages: time, step, message. Prefect's own formats name the flow run in each line.
_FORMATS = {
    "PREFECT_LOGGING_FORMATTERS_STANDARD_FLOW_RUN_FMT": "%(asctime)s %(flow_name)-10s %(message)s",
    "PREFECT_LOGGING_FORMATTERS_STANDARD_TASK_RUN_FMT": "%(asctime)s %(task_run_name)-10s %(message)s",
    "PREFECT_LOGGING_FORMATTERS_STANDARD_FORMAT": "%(asctime)s %(name)-10s %(message)s",
    "PREFECT_LOGGING_FORMATTERS_STANDARD_DATEFMT": "%H:%M:%S",
}

_LOGGED = re.compile(r"\d\d:\d\d:\d\d ")


@contextmanager
def relayed(*, debug: bool) -> Iterator[None]:
    """Pass on what children say, whole lines at a time, without tracebacks unless debugging."""
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
            # The line before a traceback has the error, Prefect's UI all of it.
            starts = line.startswith("Traceback (most recent call last):")
            self._in_traceback = not self._debug and (starts or (self._in_traceback and not _LOGGED.match(line)))
            if not self._in_traceback:
                self._terminal.write(printable(redact(line), keep="\t") + "\n")
        self._terminal.flush()
        return len(text)

    def isatty(self) -> bool:
        return self._terminal.isatty()

    def fileno(self) -> int:
        return self._terminal.fileno()


def exit_code(err: BaseException) -> int:
    """The command's exit code: 2 wrong use, 3 an external failure (network, server, disk), 1 a bug."""
    return _as_ours(err).exit_code


def exit_seconds(err: BaseException) -> float:
    """How long the exit may take: a Prefect server that is gone will not take what is still to be sent."""
    return 2.0 if prefect_away(err) else EXIT_SECONDS


def report(err: BaseException, *, debug: bool) -> None:
    """Print what went wrong and what to do; the traceback only when asked for."""
    if debug:
        CONSOLE.print(redact("".join(traceback.format_exception(err))), markup=False, soft_wrap=True)
    ours = _as_ours(err)
    CONSOLE.say(f"[bold red]Error:[/] {_indented(str(ours.args[0]))}")
    if ours.hint:
        CONSOLE.say(f"       {_indented(ours.hint)}")


def _indented(text: str) -> str:
    """As markup, with paths as they were typed, without secrets; a further line cannot pass for one of ours."""
    return "\n       ".join(map(escape, redact(as_typed(text)).splitlines()))


def _as_ours(err: BaseException) -> SentiflowError:
    """The error itself, or for a library's what it is in our words: an external failure, else a bug."""
    if isinstance(err, SentiflowError):
        return err
    if no_memory := out_of_memory(err):
        return no_memory
    if isinstance(err, OSError):
        where = f": {err.filename}" if err.filename else ""
        return ExternalError(
            f"{err.strerror or err}{where}",
            "Nothing half-written was kept; make room, or make the place writable, then run again.",
        )
    named = re.search(r"\bMLFLOW_\w+", str(err)) if isinstance(err, ValueError) else None
    if named and named[0] in os.environ:  # MLflow reads most of its variables when it needs them
        return UsageError(first_line(err), f"Correct {named[0]} in the environment, or unset it.")
    return _of_prefect(err) or SentiflowError(
        f"{type(err).__name__}: {first_line(err)}", "This is a bug. Run again with --debug for its traceback."
    )


def _of_prefect(err: BaseException) -> ExternalError | None:
    """An error of Prefect's server, or of the way to it, in our words; None if it is no such error."""
    away = prefect_away(err)
    answer = str(err) if type(err).__name__ == "PrefectHTTPStatusError" else ""
    if not (away or answer):
        return None
    from sentiflow.operations.prefect_server import to_choose_another

    if away:
        hint = f"Start it (sentiflow schedule, or prefect server start), or {to_choose_another()}."
        return ExternalError(away, hint)
    if "Server error '5" in answer:
        return ExternalError(
            f"The Prefect server failed: {first_line(err)}",
            "Is the disk of its database full or read-only? Run again once it can be written to.",
        )
    if "401 Unauthorized" in answer:
        return ExternalError(
            "The Prefect server refuses the login.",
            f"Set PREFECT_API_AUTH_STRING to the server's, as name:password, or {to_choose_another()}.",
        )
    return None
