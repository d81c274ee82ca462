"""Pictures inside a page: as vectors, which are small, sharp, and can follow the page into the dark."""

import base64
import html
import io
import re

from matplotlib.figure import Figure

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
