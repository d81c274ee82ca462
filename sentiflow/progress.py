"""Progress callbacks of long-running functions."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

Advance = Callable[[int], None]
Progress = Callable[[str, int], AbstractContextManager[Advance]]
"""Called with a description and a total; gives a function to call with each step done."""


@contextmanager
def no_progress(description: str, total: int) -> Iterator[Advance]:  # noqa: ARG001
    """Show nothing."""
    yield lambda _step: None
