"""What a report is made of, and both ways to write it: a page that needs nothing else, and Markdown.

Whatever text comes in is shown as text, markup in it included.
"""

import html
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from matplotlib.figure import Figure

from sentiment.reports.pictures import image
from sentiment.reports.style import STYLE

MOST_ROWS = 24  # of a table in Markdown
_ROOM = 7_500  # characters of a summary: MLflow keeps 8,000 of a description
_WIDE = 8  # inches of a picture from which on it cannot be read in the width of a telephone
_MARKUP = re.compile(r"([\\`*|<\[\]])")


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str
    strong: bool = False

    def html(self) -> str:
        """As HTML."""
        text = html.escape(self.text)
        return f"<p><strong>{text}</strong></p>" if self.strong else f"<p>{text}</p>"

    def markdown(self) -> str:
        """As Markdown."""
        return f"**{plain(self.text)}**" if self.strong else plain(self.text)


@dataclass(frozen=True)
class Table:
    """Lines of cells.

    Attributes:
        heading: a cell a column.
        rows: likewise.
        words: how many columns, from the first on, hold words; all others hold numbers, at the right.
        bars: beside each row, for the page alone: markup of our own; none or one a row.
    """

    heading: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: int = 1
    bars: Sequence[str] = ()

    def __post_init__(self) -> None:
        if any(len(row) != len(self.heading) for row in self.rows):
            raise ValueError("every row of a table needs a cell for each column")

    def turned(self) -> "Table":
        """Rows as columns, columns as rows."""
        columns = list(zip(self.heading, *self.rows, strict=True))
        return Table(columns[0], columns[1:])

    def html(self) -> str:
        """As HTML; a wide table scrolls within itself."""
        head = "".join(f"<th{self._side(i)}>{html.escape(cell)}</th>" for i, cell in enumerate(self.heading))
        head += "<th></th>" if self.bars else ""
        body = "".join(f"<tr>{self._row(number, row)}</tr>" for number, row in enumerate(self.rows))
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        return f'<div class="wide" tabindex="0">{table}</div>'

    def markdown(self) -> str:
        """As Markdown; of a long table the beginning."""
        sides = ["---" if i < self.words else "---:" for i in range(len(self.heading))]
        head, *rows = ([plain(cell) for cell in row] for row in (self.heading, *self.rows[:MOST_ROWS]))
        lines = [head, sides, *rows]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        left = len(self.rows) - MOST_ROWS
        return f"{table}\n\n... and {left} more in the page." if left > 0 else table

    def _row(self, number: int, row: Sequence[str]) -> str:
        cells = "".join(
            f"<td{self._side(i)}>{html.escape(cell)}</td>" if i else f'<th scope="row">{html.escape(cell)}</th>'
            for i, cell in enumerate(row)
        )
        return cells + (f"<td>{self.bars[number]}</td>" if self.bars else "")

    def _side(self, column: int) -> str:
        return "" if column < self.words else ' class="number"'


@dataclass(frozen=True)
class Picture:
    """A figure, drawn when the page is written; Markdown has none."""

    figure: Figure
    told: str

    def html(self) -> str:
        """As HTML; a wide picture scrolls on a narrow page."""
        drawn = image(self.figure, self.told)
        return f'<div class="wide" tabindex="0">{drawn}</div>' if self.figure.get_figwidth() > _WIDE else drawn


@dataclass(frozen=True)
class Markup:
    """HTML of our own, whatever came from outside escaped already; Markdown has none."""

    content: str

    def html(self) -> str:
        """As it is."""
        return self.content


Block = Text | Table | Picture | Markup


@dataclass(frozen=True)
class Section:
    """A part of a report under a heading of its own.

    Attributes:
        title: the heading.
        blocks: in the order of reading.
        brief: whether texts and tables of it belong to the summary, too.
    """

    title: str
    blocks: Sequence[Block]
    brief: bool = True

    @property
    def anchor(self) -> str:
        """What the table of contents leads to."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")

    def html(self) -> str:
        """As HTML."""
        body = "".join(block.html() for block in self.blocks)
        return f'<section id="{self.anchor}"><h2>{html.escape(self.title)}</h2>{body}</section>'

    def markdown(self) -> str:
        """As Markdown; empty when nothing of it belongs there."""
        parts = [block.markdown() for block in self.blocks if isinstance(block, Text | Table)]
        return "\n\n".join([f"### {plain(self.title)}", *parts]) if self.brief and parts else ""


@dataclass(frozen=True)
class Report:
    """A page and a summary of the same.

    Attributes:
        title: of the page.
        lead: what stands first.
        sections: in the order of reading.
    """

    title: str
    lead: Sequence[Text]
    sections: Sequence[Section] = field(default_factory=tuple)

    def page(self) -> str:
        """An HTML page without anything from outside: style and pictures stand inside."""
        title = html.escape(self.title)
        links = (f'<li><a href="#{each.anchor}">{html.escape(each.title)}</a></li>' for each in self.sections)
        contents = f'<nav aria-label="Contents"><ul>{"".join(links)}</ul></nav>'
        lead = f'<div class="lead">{"".join(text.html() for text in self.lead)}</div>'
        body = "".join(section.html() for section in self.sections)
        return (
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<style>{STYLE}</style></head><body><main><h1>{title}</h1>{lead}{contents}{body}</main></body></html>"
        )

    def markdown(self, *lines: str) -> str:
        """A summary, short enough for a description in MLflow; what has no room is left to the page.

        Args:
            lines: Markdown of the caller's, after the lead.
        """
        parts = ["\n\n".join(text.markdown() for text in self.lead), "\n".join(lines)]
        parts += [section.markdown() for section in self.sections]
        return _as_many(list(filter(None, parts)), "More stands in report.html.")


def plain(text: str) -> str:
    r"""A text for Markdown, where it shall look as it is.

    Example:
        >>> plain("a|b <i>")
        'a\\|b \\<i>'
    """
    return _MARKUP.sub(r"\\\1", text).replace("\n", " ")


def _as_many(parts: Sequence[str], otherwise: str, room: int = _ROOM) -> str:
    """As many parts as there is room for."""
    taken: list[str] = []
    for part in parts:
        if sum(map(len, taken)) + len(part) > room:
            return "\n\n".join([*taken, otherwise]) + "\n"
        taken.append(part)
    return "\n\n".join(taken) + "\n"


def cells(make: Callable[[float], str], value: float | None) -> str:
    """A number as a cell; a dash where there is none."""
    return "-" if value is None else make(value)
