"""Readings as something to look at: colours by how much a word moved the score, and a page."""

import html
from collections.abc import Sequence

from sentiflow.scoring import Reading, Word

# A word that moved the score by less than half a point of a hundred is shown plain.
SHOWN = 0.005

STYLE = """
.reading { line-height: 1.9 }
.reading span { padding: .1rem .2rem; border-radius: .2rem; color: #111 }
.reading .up { background: rgb(90 160 255 / var(--strength)); border-bottom: 2px solid #1b5fc1 }
.reading .down { background: rgb(255 150 70 / var(--strength)); border-bottom: 2px dotted #b34700 }
.reading .unread { color: #767676; text-decoration: line-through; padding: 0 }
"""
LEGEND = (
    '<p class="reading"><span class="up" style="--strength:.6">blue, underlined</span>: the word raised the '
    "score; "
    '<span class="down" style="--strength:.6">orange, dotted</span>: it lowered it; '
    '<span class="unread">struck out</span>: not read. Point at a word to see the scores before and after it.</p>'
)

_PAGE_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse } td, th { padding: .1rem 1rem .1rem 0; text-align: left }
svg { width: 100%; height: auto }
"""
_UNREAD = {
    "unknown": "not read: no review of the dataset holds this word",
    "cut": "not read: only the last words of a long text are",
}


def strongest(reading: Reading, most: int = 5) -> tuple[list[Word], list[Word]]:
    """The words that raised the score most, and those that lowered it most, the strongest first."""
    moved = sorted(
        (word for word in reading.words if abs(word.change) >= SHOWN), key=lambda word: -abs(word.change)
    )
    up, down = ([word for word in moved if (word.change > 0) == rose] for rose in (True, False))
    return up[:most], down[:most]


def strength(word: Word, reading: Reading) -> float:
    """How strongly to colour a word: 0 to 1, 1 for the one that moved the score most."""
    return abs(word.change) / reading.strongest if reading.strongest else 0.0


def fragment(reading: Reading) -> str:
    """The words as one HTML paragraph; needs ``STYLE``."""
    return f'<p class="reading">{" ".join(_words(reading))}</p>'


def page(reading: Reading, label: str, by: str) -> str:
    """An HTML page of one reading that needs nothing else: words, a curve, and a table of every step.

    Args:
        reading: of the text.
        label: the model's word for its score.
        by: which version read it.
    """
    title = f"{label}, {reading.score:.4f}"
    rows = "".join(
        f"<tr><td>{number}</td><td>{html.escape(word.text)}</td><td>{word.score:.4f}</td>"
        f"<td>{word.change:+.4f}</td><td>{html.escape(_UNREAD.get(word.fate, word.fate))}</td></tr>"
        for number, word in enumerate(reading.words, 1)
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
        '<meta name="viewport" content="width=device-width"><style>'
        f"{_PAGE_STYLE}{STYLE}</style><h1>{html.escape(title)}</h1>"
        f"<p>Read by {html.escape(by)}. Before the first word the score is {reading.start:.4f}.</p>"
        f"{fragment(reading)}{LEGEND}<h2>The score, word by word</h2>{_curve(reading)}"
        "<table><tr><th>word</th><th></th><th>score after it</th><th>change</th><th>how it was read</th></tr>"
        f"{rows}</table></html>"
    )


def _words(reading: Reading) -> Sequence[str]:
    before, told = reading.start, []
    for word in reading.words:
        text = html.escape(word.text)
        if word.fate in _UNREAD:
            told.append(f'<span class="unread" title="{_UNREAD[word.fate]}">{text}</span>')
        elif abs(word.change) < SHOWN:
            told.append(text)
        else:
            way = "up" if word.change > 0 else "down"
            moved = f"{before:.3f} to {word.score:.3f}"
            told.append(
                f'<span class="{way}" style="--strength:{strength(word, reading):.2f}" title="{moved}">'
                f"{text}</span>"
            )
        before = word.score
    return told


def _curve(reading: Reading) -> str:
    """The score as a line from before the first word to the last, with the threshold across."""
    scores = [reading.start, *(word.score for word in reading.words)]
    width, height = 800, 160
    step = width / max(len(scores) - 1, 1)
    points = " ".join(f"{step * i:.1f},{height * (1 - score):.1f}" for i, score in enumerate(scores))
    return (
        f'<svg viewBox="0 -4 {width} {height + 8}" role="img" '
        'aria-label="score after each word, 0 below, 1 above">'
        f'<path d="M0 {height / 2} H{width}" stroke="#999" stroke-dasharray="4"/>'
        f'<polyline points="{points}" fill="none" stroke="#1b5fc1" stroke-width="2"/></svg>'
    )
