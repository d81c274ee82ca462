"""Tests of the program that makes the sample, and of the file that it made."""

import hashlib
import random

import pytest

from benchmarks.sample import sample_rows
from sentiflow.data import division

# Of the lines "split<TAB>label<TAB>text". Pinned because recorded accuracies are only comparable on the same
# reviews: whoever changes the word lists or the order of the draws shall do so knowingly, here.
DIGEST = "e19c1864691e317914143a74aae9a3328957e9c517b8baf77ae14ec1278921be"


def test_the_package_holds_what_the_program_makes() -> None:
    """Red if any text, label, split or position changes, in the file or by a draw that a release moves."""
    held = sorted(division.sample_rows(), key=lambda row: int(row.review_id.removeprefix("row-")))
    for rows in (sample_rows(), [(row.text, row.label, row.split) for row in held]):
        lines = [f"{split}\t{label}\t{text}" for text, label, split in rows]
        assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == DIGEST


def test_rows_depend_on_the_seed_alone() -> None:
    """Red if the generator keeps state between calls, or ignores its seed."""
    first, other = sample_rows(40, 20, seed=1), sample_rows(40, 20, seed=2)
    assert sample_rows(40, 20, seed=1) == first
    assert {text for text, _, _ in first}.isdisjoint(text for text, _, _ in other)


def test_a_repeated_text_is_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Red if a repeat is kept: a test review that stood in training would flatter the accuracy."""

    def review(rng: random.Random, positive: bool) -> str:
        return f"A {'good' if positive else 'bad'} film in eight words, part {int(rng.random() * 5)}."

    monkeypatch.setattr("benchmarks.sample._review", review)
    rows = sample_rows(6, 4)
    assert len({text for text, _, _ in rows}) == len(rows) == 10
