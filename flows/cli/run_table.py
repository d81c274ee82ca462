"""A table of runs that fits the terminal."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sentiment.run_fields import FIELDS, Value
from sentiment.run_record import RunRecord

GAP = 2  # between two columns
PIPE = 200  # a pipe has no width, and what a script reads is not cut short


@dataclass(frozen=True)
class Column:
    """A column: its heading, a cell a row, and how soon it is left out for want of width; never at 0."""

    heading: str
    cells: Sequence[str]
    leaves: int = 0
    right: bool = False

    @property
    def width(self) -> int:
        """Of its widest line."""
        return max(cell_len(line) for cell in (self.heading, *self.cells) for line in cell.split("\n"))


def fitting(columns: Sequence[Column], width: int) -> tuple[list[Column], list[Column]]:
    """The columns that fit a width, and those left out, the highest ``leaves`` first; empty ones are neither."""
    wanted = [column for column in columns if not column.leaves or any(column.cells)]
    kept, left = [], width + GAP
    for column in sorted(wanted, key=lambda column: column.leaves):
        if not column.leaves or column.width + GAP <= left:
            kept.append(column)
            left -= column.width + GAP
    return [column for column in wanted if column in kept], [column for column in wanted if column not in kept]


def print_columns(columns: Sequence[Column], console: Console, *, tell: bool = True) -> None:
    """Print a table, without what does not fit, and tell what that was."""
    if not console.is_terminal:
        console.width = max(console.width, PIPE)
    kept, out = fitting(columns, console.width)
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0))
    for column in kept:
        table.add_column(escape(column.heading), justify="right" if column.right else "left", overflow="fold")
    for row in zip(*(column.cells for column in kept), strict=True):
        table.add_row(*map(escape, row))
    console.print(table)
    if out and tell:
        told = ", ".join(column.heading for column in out)
        console.print(f"[dim]Left out, for want of width: {escape(told)}[/]")


def print_json(console: Console, value: object) -> None:
    """Print for scripts: whole, at any width."""
    text = json.dumps(value, indent=2, allow_nan=False)
    console.file.write(f"{text}\n")  # rich would take a second for a thousand runs


def plain(value: Value) -> Value:
    """A value that JSON has; not so NaN and the infinities."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def value_text(value: Value, digits: int | None = None) -> str:
    """A value in a cell: numbers short, and nothing for what is not there."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if not isinstance(value, float):
        return str(value)
    if digits is not None:
        return f"{value:.{digits}f}"
    return f"{value:,.0f}" if value.is_integer() and abs(value) < 1e15 else f"{value:.4g}"


def accuracy_text(run: RunRecord) -> str:
    """The test accuracy, of a set of repeats the mean."""
    value = FIELDS["accuracy"](run)
    return f"{value:.2%}" if isinstance(value, float) else ""


def interval_text(run: RunRecord) -> str:
    """Its 95% interval, of a set of repeats the standard deviation over its seeds."""
    low, high, sd = (run.metrics.get(f"test/accuracy_{end}") for end in ("low", "high", "sd"))
    if low is not None and high is not None and math.isfinite(low + high):
        return f"{100 * low:.2f} to {high:.2%}"
    return "" if sd is None or math.isnan(sd) else f"mean, sd {100 * sd:.2f}"
