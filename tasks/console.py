"""Progress on a terminal; nothing elsewhere, where log lines tell enough."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from sentiment.progress import Advance
from tasks import interrupts

# One console for log lines and bars: rich then keeps a bar below the lines instead of mixing them.
CONSOLE = Console(stderr=True, highlight=False)


@contextmanager
def progress_bar(description: str, total: int) -> Iterator[Advance]:
    """Show a bar that vanishes when done, if there is a terminal to show it on."""
    if not CONSOLE.is_terminal:
        yield lambda _step: interrupts.stop_if_asked()  # each batch of a training comes by here
        return
    columns = (
        TextColumn("         {task.description}"),
        BarColumn(bar_width=32),
        TaskProgressColumn(),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=CONSOLE, transient=True) as bar:
        task = bar.add_task(description, total=total or None)
        yield lambda step: bar.advance(task, step)
