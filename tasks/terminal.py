"""What is written on a terminal, cleaned: names, texts and errors of others must not steer it."""

from collections.abc import Iterable
from typing import Any

from rich import console, markup
from rich.segment import Segment
from rich.text import Text

from sentiment.output import printable

_LINES = "\n\t"  # what the layout of a page is made of


class Console(console.Console):
    """A console that shows control characters instead of obeying them; its own colours and bars stay."""

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, emoji=False, **options)

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
