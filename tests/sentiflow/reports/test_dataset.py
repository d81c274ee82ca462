"""Tests of the page of a table, by one made by hand."""

import csv
from pathlib import Path

import pytest

from sentiflow.data.prepare import fetch, prepare
from sentiflow.reports.dataset import dataset_page
from sentiflow.settings import Settings
from tests.pages import Page

WRONG = "alpha beta superb gamma"  # labelled 0, as no other text with that word


@pytest.fixture
def page(settings: Settings, tmp_path: Path) -> Page:
    folder = tmp_path / "shop"
    folder.mkdir()
    texts = [(f"n{k} m{k % 7} {('awful', 'superb')[k % 2]} вещь", k % 2) for k in range(80)]
    for name, rows in (("may.csv", texts[:60]), ("june.csv", [*texts[60:], (WRONG, 0), (texts[60][0], 1)])):
        with (folder / name).open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerows([("text", "label"), *rows])
    return Page(dataset_page(prepare(fetch(str(folder), settings), settings)))


def test_a_contradicted_label_stands_first_with_its_place(page: Page) -> None:
    """Red if texts are scored by a fit that has learnt from them, or the places are of other rows."""
    first = page.words.partition("read them first.")[2]
    assert first.split("\n")[2].startswith("june.csv line 22: negative, read as positive (")
    assert first.partition("\n\n")[2].lstrip().partition("\n")[2].strip().startswith(WRONG)


def test_the_words_that_tell_the_labels_apart_are_counted_by_text(page: Page) -> None:
    positive, negative = table(page, "word")
    assert (positive[1], negative[1]) == (["superb", "40", "1"], ["awful", "0", "40"])


def test_files_scripts_and_what_was_left_out_are_told(page: Page) -> None:
    (files,), (scripts,) = table(page, "file"), table(page, "script")
    assert files[1:] == [["june.csv", "21", "47.6%", "4", "4", "4"], ["may.csv", "60", "50.0%", "4", "4", "4"]]
    assert [row[0] for row in scripts[1:]] == ["Latin", "Cyrillic"]
    assert "1 row left out, with the words of a row before" in page.words


def table(page: Page, first: str) -> list[list[list[str]]]:
    """The tables whose first column is called so."""
    return [rows for rows in page.cells if rows[0][0] == first]


def test_a_built_in_dataset_has_a_page_without_files(settings: Settings) -> None:
    page = Page(dataset_page(prepare(fetch("sample", settings), settings)))
    assert len(table(page, "split")) == 1
    assert table(page, "file") == []
