"""Log lines for people: time, step, message."""

import logging
import os
from datetime import datetime
from pathlib import PurePath

from sentiment.output import redact
from tasks.console import CONSOLE
from tasks.terminal import escape


class ConsoleHandler(logging.Handler):
    """Prints the project's own lines and everybody's warnings; all of Prefect's and tracebacks when debugging."""

    def __init__(self, *, debug: bool) -> None:
        super().__init__()
        self._debug = debug
        self.setFormatter(logging.Formatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Print one line."""
        if not self._debug and _is_noise(record):
            return
        show(datetime.fromtimestamp(record.created), _step(record), record.getMessage(), record.levelno)
        if self._debug and record.exc_info:
            CONSOLE.print(
                redact(logging.Formatter().formatException(record.exc_info)), markup=False, soft_wrap=True
            )


def show(moment: datetime, step: str, message: str, level: int) -> None:
    """Print a log line, the first if there are several."""
    style = "yellow" if level >= logging.WARNING else "default"
    first = redact(message.splitlines()[0]) if message else ""
    CONSOLE.print(
        f"[dim]{moment:%H:%M:%S}[/] [bold]{escape(step):<10}[/] [{style}]{escape(first)}[/]", soft_wrap=True
    )


def set_up(*, debug: bool) -> None:
    """Send log lines to the console. Before Prefect is imported: it then leaves the root logger alone."""
    root = logging.getLogger()
    root.handlers = [ConsoleHandler(debug=debug)]
    root.setLevel(logging.WARNING)
    if not debug:  # what Prefect cannot send to a server that is gone fills the terminal; the error tells it once
        logging.raiseExceptions = False
        os.environ.setdefault("PREFECT_LOGGING_INTERNAL_LEVEL", "CRITICAL")


def _step(record: logging.LogRecord) -> str:
    """The task that speaks, or the library."""
    return str(getattr(record, "task_run_name", None) or record.name.partition(".")[0])


def _is_noise(record: logging.LogRecord) -> bool:
    """What Prefect's engine says of states: the project's own lines and the final error say it better."""
    # Retries, and Prefect's own failures to log: what comes of them is told at the end.
    if record.name.startswith(("urllib3", "prefect._internal")):
        return True
    if record.name == "mlflow.utils.environment" and "pip version" in record.getMessage():
        return True  # a virtual environment made by uv holds no pip, and needs none
    if "prefect" not in PurePath(record.pathname).parts:
        return False
    message = record.getMessage()
    return "Starting temporary server" not in message and "will start" not in message
