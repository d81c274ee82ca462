"""What is written on a terminal or into a pipe: log lines, progress. None of it ever ends what runs."""

import errno
import io
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import rich.console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from sentiment.progress import Advance
from tasks import interrupts
from tasks.terminal import Console

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_NOBODY_READS = (errno.EPIPE, errno.EIO)  # the reader of a pipe has ended; a terminal was closed


class LastingFile(io.FileIO):
    """An open descriptor that leads to nowhere from the moment that nobody reads it any more."""

    def write(self, data: "ReadableBuffer", /) -> int:
        """Write, as far as somebody reads.

        Raises:
            OSError: any other fault, such as a full disk.
        """
        try:
            return super().write(data)
        except OSError as err:
            if err.errno not in _NOBODY_READS:
                raise
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(
            nowhere, self.fileno(), inheritable=os.get_inheritable(self.fileno())
        )  # native code's and children's
        os.close(nowhere)
        return memoryview(data).nbytes


def outlive_readers() -> None:
    """Let neither a pipe whose reader has ended nor a closed terminal fail what this process writes there.

    Otherwise the next log line ends it: ``sentiflow train | head -1``, or the run of a schedule that was killed.
    Replaced: ``sys.stdout`` and ``sys.stderr`` if they are the interpreter's own, also where the root logger's
    handlers, such as Prefect's, hold them already.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None or stream is not getattr(sys, f"__{name}__"):
            continue
        stream.flush()
        file = LastingFile(stream.fileno(), "w", closefd=False)
        lasting = io.TextIOWrapper(
            file if stream.write_through else io.BufferedWriter(file),
            stream.encoding, stream.errors,
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
def progress_bar(description: str, total: int) -> Iterator[Advance]:
    """Show a bar that vanishes when done, if there is a terminal to show it on."""
    if not CONSOLE.is_terminal:
        yield lambda _step: interrupts.stop_if_asked()  # each batch of a training comes by here
        return
    columns = (
        TextColumn("         {task.description}", markup=False),
        BarColumn(bar_width=32),
        TaskProgressColumn(),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=CONSOLE, transient=True) as bar:
        task = bar.add_task(description, total=total or None)
        yield lambda step: bar.advance(task, step)
