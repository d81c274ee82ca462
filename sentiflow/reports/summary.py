"""What a report knows of one run: its record, scores, metrics and misclassified reviews, read from the store."""

import math
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache, cached_property, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sentiflow.data import reviews
from sentiflow.data.prepare import kept_table
from sentiflow.data.reviews import Reviews
from sentiflow.errors import ExternalError, UsageError
from sentiflow.evaluation import metrics
from sentiflow.evaluation.metrics import Measured, Slice
from sentiflow.evaluation.scores import ScoreTable
from sentiflow.redaction import printable
from sentiflow.run.record import BUILD, TRIAL, RunRecord
from sentiflow.scoring import Attribution, TextScorer, Vocabulary, is_positive
from sentiflow.settings import Settings
from sentiflow.store.find import SCORES, child_runs, load_scorer, score_table
from sentiflow.store.records import Store, Version
from sentiflow.training.recipes import RECIPES

MAX_ERRORS = 20
PARAMETERS, SPEED, ECE = "model.parameters", "test/throughput", "test/ece"

Curves = Mapping[str, Sequence[tuple[int, float]]]  # by metric logged per epoch: epoch and value


@dataclass(frozen=True)
class Misclassified:
    """A review that the model gets wrong, whole."""

    place: str  # where it stands in the source
    label: str  # the true one's name
    score: float
    text: str
    reading: Attribution | None  # the score word by word; None without the model

    @property
    def heading(self) -> str:
        return f"{self.place}: labelled {self.label}, scored {self.score:.4f}"


