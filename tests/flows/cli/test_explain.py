"""``sentiflow predict --explain``, and what commands say when there is no model."""

import re
from pathlib import Path

import pytest

from tests.world import World, refusal


def test_explain_shows_the_score_after_each_word_and_writes_a_page(registry: World, tmp_path: Path) -> None:
    page = tmp_path / "reading.html"
    done = registry.run("predict", "--explain", "The acting was dull and xyzzyx.", "--html", str(page))
    assert done.returncode == 0, done.stderr
    words = re.findall(r"(\w+) (0\.\d\d)", done.stdout.split("before the first word")[1].partition("\n")[2])
    assert [word for word, _ in words[:5]] == ["the", "acting", "was", "dull", "and"]
    predicted = registry.run("predict", "The acting was dull and xyzzyx.").stdout
    label, score = predicted.split()[:2]
    assert f"{label}  {score}" in done.stdout
    assert words[4][1] == f"{float(score):.2f}"
    assert "lowered it most: dull -0." in done.stdout
    assert f"Explanation: {label}, score {score}" in page.read_text(encoding="utf-8")


def test_a_text_without_a_known_word_is_marked(registry: World) -> None:
    first, second, _ = registry.run("predict", "The acting was dull.", "xyzzyx").stdout.splitlines()
    assert ("no word of it is known" in first, "no word of it is known" in second) == (False, True)


@pytest.mark.parametrize(
    ("given", "told"), [(["dull"], "Add --explain."), (["--explain", "dull", "bad"], "--html takes one text.")]
)
def test_a_page_is_of_one_explained_text(world: World, given: list[str], told: str) -> None:
    """The world has no model: the options are checked before one is looked for."""
    error = refusal("predict", *given, "--html", "page.html")
    assert (error.exit_code, told in f"{error} {error.hint}") == (2, True), error
