"""Tests of the reviews that a model gets wrong."""

from dataclasses import replace

import numpy as np
import pytest

from sentiflow.reports.summary import Misclassified, worst_errors_text, worst_rows
from sentiflow.runs import RunRecord
from sentiflow.scoring import Attribution
from tests.sentiflow.reports.made import LABELS, SCORER, SCORES, record, summary, test_data

READING = Attribution(0.5, 0.9, ())


def test_worst_errors_are_the_most_confident_first_and_equals_in_order() -> None:
    assert worst_rows(LABELS, np.array(SCORES)).tolist() == [2, 1, 4, 3, 5]


def test_a_misclassified_review_holds_label_score_text_and_reading() -> None:
    text = "bad film film"
    errors = summary().misclassified
    assert errors is not None
    assert errors[0] == Misclassified("test-2", "negative", 0.99, text, SCORER.explain(text))


@pytest.mark.parametrize("gone", ["test_data", "table"])
def test_without_texts_or_scores_there_are_no_errors_to_show(gone: str) -> None:
    assert summary(**{gone: None}).misclassified is None


NAMED = record(params={"table.name_of_0": "complaint", "table.name_of_1": "praise"})


@pytest.mark.parametrize(("of", "words"), [(record(), "negative positive"), (NAMED, "complaint praise")])
def test_a_heading_names_the_true_label(of: RunRecord, words: str) -> None:
    errors = summary(of=of).misclassified
    assert errors is not None
    headings = {each.heading for each in errors}
    zero, one = words.split()
    assert {f"test-2: {zero}, scored 0.9900", f"test-1: {one}, scored 0.2000"} <= headings


def test_worst_errors_as_text_hold_a_heading_and_the_review_each() -> None:
    errors = [
        Misclassified("a", "negative", 0.9, "bad film", READING),
        Misclassified("b", "positive", 0.2, "good", READING),
    ]
    expected = "a: negative, scored 0.9000\nbad film\n\nb: positive, scored 0.2000\ngood\n"
    assert worst_errors_text(errors) == expected


def test_an_error_is_named_by_where_its_review_stands_and_no_name_of_a_file_obeys() -> None:
    """Red if people had to look for a hash, or a file's name could write to their terminal."""
    places = {"test-2": "a\x1b[2J.csv line 4"}
    errors = summary(test_data=replace(test_data(), places=places)).misclassified
    assert errors is not None
    assert [error.heading for error in errors][:2] == [
        "a\\x1b[2J.csv line 4: negative, scored 0.9900", "test-1: positive, scored 0.2000",
    ]  # fmt: skip
