"""A run as something to read: the worst errors, and a page with figures and pictures."""

import base64
import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from sentiment import readings
from sentiment.data.reviews import Reviews
from sentiment.metrics import Measured
from sentiment.scoring import Reading, TextScorer, is_positive

WORST = 20

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse } th, td { text-align: left; padding: .2rem 1rem .2rem 0; vertical-align: top }
th { font-weight: 600 } td.number { text-align: right; font-variant-numeric: tabular-nums }
img { max-width: 100%; margin: .5rem 0 } blockquote { margin: .3rem 0 1.2rem; color: #444 }
"""


@dataclass(frozen=True)
class Miss:
    """A review that the model gets wrong.

    Attributes:
        review_id: of the dataset.
        label: the true one, 0 or 1.
        score: what the model says.
        text: the whole review, decoded.
        reading: how the score came about, word by word.
    """

    review_id: str
    label: int
    score: float
    text: str
    reading: Reading

    @property
    def heading(self) -> str:
        """One line that says what went wrong."""
        return f"{self.review_id}: {_word(self.label)}, scored {self.score:.4f}"


def worst_errors(test: Reviews, scores: NDArray[np.float64], scorer: TextScorer, most: int = WORST) -> list[Miss]:
    """The most confident errors, worst first; fewer than ``most`` when there are fewer.

    Args:
        test: reviews.
        scores: of each, shape (n,).
        scorer: what scored them, and tells how.
        most: how many.
    """
    wrong = np.flatnonzero(is_positive(scores) != test.label)
    order = wrong[np.argsort(-np.abs(scores[wrong] - test.label[wrong]), kind="stable")]
    texts = {i: scorer.vocabulary.decode(test.tokens[i], unknown="") for i in order[:most]}
    return [
        Miss(str(test.review_id[i]), int(test.label[i]), float(scores[i]), text, scorer.explain(text))
        for i, text in texts.items()
    ]


def worst_errors_text(misses: Sequence[Miss]) -> str:
    """The worst errors as plain text."""
    if not misses:
        return "No test review is labelled wrongly.\n"
    return "\n\n".join(f"{miss.heading}\n{miss.text}" for miss in misses) + "\n"


def headline(measured: Measured) -> str:
    """Accuracy with its interval, in one line."""
    return (
        f"test accuracy {measured.accuracy:.2%} "
        f"(95% interval {measured.accuracy_low:.2%} to {measured.accuracy_high:.2%})"
    )


def page(
    title: str,
    facts: Mapping[str, object],
    measured: Measured,
    figures: Mapping[str, Figure],
    misses: Sequence[Miss],
) -> str:
    """An HTML page that needs nothing else: pictures stand inside."""
    pictures = "".join(
        f'<img alt="{html.escape(name.replace("_", " "))}" src="data:image/png;base64,{png(figure)}">'
        for name, figure in figures.items()
    )
    errors = "".join(
        f"<h3>{html.escape(miss.heading)}</h3><blockquote>{readings.fragment(miss.reading)}</blockquote>"
        for miss in misses
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{STYLE}{readings.STYLE}</style><h1>{html.escape(title)}</h1>"
        f"<p>{html.escape(headline(measured).capitalize())}.</p>"
        f"<h2>Test split</h2>{_table({k: f'{v:.4f}' for k, v in asdict(measured).items()}, 'number')}"
        f"<h2>Pictures</h2>{pictures}<h2>Worst errors</h2>"
        f"{readings.LEGEND + errors if errors else '<p>None.</p>'}"
        f"<h2>Run</h2>{_table(facts)}</html>"
    )


def _table(rows: Mapping[str, object], css: str = "") -> str:
    cells = "".join(
        f'<tr><th>{html.escape(key.replace("_", " "))}</th><td class="{css}">{html.escape(str(value))}</td></tr>'
        for key, value in rows.items()
    )
    return f"<table>{cells}</table>"


def png(figure: Figure) -> str:
    """A picture as base64, to stand inside a page."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=100)
    return base64.b64encode(content.getvalue()).decode()


def _word(label: int) -> str:
    return "positive" if label else "negative"
