"""Tests of the report: what is told and drawn, not how it looks."""

import re
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

from sentiflow.monitoring.drift import Compared, Limits, Unusual
from sentiflow.monitoring.report import Told, pictures, report, table

MOVED = Compared("oov", 0.05, 0.25, 1.5, 1e-9, drifted=True)
SAME = Compared("length", 177.0, 176.0, 0.01, 0.25, drifted=False)
SCORE = Compared("score", 0.5, 0.75, 0.3, 0.0004, drifted=True)
EVIL = '<script>alert("x")</script> & <img src="http://example.org/">'

TOLD = Told(
    "Drift of sample-sentiment",
    (MOVED, SAME, SCORE),
    Limits(0.2, 0.001),
    {"model": "sample-sentiment version 3 (champion)", "odd <fact>": "a & b"},
    [Unusual(9.0, {"oov": 0.5, "length": 4, "score": 0.125}, EVIL)],
)


@pytest.fixture(scope="module")
def figures() -> dict[str, Figure]:
    rng = np.random.default_rng(0)
    values = {
        "oov": rng.beta(2, 30, 300),
        "length": rng.integers(5, 60, 300).astype(float),
        "score": rng.random(300),
    }
    return pictures(values, {name: each[:100] for name, each in values.items()}, TOLD.compared)


def test_the_table_shows_each_figure_with_its_outcome() -> None:
    assert list(table(TOLD).rows) == [
        ("out-of-vocabulary share", "5.0%", "25.0%", "1.500", "1.0e-09", "yes"),
        ("length in words", "177", "176", "0.010", "0.250", "no"),
        ("score", "0.500", "0.750", "0.300", "4.0e-04", "yes"),
    ]


@pytest.mark.parametrize(
    ("compared", "headline"),
    [
        ((SAME,), "No drift: the texts are still like the reviews"),
        ((MOVED, SAME), "Drift: out-of-vocabulary share moved beyond the limits"),
        ((MOVED, SCORE), "Drift: out-of-vocabulary share and score moved beyond the limits"),
        (
            (MOVED, replace(SAME, drifted=True), SCORE),
            "Drift: out-of-vocabulary share, length in words and score moved beyond the limits",
        ),
    ],
)
def test_the_headline_names_what_drifted(compared: tuple[Compared, ...], headline: str) -> None:
    assert replace(TOLD, compared=compared).headline == headline


def test_the_markdown_is_a_table_with_as_many_cells_in_every_line() -> None:
    lines = [line for line in table(TOLD).markdown().splitlines() if line.startswith("|")]
    assert [line.count("|") for line in lines] == [7] * 5


def test_each_figure_is_drawn_as_shares_of_both_sides(figures: dict[str, Figure]) -> None:
    assert list(figures) == ["oov", "length", "score"]
    for figure in figures.values():
        (axes,) = figure.axes
        lines = [patch for patch in axes.patches if patch.get_label().startswith(("t", "test"))]
        assert [patch.get_label().partition(" (")[2] for patch in lines] == ["300)", "100)"]
        for patch in lines:
            assert 0.97 <= patch.get_data().values.sum() <= 1 + 1e-9  # the longest percent may lie outside


def test_lengths_are_drawn_in_bars_of_whole_words(figures: dict[str, Figure]) -> None:
    steps = np.diff(figures["length"].axes[0].patches[0].get_data().edges)
    assert set(steps) == {2.0}  # 60 words in 30 bars


def test_texts_stand_in_the_page_as_text_and_it_asks_nobody_for_anything(figures: dict[str, Figure]) -> None:
    made = report(TOLD, figures).page()
    assert "&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt; &amp; &lt;img" in made
    assert "<script" not in made and "odd &lt;fact&gt;" in made
    assert re.findall(r'(?:src|href)="(?!data:image/svg|#)', made) == []
    assert made.count("data:image/svg+xml;base64,PHN2Zy") == 3  # <svg
