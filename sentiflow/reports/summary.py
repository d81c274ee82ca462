"""What a report knows of one run: its record, scores, metrics and misclassified reviews."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sentiflow.data.reviews import Reviews
from sentiflow.evaluation import metrics
from sentiflow.evaluation.metrics import Measured, Reliability, Slice
from sentiflow.evaluation.score_table import ScoreTable
from sentiflow.redaction import printable
from sentiflow.runs.record import RunRecord
from sentiflow.scoring import Attribution, TextScorer, Vocabulary, is_positive
from sentiflow.training.recipes import RECIPES

MAX_ERRORS = 20
PARAMETERS, SPEED, ECE = "model.parameters", "test/throughput", "test/ece"

Curves = Mapping[str, Sequence[tuple[int, float]]]
"""Metrics logged per epoch by name (``train/loss``, ``val/loss``, ...): the epoch and the value of each point."""


@dataclass(frozen=True)
class Misclassified:
    """A review that the model gets wrong, whole and decoded.

    Attributes:
        place: where it stands in the source.
        label: the true one's name.
        reading: the score word by word; None without the model.
    """

    place: str
    label: str
    score: float
    text: str
    reading: Attribution | None

    @property
    def heading(self) -> str:
        """Place, label and score on one line."""
        return f"{self.place}: {self.label}, scored {self.score:.4f}"


def worst_rows(labels: NDArray[np.int8], scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Rows of the most confident errors, worst first; at most ``MAX_ERRORS``."""
    wrong = np.flatnonzero(is_positive(scores) != labels)
    return wrong[np.argsort(-np.abs(scores[wrong] - labels[wrong]), kind="stable")][:MAX_ERRORS]


def worst_errors_text(errors: Sequence[Misclassified]) -> str:
    """The worst errors as plain text."""
    if not errors:
        return "No test review is misclassified.\n"
    return "\n\n".join(f"{error.heading}\n{error.text}" for error in errors) + "\n"


@dataclass(frozen=True)
class TestData:
    """The reviews of a dataset that reports show.

    Attributes:
        train_lengths: ids in each training review, (n,).
        places: where test reviews stand in the source, by their ids; of others the id says it.
    """

    __test__ = False  # pytest would collect a class of this name

    test: Reviews
    words: Vocabulary
    train_lengths: NDArray[np.int32]
    places: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {str(name): row for row, name in enumerate(self.test.review_id)}

    def place(self, review_id: str) -> str:
        """Where a review stands in the source, for people."""
        return printable(self.places.get(review_id, review_id))

    def text(self, review_id: str) -> str:
        """A review, decoded."""
        return self.words.decode(self.test.tokens[self._rows[review_id]], unknown="")


@dataclass(frozen=True, eq=False)
class RunSummary:
    """A run, with whatever of it is available.

    Attributes:
        curves: metrics by epoch; empty for a run without epochs.
        test_data: the dataset, if it is on this machine.
        version: the registered version that the run made, like ``imdb-sentiment/3``, or None.
        missing: what is not available, one sentence each.
        facts: more rows of the report's table of the run.
        number: in a report of several runs; 1 is the first.
    """

    record: RunRecord
    curves: Curves
    table: ScoreTable | None = None
    test_data: TestData | None = None
    scorer: TextScorer | None = None
    version: str | None = None
    missing: tuple[str, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    number: int = 1

    @property
    def metrics(self) -> Mapping[str, float]:
        """The latest value of each metric."""
        return self.record.metrics

    @property
    def title(self) -> str:
        """Recipe and seed; of a trial its number; without these the run's name."""
        if self.record.trial:
            return self.record.trial
        recipe, seed = self.record.recipe, self.record.params.get("seed")
        if not recipe:
            return self.record.name
        changes = self.record.tags.get("recipe.changes", "none")
        count = 0 if changes == "none" or recipe not in RECIPES else len(changes.split(", "))
        changed = f" with {count} change{'s' * (count > 1)}" if count else ""
        return f"{recipe}{changed}" + ("" if seed is None else f", seed {seed}")

    @property
    def label(self) -> str:
        """Number and title."""
        return f"{self.number} {self.title}"

    @property
    def in_a_sentence(self) -> str:
        """Number and title."""
        return f"run {self.number} ({self.title})"

    @property
    def loss(self) -> float:
        """On the validation split; infinite for a run without one."""
        loss = self.metrics.get("val/loss", math.inf)
        return math.inf if math.isnan(loss) else loss

    @cached_property
    def measured(self) -> Measured | None:
        """Metrics on the test split; None unless the run logged all of them."""
        names = [each.name for each in fields(Measured)]
        logged = {name: self.metrics[f"test/{name}"] for name in names if f"test/{name}" in self.metrics}
        return Measured(**logged) if len(logged) == len(names) else None

    @cached_property
    def slices(self) -> list[Slice]:
        """Accuracy by slice, in the order of reports."""
        return metrics.slices_logged(self.metrics, self.record.tags)

    @cached_property
    def reliability(self) -> Reliability | None:
        """Of the scores; None without them."""
        return None if self.table is None else metrics.reliability(self.table.label, self.table.score)

    @property
    def trained_per_second(self) -> float | None:
        """Training reviews per second, the median over the epochs: the first one compiles."""
        name = "train/throughput"
        points = self.curves.get(name, ())
        return float(np.median([value for _, value in points])) if points else self.metrics.get(name)

    @cached_property
    def misclassified(self) -> list[Misclassified] | None:
        """The most confident errors, worst first; None without scores or texts."""
        table, test_data = self.table, self.test_data
        if table is None or test_data is None:
            return None
        errors = []
        for row in worst_rows(table.label, table.score):
            name = str(table.review_id[row])
            text = test_data.text(name)
            place, label = test_data.place(name), self.record.label_names[table.label[row]]
            errors.append(Misclassified(place, label, float(table.score[row]), text, self.explain(text)))
        return errors

    def explain(self, text: str) -> Attribution | None:
        """The score of a text word by word; None without the model."""
        return None if self.scorer is None else self.scorer.explain(text)
