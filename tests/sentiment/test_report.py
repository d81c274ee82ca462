"""Tests of what people read of a run."""

import base64
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.figure import Figure

from sentiment.data.reviews import Reviews
from sentiment.metrics import Measured
from sentiment.report import Miss, headline, page, worst_errors, worst_errors_text
from sentiment.scoring import Reading, TextScorer, Vocabulary, Weights, Word

VOCABULARY = Vocabulary(["good", "bad", "film"])  # ids 4, 5, 6
SHAPES = (7, 2), (2, 2), (2, 2), (2,), (2, 1), (1,)
SCORER = TextScorer(Weights(*(np.full(shape, 0.1, np.float32) for shape in SHAPES)), VOCABULARY, 5)
READING = Reading(0.5, 0.9, (Word("bad", "read", 0.2, -0.3), Word("film", "read", 0.9, 0.7)))
MEASURED = Measured(0.4, 0.8325, 0.82783, 0.83708, 0.83, 0.9, 0.12)
SCORES = np.array([0.9, 0.2, 0.99, 0.4, 0.7, 0.6])
LABELS = [1, 1, 0, 1, 0, 0]
# wrong: a 0.8 off (number 1), 0.99 off (2), 0.6 off (3), 0.7 off (4), 0.6 off (5)


@pytest.fixture
def six_reviews() -> Reviews:
    tokens = [np.array(ids, np.int32) for ids in ([1, 4], [1, 4, 6], [1, 5, 6, 6], [1, 2, 4], [1, 5], [1, 6, 5])]
    return Reviews(
        np.array([f"test-{i}" for i in range(6)]), np.full(6, "test"), np.array(LABELS, np.int8), tokens
    )


def test_worst_errors_are_the_most_confident_first_and_equals_in_order(six_reviews: Reviews) -> None:
    ids = [miss.review_id for miss in worst_errors(six_reviews, SCORES, SCORER)]
    assert ids == ["test-2", "test-1", "test-4", "test-3", "test-5"]


def test_worst_errors_stop_at_most(six_reviews: Reviews) -> None:
    assert [miss.review_id for miss in worst_errors(six_reviews, SCORES, SCORER, most=2)] == [
        "test-2",
        "test-1",
    ]


def test_a_score_of_one_half_counts_as_negative(six_reviews: Reviews) -> None:
    misses = worst_errors(six_reviews, np.full(6, 0.5), SCORER)
    assert [miss.review_id for miss in misses] == ["test-0", "test-1", "test-3"]


def test_a_miss_holds_label_score_and_the_decoded_text(six_reviews: Reviews) -> None:
    expected = Miss("test-2", 0, 0.99, "bad film film", SCORER.explain("bad film film"))
    assert worst_errors(six_reviews, SCORES, SCORER)[0] == expected


@pytest.mark.parametrize(("label", "word"), [(0, "negative"), (1, "positive")])
def test_a_heading_names_the_true_label(label: int, word: str) -> None:
    assert Miss("test-7", label, 0.98765, "x", READING).heading == f"test-7: {word}, scored 0.9877"


def test_worst_errors_as_text_hold_a_heading_and_the_review_each() -> None:
    misses = [Miss("a", 0, 0.9, "bad film", READING), Miss("b", 1, 0.2, "good", READING)]
    expected = "a: negative, scored 0.9000\nbad film\n\nb: positive, scored 0.2000\ngood\n"
    assert worst_errors_text(misses) == expected


def test_no_errors_are_said_in_words() -> None:
    assert worst_errors_text([]) == "No test review is labelled wrongly.\n"


def test_the_headline_rounds_to_hundredths_of_a_percent() -> None:
    assert headline(MEASURED) == "test accuracy 83.25% (95% interval 82.78% to 83.71%)"


class Tags(HTMLParser):
    """Collects tags, what they refer to, and text."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.references: list[str] = []
        self.words = ""
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.references += [value or "" for key, value in attrs if key in ("src", "href", "action", "srcset")]

    def handle_data(self, data: str) -> None:
        self.words += data


HOSTILE = "<script>alert('x')</script> & <img src=http://evil.example/a.png>"


@pytest.fixture
def read_page() -> Tags:
    figure = Figure(figsize=(1, 1))
    reading = Reading(0.5, 0.9, (Word(HOSTILE, "read", 0.9, 0.4),))
    misses = [Miss("row-<b>1</b>", 0, 0.9, HOSTILE, reading)]
    facts = {"git_commit": "abc<i>", "url": "http://127.0.0.1:5000/#/run"}
    return Tags(page(f"Run {HOSTILE}", facts, MEASURED, {'curves"><script>': figure}, misses))


def test_markup_in_reviews_titles_facts_and_names_is_escaped(read_page: Tags) -> None:
    assert {"script", "b", "i"}.isdisjoint(read_page.names)


def test_hostile_text_can_still_be_read_on_the_page(read_page: Tags) -> None:
    assert read_page.words.count(HOSTILE) == 3  # the title twice, the review once


def test_the_page_refers_to_nothing_outside_itself(read_page: Tags) -> None:
    assert [reference[:22] for reference in read_page.references] == ["data:image/png;base64,"]


def test_the_style_loads_nothing(read_page: Tags) -> None:
    assert not re.search(r"@import|url\(", read_page.words)


def test_pictures_stand_inside_as_png(read_page: Tags) -> None:
    content = base64.b64decode(read_page.references[0].partition(",")[2], validate=True)
    assert content.startswith(b"\x89PNG\r\n")


def test_every_figure_stands_on_the_page_with_four_digits() -> None:
    words = Tags(page("t", {}, MEASURED, {}, [])).words
    expected = [
        "loss0.4000",
        "accuracy0.8325",
        "accuracy low0.8278",
        "accuracy high0.8371",
        "f10.8300",
        "auc0.9000",
        "brier0.1200",
    ]
    assert [item for item in expected if item not in words] == []


def test_a_page_without_errors_says_none() -> None:
    assert Tags(page("t", {}, MEASURED, {}, [])).words.count("Worst errorsNone.") == 1


def test_a_worst_error_shows_which_words_moved_its_score() -> None:
    content = page("t", {}, MEASURED, {}, [Miss("a", 0, 0.9, "bad film", READING)])
    assert 'title="0.500 to 0.200">bad</span>' in content
    assert 'title="0.200 to 0.900">film</span>' in content
