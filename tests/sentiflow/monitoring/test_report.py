"""Tests of the report: what it says and shows, not how it looks."""

import re
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

from sentiflow.monitoring.check import DriftResult, picture, report, table
from sentiflow.monitoring.drift import FeatureDrift, UnusualText

MOVED = FeatureDrift("oov", 0.05, 0.25, 1.5, 1e-9, drifted=True)
SAME = FeatureDrift("length", 177.0, 176.0, 0.01, 0.25, drifted=False)
SCORE = FeatureDrift("score", 0.5, 0.75, 0.3, 0.0004, drifted=True)
EVIL = '<script>alert("x")</script> & <img src="http://example.org/">'

RESULT = DriftResult(
    "sample-sentiment",
    3,
    "d" * 64,
    (MOVED, SAME, SCORE),
    0.2,
    0.001,
    {"model": "sample-sentiment version 3 (champion)", "odd <fact>": "a & b"},
    [UnusualText({"oov": 0.5, "length": 4, "score": 0.125}, EVIL, "text-1")],
)


@pytest.fixture(scope="module")
def figures() -> dict[str, Figure]:
    rng = np.random.default_rng(0)
    values = {
        "oov": rng.beta(2, 30, 300),
        "length": rng.integers(5, 60, 300).astype(float),
        "score": rng.random(300),
    }
    return {each.name: picture(each, values[each.name], values[each.name][:100]) for each in RESULT.features}


def test_the_table_shows_each_feature_with_its_outcome() -> None:
    assert table(RESULT).heading == ("feature", "median of the reviews", "median now", "PSI", "p", "drift")
    assert table(RESULT).rows == [
        ("out-of-vocabulary share", "5.0%", "25.0%", "1.500", "1.0e-09", "yes"),
        ("length in words", "177", "176", "0.010", "0.250", "no"),
        ("score", "0.500", "0.750", "0.300", "4.0e-04", "yes"),
    ]


@pytest.mark.parametrize(
    ("features", "headline"),
    [
        ((SAME,), "No drift: the texts are still like the reviews"),
        ((MOVED, SAME), "Drift: out-of-vocabulary share moved beyond the limits"),
        ((MOVED, SCORE), "Drift: out-of-vocabulary share, score moved beyond the limits"),
        (
            (MOVED, replace(SAME, drifted=True), SCORE),
            "Drift: out-of-vocabulary share, length in words, score moved beyond the limits",
        ),
    ],
)
def test_the_headline_names_what_drifted(features: tuple[FeatureDrift, ...], headline: str) -> None:
    assert replace(RESULT, features=features).headline == headline


def test_the_markdown_has_both_tables_the_rule_and_no_text() -> None:
    made = report(RESULT, {}).markdown()
    lines = [line for line in made.splitlines() if line.startswith("|")]
    assert [line.count("|") for line in lines] == [7] * 5 + [3] * 4
    assert "PSI is at least 0.2 and its p below 0.001" in made
    assert "script" not in made


def test_texts_stand_in_the_page_as_text_and_it_loads_nothing(figures: dict[str, Figure]) -> None:
    made = report(RESULT, figures).page()
    assert "&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt; &amp; &lt;img" in made
    assert "<script" not in made and "odd &lt;fact&gt;" in made
    assert re.findall(r'(?:src|href)="(?!data:image/svg|#)', made) == []
    assert made.count("data:image/svg+xml;base64,PHN2Zy") == 3  # <svg
