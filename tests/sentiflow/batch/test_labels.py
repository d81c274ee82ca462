"""Tests of the labels of a table that is scored, against counts by hand."""

import numpy as np
import pyarrow as pa
import pytest

from sentiflow.batch.labels import Evaluation, Evaluator
from sentiflow.data.rows import Chunk
from sentiflow.data.table import TableOptions
from sentiflow.errors import UsageError


def evaluated(
    marks: list[object], scores: list[float], per_chunk: int = 100, names: tuple[str, str] = ("bad", "good"),
    **options: object,
) -> Evaluation:  # fmt: skip
    found = Evaluator("mark", TableOptions(**options), names)  # type: ignore[arg-type]
    for first in range(0, len(marks), per_chunk):
        rows = list(range(first, min(first + per_chunk, len(marks))))
        columns = pa.table({"mark": [marks[k] for k in rows]})
        texts = [f"text {k}" for k in rows]
        chunk = Chunk([k + 1 for k in rows], [k + 2 for k in rows], texts, columns, [], len(rows))
        found.add(chunk, np.array([scores[k] for k in rows]))
    return found.result()


@pytest.mark.parametrize("per_chunk", [100, 3])
def test_figures_counts_and_worst_errors_are_those_of_the_rows_with_a_label(per_chunk: int) -> None:
    labels = ["bad", "Good", "1", "negative", None, "Meh", "", "Meh", "bad", "good"]
    scores = [0.1, 0.9, 0.4, 0.99, 0.5, 0.5, 0.5, 0.5, 0.7, 0.05]
    found = evaluated(labels, scores, per_chunk)
    assert found.confusion == [[1, 2], [2, 1]]
    assert found.figures.accuracy == 2 / 6
    assert found.left_out == {"": 2, "Meh": 2}
    assert [(each.place, each.label, each.score) for each in found.worst] == [
        ("line 5", "bad", 0.99), ("line 11", "good", 0.05), ("line 10", "bad", 0.7), ("line 4", "good", 0.4)
    ]  # fmt: skip
    assert found.worst[0].text == "text 3"
    assert found.lines[1] == "4 rows left out of the accuracy (label none, Meh)"


def test_the_names_of_a_version_go_before_what_numbers_mean_and_a_whole_set_of_labels_before_both() -> None:
    """Red if a star of 1 was taken for positive with a version whose answers are 1 and 5."""
    assert evaluated([1, 5, 3], [0.2, 0.8, 0.5], names=("1", "5")).confusion == [[1, 0], [0, 1]]
    stars = {"5": 1, "4": 1, "3": "skip", "2": 0}
    found = evaluated([1, 4, 2, 3], [0.2, 0.8, 0.5, 0.5], names=("1", "5"), labels=stars)
    assert (found.confusion, found.left_out) == ([[1, 0], [0, 1]], {"1": 1, "3": 1})


def test_a_table_of_one_label_has_an_accuracy() -> None:
    found = evaluated(["bad", "bad"], [0.2, 0.8])
    assert (found.figures.accuracy, found.figures.balanced_accuracy, found.figures.f1_positive) == (0.5, 0.5, 0.0)
    assert found.lines[0].endswith("; all labels are the same")  # balanced accuracy and F1 would say nothing


def test_a_table_whose_known_labels_are_all_the_same_gets_advice_for_the_others() -> None:
    """Red if 84% of the rows labelled 1 looked like the accuracy on labels 1 and -1."""
    assert evaluated([1, -1, 1], [0.2, 0.8, 0.9]).lines[-1] == "If higher is better: --labels 1=1,-1=0"
    assert "--labels" not in evaluated(["1", "0", "neutral"], [0.2, 0.8, 0.9]).lines[-1]
    with pytest.raises(UsageError) as refused:
        evaluated(["oui", "non", "oui"], [0.2, 0.8, 0.9])
    assert "--labels oui=1,non=0" in refused.value.hint
