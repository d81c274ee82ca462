"""Pages read by tests as a strict reader would."""

from html.parser import HTMLParser

VOID = {"meta", "img", "br", "hr", "link", "input"}
LEAVES = {"path"}  # of SVG, closed in themselves


class Page(HTMLParser):
    """A page whose elements must close in the order of their opening.

    Attributes:
        names: of all elements.
        ids: of those that have one.
        references: whatever an element loads or leads to.
        words: all text.
        cells: of each table, a list of rows of texts.
    """

    def __init__(self, content: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.words = ""
        self.cells: list[list[list[str]]] = []
        self._open: list[str] = []
        self.feed(content)
        self.close()
        assert self._open == [], f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        names = [key for key, _ in attrs]
        assert len(names) == len(set(names)), f"{tag} says something twice: {names}"
        self.ids += [value or "" for key, value in attrs if key == "id"]
        self.references += [value or "" for key, value in attrs if key in ("src", "href", "action", "srcset")]
        if tag == "table":
            self.cells.append([])
        if tag == "tr":
            self.cells[-1].append([])
        if tag in ("td", "th"):
            self.cells[-1][-1].append("")
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        assert tag in LEAVES, f"{tag} does not close itself in HTML"
        self.names.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        assert self._open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        self.words += data
        if {"td", "th"} & set(self._open) and self.cells:
            self.cells[-1][-1][-1] += data


def tables(markdown: str) -> list[list[int]]:
    """How many cells each line of each Markdown table has; a bar after a backslash is no border."""
    found: list[list[int]] = [[]]
    for line in markdown.replace("\\\\", "").replace("\\|", "").splitlines():
        if line.startswith("|"):
            found[-1].append(line.count("|") - 1)
        elif found[-1]:
            found.append([])
    return [table for table in found if table]
