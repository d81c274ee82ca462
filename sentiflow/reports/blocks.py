"""Runs as something to read: a page and a summary of one run, and of several held against each other."""

import base64
import io
import re
import textwrap
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cache
from html import escape
from typing import TYPE_CHECKING
from urllib.parse import quote

from sentiflow.redaction import escape_markdown

if TYPE_CHECKING:
    from jinja2 import Template
    from matplotlib.figure import Figure

    from sentiflow.scoring import Attribution, TextScorer, Word


PAGE = "report.html"  # a run's report among its artifacts
ERRORS = "errors.html"  # beside it

SHOWN = 0.005  # change of the score from which on a word is coloured
_FOLDED = 80  # characters of a long text, shown until it is opened

_CUT, _MOST = 50, 6_000  # words shown of those that are cut off in front of a long text, and of all

_UNREAD = {"unknown": "not read: no training review has it", "cut": "not read: only the last words are"}

MAX_ROWS = 24  # of a table in Markdown
_MAX_CHARACTERS = 7_500  # of a summary: MLflow keeps 8,000 of a description
_WIDE = 8  # inches; a wider picture scrolls on a narrow page
_BLACK = "#000000"
_INK = "<style>svg{color:#1c1c1c;fill:currentColor}@media(prefers-color-scheme:dark){svg{color:#e4e4e4}}</style>"
_METADATA = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str
    strong: bool = False

    def markdown(self) -> str:
        return f"**{escape_markdown(self.text)}**" if self.strong else escape_markdown(self.text)


@dataclass(frozen=True)
class Link:
    """A link to a file that lies beside the page, for the page alone."""

    text: str
    file: str

    @property
    def address(self) -> str:
        return quote(self.file, safe="")


@dataclass(frozen=True)
class Heading:
    """A heading within a section, for the page alone."""

    text: str


@dataclass(frozen=True)
class Table:
    """Rows of cells."""

    heading: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: int = 1  # how many columns, from the first on, hold words; the others numbers, aligned to the right
    alarms: Collection[int] = ()  # numbers of rows that the page highlights

    def markdown(self) -> str:
        """As Markdown; of a long table only the first rows."""
        sides = ["---" if i < self.words else "---:" for i in range(len(self.heading))]
        head, *rows = ([escape_markdown(cell) for cell in row] for row in (self.heading, *self.rows[:MAX_ROWS]))
        table = "\n".join(f"| {' | '.join(line)} |" for line in (head, sides, *rows))
        hidden = len(self.rows) - MAX_ROWS
        return f"{table}\n\n... and {hidden} more in the page." if hidden > 0 else table


@dataclass(frozen=True)
class Picture:
    """A figure, drawn when the page is rendered; Markdown has none."""

    figure: "Figure"  # in black and colours on a transparent ground
    alt: str

    @property
    def data(self) -> str:
        return base64.b64encode(svg(self.figure).encode()).decode()

    @property
    def is_wide(self) -> bool:
        """Whether it scrolls on a narrow page."""
        return bool(self.figure.get_figwidth() > _WIDE)


@dataclass(frozen=True)
class SideBySide:
    """Small pictures in a row, for the page alone."""

    pictures: Sequence[Picture]


@dataclass(frozen=True)
class MarkedWord:
    """A word of an explained text."""

    text: str
    effect: str = ""  # ``up``, ``down``, ``unread``, or empty if it hardly moved the score
    note: str = ""  # shown when the word is pointed at
    strength: float = 0.0  # of the colour, from 0 to 1
    space: str = " "  # in front of it


@dataclass(frozen=True)
class Quote:
    """A text of a user or a dataset, for the page alone; with ``words``, these are shown in its place."""

    text: str
    words: Sequence[MarkedWord] | None = None
    caption: str = ""

    @property
    def beginning(self) -> str:
        """What is shown of a long text until it is opened; empty for a short one."""
        return textwrap.shorten(self.text, _FOLDED, placeholder=" ...") if len(self.text) > 5 * _FOLDED else ""


@dataclass(frozen=True)
class Legend:
    """What the colours of explained texts mean, for the page alone."""


Block = Text | Link | Heading | Table | Picture | SideBySide | Quote | Legend


@dataclass(frozen=True)
class Section:
    """A part of a report under its own heading; if ``brief``, its texts and tables are in the summary, too."""

    title: str
    blocks: Sequence[Block]
    brief: bool = True

    @property
    def anchor(self) -> str:
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")

    def markdown(self) -> str:
        """As Markdown; empty if it is not brief, or has no text and no table."""
        parts = [block.markdown() for block in self.blocks if isinstance(block, Text | Table)]
        return "\n\n".join([f"### {escape_markdown(self.title)}", *parts]) if self.brief and parts else ""


