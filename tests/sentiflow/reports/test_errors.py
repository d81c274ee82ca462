"""Tests of the page of all errors."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, expect

from sentiflow.data.reviews import Reviews
from sentiflow.evaluation.scores import ScoreTable
from sentiflow.reports import one_run
from sentiflow.reports.summary import TestData
from tests.pages import Page
from tests.sentiflow.reports.made import HOSTILE, VOCABULARY, record, table, test_data

NAMES = {"table.name_of_0": "bad</script>", "table.name_of_1": "good <b>"}
TEXTS = {
    "test-2": f"</script><!--<script>{HOSTILE}",
    "test-1": "\U0001f600 \u05e9\u05dc\u05d5\u05dd \u2028 \x00 {{ 7 * 7 }}",
    "test-4": "word " * 9_000,
}


def made(texts: dict[str, str] = TEXTS) -> str:
    places = {"test-2": "<img src=x>.csv line 4"}
    return one_run.errors_page(record(params=NAMES), table(), replace(test_data(), texts=texts, places=places))


def test_the_page_holds_every_error_whatever_is_in_it() -> None:
    """Red if an error were missing, or a text, a name of a label or of a file could leave its place."""
    content = made()
    page = Page(content)
    assert page.names.count("script") == 2 and "img" not in page.names and page.references == []
    data = json.loads(content.split('id="data">')[1].split("</script>")[0])
    long = f"{TEXTS['test-4'][:20_000]} ..."
    assert data == {
        "names": ["bad</script>", "good <b>"],
        "errors": [
            ["<img src=x>.csv line 4", 0, 0.99, 8, TEXTS["test-2"]],
            ["test-1", 1, 0.2, 8, TEXTS["test-1"]],
            ["test-4", 0, 0.7, 9_000, long],
            ["test-3", 1, 0.4, 1, "good"],
            ["test-5", 0, 0.6, 5, "film not bad good good"],
        ],
    }


def test_of_very_many_errors_the_most_confident_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one_run, "_CHARACTERS", 9)
    content = made({"test-2": "12345", "test-1": "1234", "test-4": "1"})
    assert "5 of 6 test reviews are misclassified" in content
    assert "Of these the 2 most confident ones are here." in content


@pytest.mark.story
def test_errors_are_filtered_sorted_and_turned_in_a_browser(browser: Browser, tmp_path: Path) -> None:
    """Red if a filter kept or dropped the wrong reviews, a text became an element, or the policy stopped it."""
    count, labels = 120, np.arange(120, dtype=np.int8) % 2  # all wrong; the odd ones are labelled positive
    sure = 0.55 + np.arange(count) * 0.003  # from 0.55 to 0.907, number 119 first
    ids = np.array([f"test-{i}" for i in range(count)])
    tokens = [np.array([1, 4] + [6] * i, np.int32) for i in range(count)]
    test = Reviews(ids, np.full(count, "test"), labels, tokens)
    scores = ScoreTable(ids, labels, np.where(labels == 1, 1 - sure, sure), test.n_tokens, 5)
    data = TestData(test, VOCABULARY, texts={"test-7": f"An odd one {HOSTILE}", "test-8": "oddly"})
    (tmp_path / "errors.html").write_text(one_run.errors_page(record(), scores, data), encoding="utf-8")
    tab, asked = browser.new_page(), list[str]()
    tab.on("request", lambda each: asked.append(each.url))
    tab.goto((tmp_path / "errors.html").as_uri())
    shown, headings = tab.locator("#count"), tab.locator("#errors h2")
    expect(shown).to_have_text("1 to 50 of 120")
    assert headings.first.inner_text() == "test-119: labelled positive, scored 0.0930"
    for _ in range(2):
        tab.locator(".on").last.click()
    expect(shown).to_have_text("101 to 120 of 120")
    expect(tab.locator(".on").first).to_be_disabled()
    tab.select_option("[name=label]", label="labelled negative, scored positive")
    tab.select_option("[name=order]", label="length, shortest first")
    expect(shown).to_have_text("1 to 50 of 60")
    assert headings.all_inner_texts()[:2] == [f"test-{i}: labelled negative, scored {sure[i]:.4f}" for i in (8, 0)]
    tab.fill("[name=sure]", "0.6")
    tab.fill("[name=unsure]", "0.62")  # numbers 17 to 23, of which 18, 20 and 22 are labelled negative
    tab.fill("[name=long]", "21")
    assert [each.split(":")[0] for each in headings.all_inner_texts()] == ["test-18", "test-20"]
    tab.reload()
    tab.fill("[name=word]", " ODD ")
    expect(shown).to_have_text("1 to 1 of 1")
    assert tab.locator("#errors blockquote").inner_text() == f"An odd one {HOSTILE}"
    assert tab.locator("#errors mark").all_inner_texts() == ["odd"]
    tab.fill("[name=word]", "a(b")
    expect(shown).to_have_text("No error is like this.")
    assert [url for url in asked if not url.startswith("file:")] == []
    tab.close()
