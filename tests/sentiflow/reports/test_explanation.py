"""Tests of explanations as pages."""

import re
from dataclasses import replace
from html.parser import HTMLParser

from sentiflow.reports.blocks import explanation_page, marked_words
from sentiflow.scoring import Attribution, Word
from tests.sentiflow.reports.made import SCORER

READING = Attribution(
    start=0.5,
    score=0.6,
    words=(
        Word("a", "read", 0.501, 0.001),
        Word("<b>", "read", 0.901, 0.4),
        Word("zzz", "unknown", 0.901, 0.0),
        Word("dull", "read", 0.6, -0.301),
    ),
)


PAGE = explanation_page(READING, SCORER, "m version 1")


class Text(HTMLParser):
    """Collects text by the class of the element it stands in, and tags."""

    def __init__(self) -> None:
        super().__init__()
        self.spans: list[tuple[str, str]] = []
        self.tags: list[str] = []
        self._css = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._css = dict(attrs).get("class") or ""

    def handle_data(self, data: str) -> None:
        if self._css in ("up", "down", "unread") and " " not in data:  # not in the legend
            self.spans.append((self._css, data))
        self._css = ""


def parsed(page: str) -> Text:
    parser = Text()
    parser.feed(page)
    return parser


def test_of_a_huge_text_the_last_words_are_shown() -> None:
    """Red if a text of a million words made a page of them, or the scores of those shown were another word's."""
    cut = [Word(f"w{i}", "cut", 0.5, 0.0) for i in range(300)]
    words = marked_words(replace(READING, words=(*cut, *READING.words)))
    assert [word.text for word in words[:2]] == ["... 250 words ...", "w250"] and len(words) == 1 + 50 + 4
    assert words[-1].note == "0.901 to 0.600"
    unknown = marked_words(replace(READING, words=(Word("u", "unknown", 0.5, 0.0),) * 7_000))
    assert (words[0].effect, unknown[0].text, len(unknown)) == ("unread", "... 1,000 words ...", 6_001)


def test_words_are_marked_by_what_they_did_and_small_moves_stay_plain() -> None:
    assert parsed(PAGE).spans == [("up", "<b>"), ("unread", "zzz"), ("down", "dull")]


def test_a_page_needs_nothing_from_outside() -> None:
    assert not re.search(r"""(src|href)="[^#]|https?://|@import|url\(""", PAGE)


def test_an_explanation_speaks_of_the_labels_of_the_table_and_shows_markup_as_it_is() -> None:
    named = replace(SCORER, label_names=("bad", "<b>&good"))
    page = explanation_page(READING, named, "m version 1")
    assert "Explanation: &lt;b&gt;&amp;good, score 0.6000" in page
    assert "from 0 (bad) to 1 (&lt;b&gt;&amp;good); above 0.5 the label is &lt;b&gt;&amp;good" in page
    assert "positive" not in page and "b" not in parsed(page).tags


def test_characters_of_a_script_without_spaces_stand_together() -> None:
    words = [Word(text, "read", 0.5 + k / 10, 0.1) for k, text in enumerate(("很", "好", "ok"))]
    text = re.sub(r"<[^>]+>", "", explanation_page(replace(READING, words=tuple(words)), SCORER, "m version 1"))
    assert "很好 ok\n" in text
