"""What the commands print: tables, reports, errors, log lines."""

import io
import logging
import math
import os
import re
import shutil
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePath
from shlex import quote
from typing import TYPE_CHECKING, Any, Literal, TextIO

from rich.table import Table

from sentiflow.console import CONSOLE, Console, escape
from sentiflow.environment import expanded, here, shortened
from sentiflow.errors import ExternalError, SentiflowError, UsageError, first_line, out_of_memory, prefect_away
from sentiflow.files import publish
from sentiflow.redaction import printable, redact

if TYPE_CHECKING:
    from sentiflow.promotion.candidate import Candidate
    from sentiflow.reports import blocks
    from sentiflow.settings import Settings

_PIPE = 10_000  # columns of what is no terminal


def print_table(block: "blocks.Table", console: Console) -> None:
    """Print a table of a report; whole, if it goes to a pipe. Rows with an alarm are red."""
    if not console.is_terminal:
        console.width = _PIPE  # a line that a script reads is never folded
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=any(block.heading))
    for i, name in enumerate(block.heading):
        side: Literal["left", "right"] = "left" if i < block.words else "right"
        shown.add_column(escape(name), justify=side, overflow="fold", no_wrap=name == "id")  # people copy ids
    for number, row in enumerate(block.rows):
        shown.add_row(*map(escape, row), style="red" if number in block.alarms else None)
    console.print(shown)


def print_report(report: "blocks.Report", console: Console) -> None:
    """Print what tells a report briefly: its texts and tables."""
    from sentiflow.reports import blocks

    folded = console.is_terminal  # a line that a script reads never is
    for line in (f"[bold]{escape(report.title)}[/]", *(escape(text.text) for text in report.lead)):
        console.print(line, soft_wrap=not folded)
    for section in report.sections:
        if section.brief:
            console.print(f"\n[bold]{escape(section.title)}[/]")
        for block in section.blocks if section.brief else ():
            if isinstance(block, blocks.Table):
                print_table(block, console)
            elif isinstance(block, blocks.Text):
                console.print(escape(block.text), soft_wrap=not folded)


def stdout_for(result: object, *, as_json: bool) -> Console:
    """The console for the words about a result; silent if JSON is wanted, which is printed here."""
    if as_json:
        print_json(Console(), result)
    return Console(quiet=as_json)


def print_json(console: Console, value: object) -> None:
    """Print for scripts: whole, at any width."""
    import json

    # Printable ASCII: a terminal obeys nothing of it.
    text = json.dumps(_as_json(value), indent=2, allow_nan=False)
    console.file.write(f"{text}\n")  # rich would take a second for a thousand runs


def _as_json(value: Any) -> Any:
    """What JSON has of a value; of a dataclass the fields that its repr shows, which settings are not among."""
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _as_json(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_json(each) for each in value]
    if is_dataclass(value):
        return {each.name: _as_json(getattr(value, each.name)) for each in fields(value) if each.repr}
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, Path):
        return str(value)
    from sentiflow.data.table import TableOptions
    from sentiflow.training.recipes import TrainConfig

    return value.model_dump(mode="json") if isinstance(value, (TrainConfig, TableOptions)) else value


def short_moment(moment: datetime) -> str:
    """Without the year, if it is this one."""
    return f"{moment:%m-%d %H:%M}" if moment.year == datetime.now().year else f"{moment:%Y-%m-%d}"


def show_judgement(candidate: "Candidate", console: Console) -> None:
    from sentiflow.reports import blocks

    decision = candidate.decision
    console.say(f"[bold]{escape(candidate.title)}[/]\n")
    rows = [(rule.outcome, rule.name, rule.text) for rule in decision.rules]
    failed = [place for place, rule in enumerate(decision.rules) if not rule.passed]
    print_table(blocks.Table(("", "", ""), rows, words=3, alarms=failed), console)
    console.say(*(f"[dim]{escape(note)}[/]" for note in decision.notes))
    console.print()


def show_promotion(candidate: "Candidate", console: Console) -> None:
    """Say that the version is champion now, or waits for a person; an error if it was refused."""
    if candidate.answer not in ("waits", "declined"):
        candidate.need_promotion()
    console.say(f"[bold]{escape(candidate.summary)}[/]")


def check_page(option: str, path: Path | None, ending: str = ".html") -> None:
    """Check, before the work is done, that a page can be written where an option says."""
    if path is not None and (path.suffix.lower() != ending or path.is_dir() or not path.parent.is_dir()):
        problem = f"{option} {path} is no file that ends in {ending}, in a folder that is there."
        raise UsageError(problem, f"For example: {option} report{ending}")


