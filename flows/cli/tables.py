"""Tables and results as the commands print them."""

import math
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any, Literal

from rich.cells import cell_len
from rich.table import Table

from sentiflow.console import Console, escape
from sentiflow.errors import UsageError
from sentiflow.files import publish
from sentiflow.folder import as_typed, expanded, here
from sentiflow.runs.record import FIELDS, TRAINING, RunRecord, Value

if TYPE_CHECKING:
    from sentiflow.promotion.candidate import Candidate
    from sentiflow.reports import page

GAP = 2  # between two columns
_CUT = ".."  # marks where a name was cut
_NARROWEST = 16  # of names that are cut
_PIPE = 200


def widen(console: Console, width: int = 0) -> None:
    """Give a pipe, which has no width, enough of it: a line that a script reads is never folded."""
    if not console.is_terminal:
        console.width = max(console.width, _PIPE, width)


def print_table(table: Table, console: Console) -> None:
    """Print a table; whole, if it goes to a pipe."""
    widen(console)
    console.print(table)


def block_table(block: "page.Table") -> Table:
    """A table of a report for the terminal; rows with an alarm are red."""
    table = Table(box=None, pad_edge=False)
    for i, name in enumerate(block.heading):
        table.add_column(escape(name), justify="left" if i < block.words else "right")
    for number, row in enumerate(block.rows):
        table.add_row(*map(escape, row), style="red" if number in block.alarms else None)
    return table


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        leaves: how soon it is hidden when the terminal is too narrow; never at 0.
        right: align to the right, as numbers do.
        shrinks: its cells may be cut in the middle when the terminal is too narrow.
        most: characters of a cell when the terminal is too narrow for all columns; 0 for all.
        whole: its cells are not folded: people copy them.
    """

    heading: str
    cells: Sequence[str]
    leaves: int = 0
    right: bool = False
    shrinks: bool = False
    most: int = 0
    whole: bool = False

    @property
    def width(self) -> int:
        """Of its widest line."""
        return max(cell_len(line) for cell in (self.heading, *self.cells) for line in cell.split("\n"))

    def cut(self, width: int) -> "Column":
        """The column with its cells cut to a width."""
        return replace(self, cells=[cut_in_the_middle(cell, width) for cell in self.cells])


def cut_in_the_middle(text: str, width: int) -> str:
    """Cut a text that is wider in the middle: names of runs begin with the recipe and end with the time.

    Example:
        >>> cut_in_the_middle("tuned-imdb-seed0-261125", 15)
        'tuned-i..261125'
    """
    if cell_len(text) <= width:
        return text
    tail = (width - len(_CUT)) // 2
    head = width - len(_CUT) - tail
    while cell_len(cut := text[:head] + _CUT + text[len(text) - tail :]) > width:  # of characters two cells wide
        head, tail = (head - 1, tail) if head >= tail else (head, tail - 1)
    return cut


def fitting(columns: Sequence[Column], width: int) -> tuple[list[Column], list[Column]]:
    """The columns that fit a width, and those left out, the highest ``leaves`` first; empty ones are neither.

    One that shrinks leaves others two thirds of the width, and takes what they do not need.
    """
    wanted = [column for column in columns if not column.leaves or any(column.cells)]
    if sum(column.width + GAP for column in wanted) > width + GAP:
        wanted = [column.cut(column.most) if column.most else column for column in wanted]
    kept, left = [], width + GAP
    for column in sorted(wanted, key=lambda column: column.leaves):
        needed = min(column.width, width // 3) if column.shrinks else column.width
        if not column.leaves or needed + GAP <= left:
            kept.append(column)
            left -= needed + GAP
    spare = left + sum(min(column.width, width // 3) for column in kept if column.shrinks)
    fitted = [
        column.cut(max(spare, _NARROWEST, cell_len(column.heading)))
        if column.shrinks and column.width > spare
        else column
        for column in wanted
        if column in kept
    ]
    return fitted, [column for column in wanted if column not in kept]


def print_columns(columns: Sequence[Column], console: Console) -> None:
    """Print a table, without what does not fit, and name those columns; a pipe gets all of them."""
    widen(console, sum(column.width + GAP for column in columns))
    kept, out = fitting(columns, console.width)
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0))
    for column in kept:
        side: Literal["left", "right"] = "right" if column.right else "left"
        table.add_column(escape(column.heading), justify=side, overflow="fold", no_wrap=column.whole)
    for row in zip(*(column.cells for column in kept), strict=True):
        table.add_row(*map(escape, row))
    console.print(table)
    if out:
        hidden = ", ".join(column.heading for column in out)
        console.print(f"[dim]Hidden columns (terminal too narrow): {escape(hidden)}[/]")


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
    from sentiflow.recipes import TrainConfig

    return value.model_dump(mode="json") if isinstance(value, (TrainConfig, TableOptions)) else value


def value_text(value: Value, digits: int | None = None) -> str:
    """A value in a cell: numbers short, and nothing for what is not there."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if not isinstance(value, float):
        return str(value)
    if digits is not None:
        return f"{value:.{digits}f}"
    whole = value.is_integer() or abs(value) >= 1_000
    return f"{value:,.0f}" if whole and abs(value) < 1e15 else f"{value:.4g}"