def wrong_rows(labels: NDArray[np.int8], scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Rows of the errors, the most confident first."""
    wrong = np.flatnonzero(is_positive(scores) != labels)
    return wrong[np.argsort(-np.abs(scores[wrong] - labels[wrong]), kind="stable")]


BREAK = re.compile(r"<br\s{0,9}/?>", re.IGNORECASE)  # a line break of HTML

_BREAK_OF_IMDB = re.compile(r"(?<![^ ])br(?![^ ])")  # a word of its reviews, which are there as words


def without_breaks(text: str) -> str:
    """A text as it is shown: line breaks of HTML become plain ones."""
    if not BREAK.search(text):
        return text
    return "\n".join(filter(None, map(str.strip, BREAK.sub("\n", text).split("\n"))))


@dataclass(frozen=True)
class TestData:
    """The reviews of a dataset that reports show."""

    __test__ = False  # pytest would collect a class of this name

    test: Reviews
    words: Vocabulary
    places: Mapping[str, str] = field(default_factory=dict)  # in the source, by id; of others the id says it
    texts: Mapping[str, str] = field(default_factory=dict)  # as in the source, by id; others are decoded

    @classmethod
    def of(cls, table: Path, content: Reviews, words: Vocabulary) -> "TestData":
        """Those of a canonical table, which holds this content and these words."""
        return cls(content.of("test"), words, reviews.of_test(table, "place"), reviews.of_test(table, "text"))

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {str(name): row for row, name in enumerate(self.test.review_id)}

    def place(self, review_id: str) -> str:
        return printable(self.places.get(review_id, review_id))

    def text(self, review_id: str) -> str:
        """A review as it came, or decoded; the tokeniser makes the same ids of both."""
        if text := self.texts.get(review_id):
            return text
        decoded = self.words.decode(self.test.tokens[self._rows[review_id]], unknown="")
        return _BREAK_OF_IMDB.sub("<br>", decoded)


@dataclass(frozen=True, eq=False)
class RunSummary:
    """A run, with whatever of it is available."""

    record: RunRecord
    curves: Curves  # metrics by epoch; empty for a run without epochs
    table: ScoreTable | None = None
    test_data: TestData | None = None  # the dataset, if it is on this machine
    scorer: TextScorer | None = None
    version: str | None = None  # the registered version that the run made, like ``imdb-sentiment/3``, or None
    missing: tuple[str, ...] = ()  # what is not available, one sentence each
    number: int = 1  # in a report of several runs; 1 is the first
    told: str = ""  # in its title, if recipe and seed do not tell it from the others: dataset, version

    @property
    def metrics(self) -> Mapping[str, float]:
        return self.record.metrics

    @property
    def title(self) -> str:
        """Recipe, seed and what else tells it apart; of a trial its number; without these the run's name."""
        if self.record.trial:
            return self.record.trial
        recipe, seed = self.record.recipe, self.record.params.get("seed")
        if not recipe:
            return self.record.name
        changes = self.record.tags.get("recipe.changes", "none")
        count = 0 if changes == "none" or recipe not in RECIPES else len(changes.split(", "))
        changed = f" with {count} change{'s' * (count > 1)}" if count else ""
        return f"{recipe}{changed}" + ("" if seed is None else f", seed {seed}") + self.told

    @property
    def label(self) -> str:
        return f"{self.number} {self.title}"

    @property
    def in_a_sentence(self) -> str:
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
        return metrics.slices_logged(self.metrics, self.record.tags)

    @cached_property
    def misclassified(self) -> list[Misclassified] | None:
        """The most confident errors, worst first; None without scores or texts."""
        table, test_data = self.table, self.test_data
        if table is None or test_data is None:
            return None
        errors = []
        for row in wrong_rows(table.label, table.score)[:MAX_ERRORS]:
            name = str(table.review_id[row])
            text = test_data.text(name)
            place, label = test_data.place(name), self.record.label_names[table.label[row]]
            errors.append(Misclassified(place, label, float(table.score[row]), text, self.explain(text)))
        return errors

    def explain(self, text: str) -> Attribution | None:
        """The score of a text word by word; None without the model."""
        return None if self.scorer is None else self.scorer.explain(text)


def load_summaries(
    store: Store, records: Sequence[RunRecord], settings: Settings, *, whole: bool = True
) -> list[RunSummary]:
    """What reports show of some runs; if not ``whole``, without curves, texts and models.

    A parent stands for its finished child runs; beside others, a sweep stands for the seeds of its best recipe.
    """
    found = [run for record in records for run in _represented(store, record, alone=len(records) == 1)]
    runs = list({run.run_id: run for run in found}.values())
    versions = store.versions_by_run()
    read_test_data = cache(partial(_read_test_data, settings))
    with tempfile.TemporaryDirectory() as folder:
        summaries = [_summary(store, run, Path(folder), versions.get(run.run_id)) for run in runs]
    if not whole:
        return summaries
    return [_with_texts(store, summary, settings, read_test_data) for summary in summaries]


def _summary(store: Store, record: RunRecord, folder: Path, version: str | None) -> RunSummary:
    table, missing = None, ""
    try:
        table = score_table(store, record, folder)
        if table is None and "test/accuracy" in record.metrics:
            missing = (
                f"The scores of the test reviews ({SCORES}) are gone: no calibration curve, paired difference or "
                "worst error."
            )
    except ExternalError as err:
        missing = str(err.args[0])
    return RunSummary(record, {}, table, version=version, missing=(missing,) if missing else ())


def _with_texts(
    store: Store, run: RunSummary, settings: Settings, read: Callable[[str, str], TestData | None]
) -> RunSummary:
    """A run with its curves, the reviews that it scored, and its model."""
    record, missing, test_data, scorer = run.record, list(run.missing), None, None
    if run.table is not None:
        test_data = read(record.dataset, record.digest or "")
        if test_data is None:
            name = record.dataset or "that name"
            missing.append(
                f"The reviews of {name} (digest {(record.digest or 'unknown')[:12]}) are not on this machine: no "
                f"texts. Prepare them with: sentiflow data --dataset {record.params.get('dataset', name)}"
            )
    if test_data is not None and run.version is None:
        missing.append("No version of it is registered: no word-by-word explanations.")
    elif test_data is not None and BUILD in record.params:
        missing.append("It is a model of one's own: no word-by-word explanations.")
    elif test_data is not None and run.version is not None:
        name, _, number = run.version.rpartition("/")
        try:
            scorer = load_scorer(settings, Version(name, int(number), "of this run"))
        except (ExternalError, UsageError) as err:
            missing.append(f"No word-by-word explanations: {err.args[0]}")
    curves = _curves(store, record)
    return replace(run, curves=curves, test_data=test_data, scorer=scorer, missing=tuple(missing))


def _curves(store: Store, record: RunRecord) -> Curves:
    """Metrics by epoch, without the step after the last epoch that repeats the kept one."""
    last = record.epochs_trained
    found = store.history(record.run_id)
    return {name: [at for at in points if last is None or at[0] <= last] for name, points in found.items()}


def _read_test_data(settings: Settings, dataset: str, digest: str) -> TestData | None:
    if not dataset or not digest or not (path := kept_table(dataset, digest, settings)).exists():
        return None
    return TestData.of(path, reviews.read(path), reviews.read_vocabulary(path))


def _represented(store: Store, record: RunRecord, *, alone: bool) -> list[RunRecord]:
    """The runs that a run stands for; trials, which have no test scores, only if there is nothing else."""
    children = child_runs(store, record)
    tested = [run for run in children if run.kind != TRIAL]
    return children if alone or not tested else tested