@dataclass(frozen=True)
class Report:
    """A title, a lead and sections."""

    title: str
    lead: Sequence[Text]
    sections: Sequence[Section]

    def page(self) -> str:
        """An HTML page that loads nothing from outside."""
        return template("page.html").render(report=self)

    def _repr_html_(self) -> str:
        return framed(self.page())

    def markdown(self, *lines: str, first: str = "") -> str:
        """A summary that fits into a description of MLflow; ``first`` follows the lead, ``lines`` end it."""
        parts = ["\n\n".join(text.markdown() for text in self.lead), first]
        parts += [section.markdown() for section in self.sections]
        last = "\n".join(lines)
        whole = join([*filter(None, parts)], _MAX_CHARACTERS - len(last), "More stands in the HTML page.")
        return whole + (f"\n{last}\n" if last else "")


def framed(page: str) -> str:
    """A page within a notebook, which it cannot change."""
    return f'<iframe srcdoc="{escape(page)}" style="width: 100%; height: 30em; border: 0"></iframe>'


def svg(figure: "Figure") -> str:
    """A figure as SVG whose black is dark on light pages and light on dark ones."""
    content = io.StringIO()
    lay_out(figure)
    figure.savefig(content, format="svg", transparent=True, metadata={"Date": None})
    drawn = _METADATA.sub("", content.getvalue().replace(_BLACK, "currentColor"))
    start = drawn.index(">", drawn.index("<svg")) + 1
    return drawn[drawn.index("<svg") : start] + _INK + drawn[start:]


def lay_out(figure: "Figure") -> None:
    """Place a figure's parts for good; each drawing would place them again, which takes longer than to draw."""
    if engine := figure.get_layout_engine():
        engine.execute(figure)
        figure.set_layout_engine(None)


def format_cell(value: float | None, form: str) -> str:
    """A number as a cell; a dash for None."""
    return "-" if value is None else format(value, form)


@cache
def template(name: str) -> "Template":
    """A template of a page, or of Markdown; what is put into either shows as it is."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    def shown(value: object) -> object:
        return value if isinstance(value, Markup) else escape_markdown(str(value))

    is_page = name.endswith(".html")
    environment = Environment(
        loader=PackageLoader("sentiflow.reports"),
        autoescape=is_page,
        finalize=None if is_page else shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False}
    return environment.get_template(name)


def join(parts: Sequence[str], characters: int, note: str) -> str:
    """The first parts that fit into ``characters`` and 200 more, with the note if some do not."""
    taken: list[str] = []
    for part in parts:
        if sum(map(len, taken)) + len(part) > characters:
            taken.append(note)
            break
        taken.append(part)
    return "\n\n".join(taken) + "\n"


def strongest_words(reading: "Attribution") -> "tuple[list[Word], list[Word]]":
    """The five words that raised the score most, and the five that lowered it most, the strongest first."""
    moved = sorted(reading.words, key=lambda word: -abs(word.change))
    up, down = ([word for word in moved if way * word.change >= SHOWN] for way in (1, -1))
    return up[:5], down[:5]


def marked_words(reading: "Attribution") -> list[MarkedWord]:
    """The words with their colours and notes for a page; of a long text the last ones, with few that were cut."""
    from sentiflow.scoring.vocabulary import spaces

    words = reading.words
    cut = max((place for place, word in enumerate(words, 1) if word.status == "cut"), default=0)
    hidden = max(cut - _CUT, len(words) - _MOST, 0)
    before = [reading.start, *(word.score for word in words)][hidden:]
    most = max((abs(word.change) for word in words), default=0.0)
    gaps = spaces([word.text for word in words])[hidden:]
    shown = zip(words[hidden:], before, gaps, strict=False)
    marked = [replace(_mark(word, score, most), space=space) for word, score, space in shown]
    return [*([MarkedWord(f"... {hidden:,} words ...", "unread", "not shown")] if hidden else []), *marked]


def explanation_page(reading: "Attribution", scorer: "TextScorer", by: str) -> str:
    """An HTML page of one explanation by a version: its words, coloured, each with the score before and after."""
    zero, one = scorer.label_names
    return Report(
        f"Explanation: {scorer.label_of(reading.score)}, score {reading.score:.4f}",
        [Text(f"Classified by {by}. The score goes from 0 ({zero}) to 1 ({one}); above 0.5 the label is {one}.")],
        [Section("Words", [Quote("", marked_words(reading)), Legend()])],
    ).page()


def _mark(word: "Word", before: float, most: float) -> MarkedWord:
    if word.status in _UNREAD:
        return MarkedWord(word.text, "unread", _UNREAD[word.status])
    if abs(word.change) < SHOWN:
        return MarkedWord(word.text)
    effect = "up" if word.change > 0 else "down"
    return MarkedWord(word.text, effect, f"{before:.3f} to {word.score:.3f}", abs(word.change) / most)
