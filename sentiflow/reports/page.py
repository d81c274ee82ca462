"""A report as blocks, rendered as an HTML page or as Markdown."""

import base64
import html
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from matplotlib.figure import Figure

from sentiflow.reports import explanation

STYLE = (
    """
:root { color-scheme: light dark; --page: #fff; --ink: #1c1c1c; --quiet: #595959; --rule: #d9d9d9;
  --link: #0b5cad; --alarm: #b03a00 }
@media (prefers-color-scheme: dark) { :root { --page: #16181b; --ink: #e4e4e4; --quiet: #a6a6a6; --rule: #3c4045;
  --link: #7db8ff; --alarm: #ff9c57 } }
* { box-sizing: border-box }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0; background: var(--page); color: var(--ink) }
main { max-width: 62rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; overflow-wrap: anywhere }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .5rem } h2 { font-size: 1.25rem; margin: 2.2rem 0 .6rem;
  border-top: 1px solid var(--rule); padding-top: 1rem } h3 { font-size: 1rem; margin: 1.2rem 0 .2rem }
.lead { font-size: 1.1rem } a { color: var(--link) }
nav ul { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; list-style: none; padding: 0; margin: 1rem 0 }
.wide { overflow-x: auto; max-width: 100% } .small { color: var(--quiet) }
table { border-collapse: collapse; font-size: .95rem; overflow-wrap: normal }
th, td { text-align: left; vertical-align: top; padding: .25rem 1.2rem .25rem 0 }
th { font-weight: 600 } tbody th { font-weight: 400; min-width: 7rem }
thead th { border-bottom: 1px solid var(--rule); vertical-align: bottom; color: var(--quiet) }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
img { max-width: 100%; height: auto; display: block; margin: .6rem 0 } .wide img { min-width: 34rem }
.strip { width: 11rem; height: 1rem }
.side { display: flex; flex-wrap: wrap; gap: 0 1.5rem } .side img { max-width: min(100%, 18.5rem) }
blockquote { margin: .3rem 0 1.2rem; padding-left: .8rem; border-left: 3px solid var(--rule) }
"""
    + explanation.STYLE
    + """
@media (prefers-color-scheme: dark) { .reading span { color: inherit } .reading .unread { color: var(--quiet) }
  .reading .up { background: rgb(25 85 170 / var(--strength)); border-color: #7db8ff }
  .reading .down { background: rgb(150 65 10 / var(--strength)); border-color: #ff9c57 } }
"""
)


_INK = "#000000"  # whatever is drawn in black
_LOOK = "<style>svg{color:#1c1c1c;fill:currentColor}@media(prefers-color-scheme:dark){svg{color:#e4e4e4}}</style>"
_METADATA = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)


def image(figure: Figure, told: str) -> str:
    """A figure as an HTML image that holds all of itself.

    Args:
        figure: drawn in black and colours on nothing.
        told: what it shows, for those who do not see it.
    """
    content = base64.b64encode(svg(figure).encode()).decode()
    return f'<img alt="{html.escape(told)}" src="data:image/svg+xml;base64,{content}">'


def svg(figure: Figure) -> str:
    """A figure as SVG whose ink is dark on light pages and light on dark ones."""
    content = io.StringIO()
    figure.savefig(content, format="svg", transparent=True, metadata={"Date": None})
    drawn = _METADATA.sub("", content.getvalue().replace(_INK, "currentColor"))
    start = drawn.index(">", drawn.index("<svg")) + 1
    return drawn[drawn.index("<svg") : start] + _LOOK + drawn[start:]


def strip(low: float, at: float, high: float, left: float, right: float) -> str:
    """A value with its interval as a dot on a line, for a table's cell; the scale runs from left to right."""
    scale = 100 / max(right - left, 1e-9)
    x0, x, x1 = (round((value - left) * scale, 1) for value in (low, at, high))
    return (
        '<svg class="strip" viewBox="-3 0 106 10" preserveAspectRatio="none" aria-hidden="true">'
        '<path d="M0 5H100" stroke="currentColor" stroke-opacity=".15"/>'
        f'<path d="M{x0} 5H{x1}" stroke="#0072b2" stroke-width="2.5"/>'
        f'<path d="M{x} 1V9" stroke="currentColor" stroke-width="2"/></svg>'
    )


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
