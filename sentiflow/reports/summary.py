"""What a report knows of one run: figures, scores, misclassified reviews."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sentiflow.data.reviews import Reviews
from sentiflow.evaluation import metrics
from sentiflow.evaluation import metrics as slices
from sentiflow.evaluation.gate import ScoreTable
from sentiflow.evaluation.metrics import Measured, Reliability, Slice, Traits, reliability
from sentiflow.reports.plots import Curves
from sentiflow.runs.record import RunRecord
from sentiflow.scoring import Reading, TextScorer, Vocabulary, is_positive

WORST = 20


@dataclass(frozen=True)
class Miss:
    """A review that the model gets wrong.

    Attributes:
        review_id: of the dataset.
        label: the true one, 0 or 1.
        score: what the model says.
        text: the whole review, decoded.
        reading: how the score came about, word by word; None where no model is at hand that tells.
    """

    review_id: str
    label: int
    score: float
    text: str
    reading: Reading | None

    @property
    def heading(self) -> str:
        """One line that says what went wrong."""
        return f"{self.review_id}: {word_of(self.label)}, scored {self.score:.4f}"


def worst_rows(labels: NDArray[np.int8], scores: NDArray[np.float64], most: int = WORST) -> NDArray[np.int64]:
    """Rows of the most confident errors, worst first; fewer than ``most`` when there are fewer."""
    wrong = np.flatnonzero(is_positive(scores) != labels)
    return wrong[np.argsort(-np.abs(scores[wrong] - labels[wrong]), kind="stable")][:most]


def worst_errors_text(misses: Sequence[Miss]) -> str:
    """The worst errors as plain text."""
    if not misses:
        return "No test review is labelled wrongly.\n"
    return "\n\n".join(f"{miss.heading}\n{miss.text}" for miss in misses) + "\n"


def word_of(label: int) -> str:
    """The word for a true label."""
    return "positive" if label else "negative"


def headline(measured: Measured) -> str:
    """Accuracy with its interval."""
    return (
        f"test accuracy {measured.accuracy:.2%} "
        f"(95% interval {measured.accuracy_low:.2%} to {measured.accuracy_high:.2%})"
    )


PARAMETERS, SPEED, ECE = "model/parameters", "test/reviews_per_second", "test/ece"


@dataclass(frozen=True)
class Tested:
    """The reviews of a dataset, as far as a report shows them.

    Attributes:
        test: its test split.
        words: what their ids stand for.
        train_lengths: ids in each training review.
    """

    test: Reviews
    words: Vocabulary
    train_lengths: NDArray[np.int32]

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {str(name): row for row, name in enumerate(self.test.review_id)}

    def text(self, review_id: str) -> str:
        """A review, decoded."""
        return self.words.decode(self.test.tokens[self._rows[review_id]], unknown="")


@dataclass(frozen=True)
class Account:
    """A run, with whatever of it is at hand.

    Attributes:
        record: of the store.
        curves: metrics by epoch; empty for a run without epochs.
        table: scores of the test reviews, or None.
        traits: of the same reviews, or None.
        tested: the dataset, if it is on this machine.
        scorer: what tells word by word how a score came about, or None.
        version: the registered version that the run made, like ``imdb-sentiment v3``, or None.
        missing: what could not be had, a sentence each.
        facts: more to tell of the run.
    """

    record: RunRecord
    curves: Curves
    table: ScoreTable | None = None
    traits: Traits | None = None
    tested: Tested | None = None
    scorer: TextScorer | None = None
    version: str | None = None
    missing: tuple[str, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def metrics(self) -> Mapping[str, float]:
        """The latest value of each metric."""
        return self.record.metrics

    @property
    def title(self) -> str:
        """Recipe and seed, of a trial its number, or the run's name where it has none of these."""
        if self.record.trial:
            return self.record.trial
        recipe, seed = self.record.recipe, self.record.params.get("seed")
        if not recipe:
            return self.record.name
        changed = "" if self.record.tags.get("recipe.changes", "none") == "none" else "*"
        return f"{recipe}{changed}" + ("" if seed is None else f", seed {seed}")

    @cached_property
    def measured(self) -> Measured | None:
        """Figures on the test split; None when the run has none."""
        if self.table is not None:
            return metrics.measure(self.table.label, self.table.score)
        names = [each.name for each in fields(Measured)]
        found = {name: self.metrics[f"test/{name}"] for name in names if f"test/{name}" in self.metrics}
        return Measured(**found) if len(found) == len(names) else None

    @cached_property
    def slices(self) -> list[Slice]:
        """Accuracy by slice: measured on the scores, else as the run says."""
        told = {each.name: each for each in slices.from_metrics(self.metrics)}
        if self.table is not None:
            rows = slices.rows_of(self.table, self.traits)
            told |= {each.name: each for each in slices.measure_slices(self.table.right, rows)}
        return [told[name] for name in slices.LABELS if name in told]

    @cached_property
    def reliability(self) -> Reliability | None:
        """Of the scores; None without them."""
        return None if self.table is None else reliability(self.table.label, self.table.score)

    @property
    def ece(self) -> float | None:
        """Expected calibration error."""
        return self.metrics.get(ECE) if self.reliability is None else self.reliability.error

    @property
    def parameters(self) -> float | None:
        """How many numbers were trained."""
        return self.metrics.get(PARAMETERS)

    @property
    def scored_per_second(self) -> float | None:
        """Test reviews scored a second."""
        return self.metrics.get(SPEED)

    @property
    def trained_per_second(self) -> float | None:
        """Training reviews a second, the median over the epochs: the first compiles."""
        name = "train/reviews_per_second"
        points = self.curves.get(name, ())
        return float(np.median([value for _, value in points])) if points else self.metrics.get(name)

    @property
    def validation_loss(self) -> float | None:
        """Of the weights that were kept: the last epoch's, or the best one's."""
        metrics = self.metrics
        kept = metrics.get("train/kept_epoch")
        if kept is not None and kept == metrics.get("val/best_epoch"):
            return metrics.get("val/best_loss")
        return metrics.get("val/loss", metrics.get("val/best_loss"))

    @cached_property
    def misses(self) -> list[Miss] | None:
        """The worst errors, worst first; None when the scores or the texts are not at hand."""
        if self.table is None or self.tested is None:
            return None
        return [self._miss(int(row)) for row in worst_rows(self.table.label, self.table.score)]

    def _miss(self, row: int) -> Miss:
        """A test review as the run sees it."""
        table, tested = self.table, self.tested
        if table is None or tested is None:
            raise ValueError("a run without scores or texts has no reviews to show")
        name = str(table.review_id[row])
        text = tested.text(name)
        return Miss(name, int(table.label[row]), float(table.score[row]), text, self.reading(text))

    def reading(self, text: str) -> Reading | None:
        """How the run's model reads a text; None when it is not at hand."""
        return None if self.scorer is None else self.scorer.explain(text)
