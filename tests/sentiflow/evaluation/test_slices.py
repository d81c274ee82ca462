"""Tests of slices, on reviews that can be counted by hand."""

import numpy as np

from sentiflow.evaluation.metrics import (
    Slice,
    measure_slices,
    slice_metrics,
    slice_rows,
    slice_tags,
    slices_logged,
)
from sentiflow.evaluation.scores import ScoreTable
from sentiflow.evaluation.statistics import wilson


def table(lengths: list[int], right: list[bool] | None = None, reads: int = 100) -> ScoreTable:
    """Scores of positive reviews, above one half where they are right."""
    n = len(lengths)
    score = np.where(np.array(right or [True] * n), 0.9, 0.1)
    ids = np.array([f"r{i}" for i in range(n)])
    return ScoreTable(ids, np.ones(n, np.int8), score, np.array(lengths, np.int32), reads)


def test_quarters_by_length_and_what_lies_between() -> None:
    found = slice_rows(table([10, 20, 30, 40, 50]))  # quarters end at 20 and begin at 40
    assert {name: rows.nonzero()[0].tolist() for name, rows in found.items()} == {
        "short": [0, 1], "middle": [2], "long": [3, 4],
    }  # fmt: skip


def test_a_review_as_long_as_what_is_read_is_read_whole() -> None:
    found = slice_rows(table([99, 100, 101]))
    assert (found["whole"].tolist(), found["truncated"].tolist()) == ([True, True, False], [False, False, True])


def test_accuracy_of_a_slice_has_its_own_count_and_interval() -> None:
    found = measure_slices(table([1, 1, 1, 9, 9], [True, True, False, False, True]))
    assert found == [Slice("short", 3, 2 / 3, *wilson(2, 3)), Slice("long", 2, 1 / 2, *wilson(1, 2))]


def test_metrics_of_slices_lead_back_to_them() -> None:
    found = measure_slices(table([7, 1, 3, 200, 5, 9, 11], [True, False, True, True, False, True, False]))
    metrics = slice_metrics(found)
    assert metrics["test_slices/truncated"] == 1.0 and "truncated 1" in slice_tags(found)["slice_reviews"]
    assert slices_logged(metrics | {"test/accuracy": 0.5}, slice_tags(found)) == found
