"""Explanations of a score: which words moved it, for terminals and pages."""

from sentiflow.reports.page import Curve, Legend, MarkedWord, Quote, Report, Section, Table, Text
from sentiflow.scoring import Attribution, Word

SHOWN = 0.005  # change of the score from which on a word is coloured

_UNREAD = {
    "unknown": "not read: no review of the dataset holds this word",
    "cut": "not read: only the last words of a long text are",
}


def strongest_words(reading: Attribution, limit: int = 5) -> tuple[list[Word], list[Word]]:
    """The words that raised the score most, and those that lowered it most, the strongest first."""
    moved = sorted(
        (word for word in reading.words if abs(word.change) >= SHOWN), key=lambda word: -abs(word.change)
    )
    up, down = ([word for word in moved if (word.change > 0) == rose] for rose in (True, False))
    return up[:limit], down[:limit]


def strength(word: Word, reading: Attribution) -> float:
    """Strength of a word's colour, from 0 to 1 for the word that moved the score most."""
    return abs(word.change) / reading.max_abs_change if reading.max_abs_change else 0.0


def mark(reading: Attribution) -> list[MarkedWord]:
    """The words with their colours and notes for a page."""
    before = [reading.start, *(word.score for word in reading.words)]
    return [_mark(word, score, reading) for word, score in zip(reading.words, before, strict=False)]


def page(reading: Attribution, label: str, by: str) -> str:
    """An HTML page of one explanation: words, a curve, and a table of every step.

    Args:
        reading: of the text.
        label: that belongs to its score.
        by: which version scored it.
    """
    scores = [reading.start, *(word.score for word in reading.words)]
    return Report(
        f"Explanation: {label}, score {reading.score:.4f}",
        [Text(f"Classified by {by}. The score is the probability of positive; a text is positive above 0.5.")],
        [
            Section("Words", [Quote("", mark(reading)), Legend()]),
            Section(
                "Score after each word",
                [Curve(scores, "Score after each word, from 0 (negative) to 1 (positive)"), _steps(reading)],
            ),
        ],
    ).page()


def _mark(word: Word, before: float, reading: Attribution) -> MarkedWord:
    if word.status in _UNREAD:
        return MarkedWord(word.text, "unread", _UNREAD[word.status])
    if abs(word.change) < SHOWN:
        return MarkedWord(word.text)
    effect = "up" if word.change > 0 else "down"
    return MarkedWord(word.text, effect, f"{before:.3f} to {word.score:.3f}", strength(word, reading))


def _steps(reading: Attribution) -> Table:
    """A row a word; words that were not read have no score of their own."""
    rows = [("", "before the first word", f"{reading.start:.4f}", "")]
    for number, word in enumerate(reading.words, 1):
        if word.status in _UNREAD:
            rows.append((str(number), f"{word.text} ({_UNREAD[word.status]})", "-", "-"))
        else:
            rows.append((str(number), word.text, f"{word.score:.4f}", f"{word.change:+.4f}"))
    return Table(("number", "word", "score after it", "change"), rows, words=2)
