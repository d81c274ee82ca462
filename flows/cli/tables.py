"""Tables for terminals and pipes."""

from rich.table import Table

from tasks.terminal import Console

_WIDE = 200


def print_table(table: Table, console: Console) -> None:
    """Print a table; a pipe has no width, and a line that a script reads is never folded."""
    if not console.is_terminal:
        console.width = max(console.width, _WIDE)
    console.print(table)
