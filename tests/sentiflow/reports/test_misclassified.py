"""Tests of the reviews that a model gets wrong."""

from dataclasses import replace

import numpy as np
import pytest

from sentiflow.reports.one_run import quote
from sentiflow.reports.summary import Misclassified, without_breaks, wrong_rows
from sentiflow.run.record import RunRecord
from sentiflow.scoring import Vocabulary
from tests.sentiflow.reports.made import LABELS, SCORER, SCORES, record, reviews, summary, test_data


def test_errors_are_the_most_confident_first_and_equals_in_order() -> None:
    assert wrong_rows(LABELS, np.array(SCORES)).tolist() == [2, 1, 4, 3, 5]


def test_a_misclassified_review_holds_label_score_text_and_reading() -> None:
    text = "bad film film"
    errors = summary().misclassified
    assert errors is not None
    assert errors[0] == Misclassified("test-2", "negative", 0.99, text, SCORER.explain(text))


NAMED = record(params={"table.name_of_0": "complaint", "table.name_of_1": "praise"})


@pytest.mark.parametrize(("of", "words"), [(record(), "negative positive"), (NAMED, "complaint praise")])
def test_a_heading_names_the_true_label(of: RunRecord, words: str) -> None:
    errors = summary(of=of).misclassified
    assert errors is not None
    headings = {each.heading for each in errors}
    zero, one = words.split()
    assert {f"test-2: labelled {zero}, scored 0.9900", f"test-1: labelled {one}, scored 0.2000"} <= headings


def test_an_error_is_named_by_where_its_review_stands_and_no_name_of_a_file_obeys() -> None:
    """Red if people had to look for a hash, or a file's name could write to their terminal."""
    places = {"test-2": "a\x1b[2J.csv line 4"}
    errors = summary(test_data=replace(test_data(), places=places)).misclassified
    assert errors is not None
    assert [error.heading for error in errors][:2] == [
        "a\\x1b[2J.csv line 4: labelled negative, scored 0.9900", "test-1: labelled positive, scored 0.2000",
    ]  # fmt: skip


def test_line_breaks_of_html_are_shown_as_such_and_read_as_words() -> None:
    """Red if IMDB's ``br br`` stood in a shown text, or left the text that is scored and explained."""
    words = Vocabulary(["good", "br", "film"])  # ids 4 to 6
    data = replace(test_data(), words=words, test=replace(reviews(), tokens=[np.array([1, 6, 5, 5, 4])] * 6))
    text = data.text("test-2")
    assert words.encode(text) == [1, 6, 5, 5, 4]
    own = replace(data, texts={"test-2": "Bad!<br /><BR>\n A <b>film"}).text("test-2")
    assert (without_breaks(text), without_breaks(own)) == ("film\ngood", "Bad!\nA <b>film")
    scorer = replace(SCORER, vocabulary=words)
    quoted = quote(text, scorer.explain(text))
    assert quoted.words is not None
    assert (quoted.text, [word.text for word in quoted.words]) == ("film\ngood", ["film", "good"])
