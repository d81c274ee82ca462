"""``sentiflow explain``."""

from collections.abc import Sequence
from pathlib import Path

from rich.text import Text

from sentiflow.console import Console, escape
from sentiflow.errors import UsageError
from sentiflow.files import publish
from sentiflow.names import model_name
from sentiflow.reports import explanation
from sentiflow.scoring import Reading, Word, label_of
from sentiflow.settings import load_settings
from sentiflow.tracking.versions import find_version, load_scorer


def run(text: str, page: Path | None, number: int | None, dataset: str | None) -> None:
    """Print the words with the score after each, which moved it most, and write a page if one is asked for."""
    if not text.strip():
        raise UsageError("The text is empty.", 'For example: sentiflow explain "It began well, but ended badly."')
    if page is not None and (not page.name or page.is_dir()):
        raise UsageError(f"--html {page} names no file.", "For example: --html reading.html")
    settings = load_settings()
    version = find_version(settings, None if dataset is None else model_name(dataset), number)
    reading = load_scorer(settings, version).explain(text)
    label = label_of(reading.score)
    by = f"{version.name} version {version.number}"
    console = Console()
    console.print(f"[dim]before the first word[/] {reading.start:.2f}")
    for line in _lines(reading, console.width):
        console.print(line, soft_wrap=True)
    console.print()
    if not any(word.fate in ("read", "rare") for word in reading.words):
        console.print("[dim]no word of it is known: the score is that of an empty text[/]")
    for way, words in zip(("raised", "lowered"), explanation.strongest(reading), strict=True):
        if words:
            console.print(f"{way} it most: {escape(_told(words))}", soft_wrap=True)
    for fate, why in (("unknown", "no review holds them"), ("cut", "only the last words are read")):
        if left := sum(word.fate == fate for word in reading.words):
            console.print(f"[dim]words not read, as {why}: {left}[/]")
    colour = "green" if label == "positive" else "red"
    console.print(f"[{colour}]{label}[/]  {reading.score:.4f}  [dim]{by} ({version.why})[/]", soft_wrap=True)
    if page is not None:
        content = explanation.page(reading, label, by).encode(
            errors="replace"
        )  # bytes that were no text show as ?
        publish(page, lambda path: path.write_bytes(content))
        console.print(f"Written: {escape(str(page))}", soft_wrap=True)


def _lines(reading: Reading, width: int) -> list[Text]:
    """Each word with the score after it, never apart; the stronger the colour, the more it moved the score."""
    lines = [Text()]
    for word in reading.words:
        entry = Text(_shown(word), _style(word, reading))
        entry.append(f" {word.score:.2f}" if word.fate in ("read", "rare") else "", "not bold dim")
        if lines[-1] and lines[-1].cell_len + 2 + entry.cell_len > width:
            lines.append(Text())
        lines[-1].append("  " if lines[-1] else "").append_text(entry)
    return lines


def _style(word: Word, reading: Reading) -> str:
    if word.fate in ("unknown", "cut"):
        return "dim strike"
    if abs(word.change) < explanation.SHOWN:
        return "default"
    paint = int(95 + 160 * explanation.strength(word, reading))
    return f"bold black on rgb(95,{paint},95)" if word.change > 0 else f"bold black on rgb({paint},95,95)"


def _told(words: Sequence[Word]) -> str:
    return ", ".join(f"{_shown(word)} {word.change:+.2f}" for word in words)


def _shown(word: Word) -> str:
    """A word for a terminal: bytes that were no text show as ?."""
    return word.text.encode(errors="replace").decode()
