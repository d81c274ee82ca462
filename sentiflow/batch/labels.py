"""A labelled table that is scored: its labels against the answers, counted in bounded memory."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sentiflow.data.parquet import to_values
from sentiflow.data.rows import Chunk, beginning, count_left_out
from sentiflow.data.table import TableOptions, advice, plain
from sentiflow.errors import UsageError
from sentiflow.evaluation.metrics import Accuracy, accuracy_of
from sentiflow.reports.summary import Misclassified
from sentiflow.scoring import is_positive

_WORST = 5  # errors that are kept
_KINDS = 20  # labels without a meaning that are told apart


@dataclass(frozen=True)
class Evaluation:
    """The answers against the labels; rows without a usable label are left out of the figures."""

    figures: Accuracy
    confusion: list[list[int]]  # a row for each label, a column for each answer
    left_out: dict[str, int]  # rows by what their label is; empty for none
    worst: list[Misclassified]  # the most confident first
    label_names: tuple[str, str]

    @property
    def lines(self) -> list[str]:
        """The accuracy with its interval, and how many rows it leaves out."""
        lines = [f"Accuracy {self.figures.text(self.label_names)}"]
        return [*lines, count_left_out(self.left_out, " of the accuracy")] if self.left_out else lines


class Evaluator:
    """Gathers what an ``Evaluation`` tells, chunk by chunk."""

    def __init__(self, column: str, options: TableOptions, names: tuple[str, str]) -> None:
        self._column, self._options, self._names = column, options, names
        self._known = options.known(names)
        self._confusion = [[0, 0], [0, 0]]
        self._left_out: Counter[str] = Counter()
        self._worst: list[Misclassified] = []

    def add(self, chunk: Chunk, scores: NDArray[np.float64]) -> None:
        """Count the rows of the next chunk, whose scores are of shape (n,)."""
        wrong, answers = [], is_positive(scores).tolist()
        for k, label in enumerate(map(plain, to_values(chunk.columns[self._column]))):
            meaning = self._known.get(label, "skip")
            if meaning == "skip":
                told = label in self._left_out or len(self._left_out) < _KINDS
                self._left_out[label if told else "others"] += 1
                continue
            self._confusion[meaning][answers[k]] += 1
            if answers[k] != meaning:
                place = f"line {chunk.lines[k]:,}" if chunk.lines[k] else f"row {chunk.rows[k]:,}"
                text = beginning(chunk.texts[k])
                wrong.append(Misclassified(place, self._names[meaning], float(scores[k]), text, None))
        self._worst = sorted([*self._worst, *wrong], key=lambda each: -abs(each.score - 0.5))[:_WORST]

    def result(self) -> Evaluation:
        """What it came to; an error if no row has a usable label."""
        left_out = dict(self._left_out.most_common())
        if not any(map(any, self._confusion)):
            hint = advice(list(filter(None, left_out)) or ["good"], self._options, some_known=False)
            where = f"No row has a usable label in the column {self._column}"
            raise UsageError(f"{where}: {count_left_out(left_out)}.", hint)
        return Evaluation(accuracy_of(self._confusion), self._confusion, left_out, self._worst, self._names)
