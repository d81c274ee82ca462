"""A labelled table that is scored: its labels against the answers, counted in bounded memory."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from sentiflow.data.division import text_id, word_hash
from sentiflow.data.parquet import to_values
from sentiflow.data.prepare import kept_table
from sentiflow.data.rows import Chunk, beginning, by_label, count_left_out
from sentiflow.data.table import APART, KINDS, TableOptions, advice, options_of, plain, written
from sentiflow.errors import UsageError
from sentiflow.evaluation.metrics import Accuracy, accuracy_of
from sentiflow.names import BUILT_IN
from sentiflow.reports.summary import Misclassified
from sentiflow.run.record import DIGEST
from sentiflow.scoring import is_positive
from sentiflow.settings import Settings
from sentiflow.store.find import open_store, with_dataset
from sentiflow.store.records import BASE_MODEL, Version

_WORST = 5  # errors that are kept
_OTHERS = "others"  # labels without a meaning, after the first

Learnt = frozenset[str | int]  # ids of texts and hashes of their words


@dataclass(frozen=True)
class Evaluation:
    """The answers against the labels; rows without a usable label are left out of the figures."""

    figures: Accuracy
    confusion: list[list[int]]  # a row for each label, a column for each answer
    left_out: dict[str, int]  # rows by what their label is; empty for none
    worst: list[Misclassified]  # the most confident first
    label_names: tuple[str, str]
    learnt: int  # rows whose texts the version learnt from
    new: Accuracy | None  # figures of the other rows, if it learnt from some and not from all
    labels: dict[str, int]  # what each label was taken for, as the table writes it
    advice: str = ""  # where the labels that are known are all the same

    @property
    def lines(self) -> list[str]:
        lines = [f"Accuracy {self.figures.text(self.label_names)}"]
        if self.learnt:
            lines.append(f"{self.learnt:,} of these rows are texts that it learnt from: it does better on them")
        if self.new:
            others = sum(map(sum, self.confusion)) - self.learnt
            lines.append(f"Accuracy on the other {others:,}: {self.new.text(self.label_names)}")
        if self.left_out:
            lines.append(count_left_out(self.left_out, " of the accuracy"))
        return [*lines, self.advice] if self.advice else lines


def as_trained(given: TableOptions, version: Version, settings: Settings) -> TableOptions:
    """What labels mean: as at the training of a version, and as is given besides; a whole set stands alone."""
    if version == BASE_MODEL or {0, 1} <= set(given.labels.values()):
        return given
    store = open_store(settings)
    found = store.version(version.name, version.number)
    params = store.record(found.run_id).params if found is not None and found.run_id else {}
    return given.model_copy(update={"labels": options_of(params).labels | given.labels})


def learnt_texts(version: Version, settings: Settings) -> Learnt:
    """The texts that a version of a user's table learnt from, if its prepared table is on this machine."""
    store = open_store(settings)
    found = store.version(version.name, version.number)
    tags = {} if found is None else with_dataset(store, found).tags
    dataset, digest = tags.get("dataset", ""), tags.get(DIGEST, "")
    if not dataset or dataset in BUILT_IN or not (table := kept_table(dataset, digest, settings)).exists():
        return frozenset()
    columns = [name for name in ("review_id", "words") if name in pq.read_schema(table).names]
    learnt = pq.read_table(table, columns=columns, filters=[("split", "=", "train")])
    return frozenset(each for name in columns for each in learnt[name].to_pylist())


class Evaluator:
    """Gathers what an ``Evaluation`` tells, chunk by chunk."""

    def __init__(
        self, column: str, options: TableOptions, names: tuple[str, str], learnt: Learnt = frozenset()
    ) -> None:
        self._column, self._options, self._names, self._learnt = column, options, names, learnt
        self._known = options.known(names)
        self._confusion, self._new = ([[0, 0], [0, 0]] for _ in range(2))  # of all rows, and of those not learnt
        self._labels: Counter[str] = Counter()  # of rows; of those without a meaning some only
        self._found: dict[str, tuple[str, int]] = {}
        self._worst: list[Misclassified] = []

    def add(self, chunk: Chunk, scores: NDArray[np.float64]) -> None:
        """Count the rows of the next chunk, whose scores are of shape (n,)."""
        wrong, answers = [], is_positive(scores).tolist()
        for k, value in enumerate(to_values(chunk.columns[self._column])):
            label = plain(spelled := written(value))
            meaning = self._known.get(label, "skip")
            told = label in self._known or spelled in self._labels or len(self._labels) < KINDS
            self._labels[spelled if told else _OTHERS] += 1
            if meaning == "skip" or meaning == "between":
                continue
            if label not in self._found:
                self._found[label] = spelled, meaning
            self._confusion[meaning][answers[k]] += 1
            self._new[meaning][answers[k]] += not (self._learnt and self._has_learnt(chunk.texts[k]))
            if answers[k] != meaning:
                place = f"line {chunk.lines[k]:,}" if chunk.lines[k] else f"row {chunk.rows[k]:,}"
                text = beginning(chunk.texts[k])
                wrong.append(Misclassified(place, self._names[meaning], float(scores[k]), text, None))
        self._worst = sorted([*self._worst, *wrong], key=lambda each: -abs(each.score - 0.5))[:_WORST]

    def _has_learnt(self, text: str) -> bool:
        return not self._learnt.isdisjoint((text_id(text), word_hash(text)))

    def result(self) -> Evaluation:
        """What it came to; an error if no row has a usable label."""
        labels = by_label(self._labels)
        left_out = {label: n for label, n in labels.items() if self._known.get(plain(label), "skip") in APART}
        left_out |= {_OTHERS: left_out.pop(_OTHERS)} if _OTHERS in left_out else {}  # last
        hint = ""
        if {*map(plain, left_out)} - self._known.keys() and not all(map(any, self._confusion)):
            hint = advice([*map(plain, labels)], self._options.labels, self._known, self._column)
        if not any(map(any, self._confusion)):
            where = f"No row has a usable label in the column {self._column}"
            raise UsageError(f"{where}: {count_left_out(left_out)}.", hint)
        learnt = sum(map(sum, self._confusion)) - sum(map(sum, self._new))
        new = accuracy_of(self._new) if learnt and any(map(any, self._new)) else None
        return Evaluation(
            accuracy_of(self._confusion), self._confusion, left_out, self._worst, self._names,
            learnt, new, dict(sorted(self._found.values(), key=lambda each: -each[1])), hint,
        )  # fmt: skip