def short_moment(moment: datetime) -> str:
    """Without the year, if it is this one."""
    return f"{moment:%m-%d %H:%M}" if moment.year == datetime.now().year else f"{moment:%Y-%m-%d}"


def accuracy_text(run: RunRecord) -> str:
    """The test accuracy, of a set of repeats the mean."""
    value = FIELDS["accuracy"](run)
    return f"{value:.2%}" if isinstance(value, float) else ""


def version_text(version: str) -> str:
    """The number of a registered version, where its dataset names its model: ``v3`` of ``imdb-sentiment/3``."""
    return f"v{version.rpartition('/')[2]}" if version else ""


def kind_cells(kinds: Sequence[str]) -> Sequence[str]:
    """Kinds of runs; empty cells where all are plain trainings, so that the column is left out."""
    return kinds if set(kinds) - {TRAINING} else [""] * len(kinds)


def interval_text(run: RunRecord) -> str:
    """Its 95% interval, of a set of repeats the standard deviation over its seeds."""
    low, high, sd = (run.metrics.get(f"test/accuracy_{end}") for end in ("ci_low", "ci_high", "sd"))
    interval = percent_interval(low, high)
    return interval if interval or sd is None or math.isnan(sd) else f"mean, sd {100 * sd:.2f}"


def percent_interval(low: float | None, high: float | None) -> str:
    """Two fractions as one interval; empty where one is missing or not finite."""
    return "" if low is None or high is None or not math.isfinite(low + high) else f"{100 * low:.2f} to {high:.2%}"


def show_judgement(candidate: "Candidate", console: Console) -> None:
    """Print each rule with its number and its limit, and what was not judged."""
    decision = candidate.decision
    console.say(f"[bold]{escape(candidate.title)}[/]\n")
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column()
    table.add_column(overflow="fold")
    for rule in decision.rules:
        table.add_row("[green]yes[/]" if rule.passed else "[red]no[/]", rule.name, escape(rule.text))
    print_table(table, console)
    console.say(*(f"[dim]{escape(note)}[/]" for note in decision.notes))
    if candidate.warning:
        console.say(f"[yellow]{escape(candidate.warning)}[/]")
    console.print()


def show_promotion(candidate: "Candidate", console: Console) -> None:
    """Say that the version is champion now.

    Raises:
        RejectedError: it is not.
    """
    candidate.need_promotion()
    console.say(f"[bold]{escape(candidate.summary)}[/]")


def check_page(option: str, path: Path | None, ending: str = ".html") -> None:
    """Check, before the work is done, that a page can be written where an option says.

    Raises:
        UsageError: it names no file, has another ending, or its folder is missing or cannot be written to.
    """
    from tempfile import TemporaryFile

    if path is None:
        return
    example = f"For example: {option} report{ending}"
    if not path.name or path.is_dir():
        raise UsageError(f"{option} {path} names no file.", example)
    if path.suffix.lower() != ending:
        raise UsageError(f"{option} {path} does not end in {ending}.", example)
    if not path.parent.is_dir():
        raise UsageError(f"There is no folder {path.parent}.", f"Make it, or name a file elsewhere: {option} FILE")
    try:
        with TemporaryFile(dir=path.parent):  # permissions are not enough: a disk may be read-only
            pass
    except OSError as err:
        problem = f"The folder {path.parent.absolute()} cannot be written to: {err.strerror}."
        raise UsageError(problem, f"Name a file elsewhere: {option} FILE") from err


def write_page(path: Path, text: str, console: Console) -> None:
    """Publish a page and say where; bytes that were no text show as ?."""
    publish(path, lambda target: target.write_text(text, encoding="utf-8", errors="replace"))
    console.say(f"Written: {escape(as_typed(str(path)))}")


def program() -> str:
    """How to call this program from here: by its name where the shell finds it, else by its path."""
    return "sentiflow" if shutil.which("sentiflow") else quote(os.path.relpath(expanded(sys.argv[0]), here()))
