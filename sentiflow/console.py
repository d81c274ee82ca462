"""Log lines and progress on a terminal or in a pipe. None of it ever ends what runs."""

import errno
import io
import logging
import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich.console
from rich import console, markup
from rich.segment import Segment
from rich.text import Text

from sentiflow.redaction import printable

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


Logger = logging.Logger | logging.LoggerAdapter[Any]


AT_THE_END = {"at_the_end": True}
"""``extra`` of log lines that a command in a terminal leaves out, as its last lines say the same."""

_LINES = "\n\t"  # what the layout of a page is made of


class Console(console.Console):
    """A console that shows control characters instead of obeying them; its own colours and bars stay."""

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, emoji=False, **options)

    def say(self, *lines: str | Text) -> None:
        """Print lines, none of them folded: they can be copied, and a script reads each whole."""
        for line in lines:
            self.print(line, soft_wrap=True)

    def render_str(self, text: str, **options: Any) -> Text:
        """Clean before the layout, so that the width of what is shown is known."""
        return super().render_str(printable(text, _LINES), **options)

    def render(self, renderable: Any, options: console.ConsoleOptions | None = None) -> Iterable[Segment]:
        """Clean all the rest: texts and pages that were made elsewhere."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment(printable(segment.text, _LINES), segment.style)


def escape(text: str) -> str:
    """A name or another value of one line, for a line or a cell: neither markup nor a new line."""
    return markup.escape(printable(text))


_NOBODY_READS = (errno.EPIPE, errno.EIO)  # the reader of a pipe has ended; a terminal was closed, or a disk failed


class LastingFile(io.FileIO):
    """An open descriptor whose output is dropped once its reader has gone."""

    def write(self, data: "ReadableBuffer", /) -> int:
        try:
            return super().write(data)
        except OSError as err:
            if err.errno not in _NOBODY_READS or stat.S_ISREG(os.fstat(self.fileno()).st_mode):
                raise
        nowhere = os.open(os.devnull, os.O_WRONLY)
        # Native code's and children's, too.
        os.dup2(nowhere, self.fileno(), inheritable=os.get_inheritable(self.fileno()))
        os.close(nowhere)
        return memoryview(data).nbytes


def outlive_readers() -> None:
    """Let neither a pipe whose reader has ended nor a closed terminal fail what this process writes there.

    The next log line would end ``sentiflow train | head -1``, or the run of a schedule that was killed. A process
    that was started with one of its streams closed writes to nowhere. Replaced are ``sys.stdout`` and
    ``sys.stderr`` if they are the interpreter's own, also where the root logger's handlers hold them already.
    """
    for name in ("stdin", "stdout", "stderr"):  # in this order each gets its own number, which libraries use
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("r+"))  # noqa: SIM115 - as long as the process
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not getattr(sys, f"__{name}__"):
            continue
        stream.flush()
        file = LastingFile(stream.fileno(), "w", closefd=False)
        lasting = io.TextIOWrapper(
            file if stream.write_through else io.BufferedWriter(file),
            stream.encoding,
            "backslashreplace" if stream.errors == "strict" else stream.errors,
            line_buffering=stream.line_buffering, write_through=stream.write_through,
        )  # fmt: skip
        setattr(sys, name, lasting)
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler) and handler.stream is stream:
                handler.setStream(lasting)
            console = getattr(handler, "console", None)
            if isinstance(console, rich.console.Console) and console.file is stream:
                console.file = lasting


# One console for log lines and bars: rich then keeps a bar below the lines instead of mixing them.
CONSOLE = Console(stderr=True)


@contextmanager
def working(what: str) -> Iterator[None]:
    """Say what takes a second or more: with a spinner on a terminal, else as a line."""
    if CONSOLE.is_terminal:
        with CONSOLE.status(f"{what} ..."):
            yield
    else:
        CONSOLE.say(f"{what} ...")
        yield


Advance = Callable[[int], None]
Progress = Callable[[str, int], AbstractContextManager[Advance]]
"""Called with a description and a total; gives a function to call with each step done."""


@contextmanager
def no_progress(description: str, total: int) -> Iterator[Advance]:  # noqa: ARG001
    yield lambda _step: None


@contextmanager
def _notebook_bar(description: str, total: int) -> Iterator[Advance]:
    """A bar of the browser's own: rich's needs ipywidgets there."""
    import IPython.display

    notebook: Any = IPython.display  # it is not typed
    done, shown = 0, notebook.display(notebook.HTML(""), display_id=True)

    def advance(step: int) -> None:
        nonlocal done
        before, done = done, done + step
        if 100 * done // total > 100 * before // total:
            shown.update(notebook.HTML(f"{description} <progress value={done} max={total}></progress>"))

    try:
        yield advance
    finally:
        shown.update(notebook.HTML(""))


@contextmanager
def progress_bar(description: str, total: int) -> Iterator[Advance]:
    """Show a bar that vanishes when done, if there is a terminal or a notebook to show it in."""
    if CONSOLE.is_jupyter and total:
        with _notebook_bar(description, total) as advance:
            yield advance
        return
    if not CONSOLE.is_terminal:
        yield lambda _step: None
        return
    # Not at the top: every command loads this module, and few show a bar.
    from rich import progress

    columns = (
        progress.TextColumn("         {task.description}", markup=False),
        progress.BarColumn(bar_width=32),
        progress.TaskProgressColumn(),
        progress.TimeRemainingColumn(compact=True),
    )
    with progress.Progress(*columns, console=CONSOLE, transient=True) as bar:
        task = bar.add_task(description, total=total or None)
        yield lambda step: bar.advance(task, step)
