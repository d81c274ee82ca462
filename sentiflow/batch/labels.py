"""A labelled table that is scored: its labels against the answers, counted in bounded memory."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sentiflow.data.parquet import to_values
from sentiflow.data.rows import Chunk, beginning, count_left_out
from sentiflow.data.table import TableOptions, advice, plain
from sentiflow.errors import UsageError
from sentiflow.evaluation.metrics import Accuracy, accuracy_of
from sentiflow.scoring import is_positive

_WORST = 5  # errors that are kept
_KINDS = 20  # labels without a meaning that are told apart


@dataclass(frozen=True)
class WrongRow:
    """A row that is answered otherwise than it is labelled."""

    row: int  # from 1
    line: int  # of the file; 0 for a table without lines
    label: str  # as answers are called
    score: float
    text: str  # its beginning

    def __str__(self) -> str:
        where = f"line {self.line:,}" if self.line else f"row {self.row:,}"
        return f"{where}: labelled {self.label}, scored {self.score:.4f}"


@dataclass(frozen=True)
class Evaluation:
    """The answers against the labels; rows without a usable label are left out of the figures."""

    figures: Accuracy
    confusion: tuple[tuple[int, int], tuple[int, int]]  # a row for each label, a column for each answer
    left_out: dict[str, int]  # rows by what their label is; empty for none
    worst: tuple[WrongRow, ...]  # the most confident first
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
        self._confusion = np.zeros((2, 2), int)
        self._left_out: Counter[str] = Counter()
        self._worst: list[WrongRow] = []

    def add(self, chunk: Chunk, scores: NDArray[np.float64]) -> None:
        """Count the rows of the next chunk, whose scores are of shape (n,)."""
        labels = [plain(value) for value in to_values(chunk.columns[self._column])]
        meant = [self._known.get(label, "skip") for label in labels]
        for label, meaning in zip(labels, meant, strict=True):
            if meaning == "skip":
                told = label in self._left_out or len(self._left_out) < _KINDS
                self._left_out[label if told else "others"] += 1
        rows = [k for k, meaning in enumerate(meant) if meaning != "skip"]
        truth = np.array([meant[k] for k in rows], int)
        found = scores[rows]
        answers = is_positive(found).astype(int)
        np.add.at(self._confusion, (truth, answers), 1)
        wrong = np.flatnonzero(truth != answers)
        worst = wrong[np.argsort(-abs(found[wrong] - truth[wrong]), kind="stable")][:_WORST]
        self._keep(
            WrongRow(
                chunk.rows[rows[k]], chunk.lines[rows[k]], self._names[truth[k]], float(found[k]),
                beginning(chunk.texts[rows[k]]),
            )
            for k in worst.tolist()
        )  # fmt: skip

    def _keep(self, more: Iterable[WrongRow]) -> None:
        self._worst = sorted([*self._worst, *more], key=lambda each: -abs(each.score - 0.5))[:_WORST]

    def result(self) -> Evaluation:
        """What it came to; an error if no row has a usable label."""
        (zero, wrong), (missed, one) = confusion = self._confusion.tolist()
        if not zero + wrong + missed + one:
            unknown: Sequence[str] = [label for label in self._left_out if label]
            found = f"its labels are: {', '.join(unknown):.200}" if unknown else "all of them are missing"
            hint = advice(unknown, self._options, some_known=False) if unknown else ""
            raise UsageError(f"No row has a usable label in the column {self._column}; {found}.", hint)
        return Evaluation(
            accuracy_of(confusion), ((zero, wrong), (missed, one)), dict(self._left_out.most_common()),
            tuple(self._worst), self._names,
        )  # fmt: skip