def write_page(path: Path, text: str, console: Console) -> None:
    """Publish a page and say where; bytes that were no text show as ?."""
    publish(path, lambda target: target.write_text(text, encoding="utf-8", errors="replace"))
    console.say(f"Written: {escape(shortened(str(path)))}")


def to_open(page: str, settings: "Settings") -> str:
    """How to open one of MLflow's pages: by its address alone while `sentiflow ui` runs."""
    from sentiflow.store.ui import running_ui

    return page if running_ui(settings) else f"{program()} ui   then {page}"


def program() -> str:
    """How to call this program from here: by its name where the shell finds it, else by its path."""
    return "sentiflow" if shutil.which("sentiflow") else quote(os.path.relpath(expanded(sys.argv[0]), here()))


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
    return str(getattr(record, "task_run_name", None) or record.name.partition(".")[0])


# Retries, Prefect's own failures to log, and advice for environments that pip made.
_SILENT = ("urllib3", "prefect._internal", "mlflow.utils.environment")


def _is_shown(record: logging.LogRecord) -> bool:
    """Whether a line is none of Prefect's engine's, and none that the last lines or the final error say better."""
    if record.name.startswith(_SILENT) or hasattr(record, "at_the_end"):
        return False
    return "prefect" not in PurePath(record.pathname).parts


# As the lines of flows.cli.output: time, step, message. Prefect's own formats name the flow run in each line.
_FORMATS = {
    "PREFECT_LOGGING_FORMATTERS_STANDARD_FLOW_RUN_FMT": "%(asctime)s %(flow_name)-10s %(message)s",
    "PREFECT_LOGGING_FORMATTERS_STANDARD_TASK_RUN_FMT": "%(asctime)s %(task_run_name)-10s %(message)s",
    "PREFECT_LOGGING_FORMATTERS_STANDARD_FORMAT": "%(asctime)s %(name)-10s %(message)s",
    "PREFECT_LOGGING_FORMATTERS_STANDARD_DATEFMT": "%H:%M:%S",
}


@contextmanager
def relayed() -> Iterator[None]:
    """Pass on what children say, whole lines at a time, without secrets and orders to the terminal."""
    for name, value in _FORMATS.items():
        os.environ.setdefault(name, value)
    CONSOLE.file = sys.stderr  # what the command itself says is no child's
    try:
        with redirect_stdout(_Lines(sys.stdout)), redirect_stderr(_Lines(sys.stderr)):
            yield
    finally:
        CONSOLE.file = None  # type: ignore[assignment]  # to sys.stderr again, whatever that is


class _Lines(io.TextIOBase):
    def __init__(self, terminal: TextIO) -> None:
        self._terminal, self._begun = terminal, ""

    def write(self, text: str) -> int:
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            self._terminal.write(printable(redact(line), keep="\t") + "\n")
        self._terminal.flush()
        return len(text)

    def isatty(self) -> bool:
        return self._terminal.isatty()

    def fileno(self) -> int:
        return self._terminal.fileno()


def report(err: BaseException, *, debug: bool) -> None:
    """Print what went wrong and what to do; the traceback only when asked for."""
    if debug:
        CONSOLE.print(redact("".join(traceback.format_exception(err))), markup=False, soft_wrap=True)
    ours = as_ours(err)
    CONSOLE.say(f"[bold red]Error:[/] {_indented(str(ours.args[0]))}")
    if ours.hint:
        CONSOLE.say(f"       {_indented(ours.hint)}")


def _indented(text: str) -> str:
    """As markup, with short paths, without secrets; a further line cannot pass for one of ours."""
    return "\n       ".join(map(escape, redact(shortened(text)).splitlines()))


def as_ours(err: BaseException) -> SentiflowError:
    """The error itself, or for a library's what it is in our words: an external failure, else a bug."""
    if isinstance(err, SentiflowError):
        return err
    if no_memory := out_of_memory(err):
        return no_memory
    if isinstance(err, OSError):
        where = f": {err.filename}" if err.filename else ""
        hint = "Nothing half-written was kept; make room, or make the place writable, then run again."
        return ExternalError(f"{err.strerror or err}{where}", hint)
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
        hint = "Is the disk of its database full or read-only? Run again once it can be written to."
        return ExternalError(f"The Prefect server failed: {first_line(err)}", hint)
    if "401 Unauthorized" in answer:
        hint = f"Set PREFECT_API_AUTH_STRING to the server's, as name:password, or {to_choose_another()}."
        return ExternalError("The Prefect server refuses the login.", hint)
    return None
