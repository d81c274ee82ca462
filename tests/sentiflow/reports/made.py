"""Runs made by hand: six test reviews, scored by whoever is asked for."""

from dataclasses import asdict, replace
from datetime import UTC, datetime

import numpy as np

from sentiflow.data.reviews import Reviews
from sentiflow.evaluation import metrics
from sentiflow.evaluation.scores import ScoreTable
from sentiflow.reports.summary import ECE, RunSummary, TestData
from sentiflow.run.record import RunRecord
from sentiflow.scoring import TextScorer, Vocabulary, Weights
from sentiflow.training.recipes import TUTORIAL

HOSTILE = "<script>alert('x')</script> & <img src=http://evil.example/a.png> | *b* `c` [d](http://e.example)"
VOCABULARY = Vocabulary(["good", "bad", "film", "not"])  # ids 4 to 7
SHAPES = (8, 2), (2, 2), (2, 2), (2,), (2, 1), (1,)
SCORER = TextScorer(Weights(*(np.full(shape, 0.1, np.float32) for shape in SHAPES)), VOCABULARY, 5)
IDS = [f"test-{i}" for i in range(6)]
LABELS = np.array([1, 1, 0, 1, 0, 0], np.int8)
SCORES = (0.9, 0.2, 0.99, 0.4, 0.7, 0.6)
# wrong: a 0.8 off (number 1), 0.99 off (2), 0.6 off (3), 0.7 off (4), 0.6 off (5)
TOKENS = [[1, 4], [1, 4, 6], [1, 5, 6, 6], [1, 2, 4], [1, 5], [1, 6, 7, 5, 4, 4]]
CURVES = {
    "train/loss": [(1, 0.6), (2, 0.5)], "val/loss": [(1, 0.55), (2, 0.45)],
    "train/accuracy": [(1, 0.7), (2, 0.8)], "val/accuracy": [(1, 0.72), (2, 0.81)],
}  # fmt: skip


def reviews() -> Reviews:
    tokens = [np.array(ids, np.int32) for ids in TOKENS]
    return Reviews(np.array(IDS), np.full(6, "test"), LABELS, tokens)


def test_data() -> TestData:
    return TestData(reviews(), VOCABULARY)


def record(name: str = "seed-mine-seed0", **more: object) -> RunRecord:
    """A finished training of the recipe ``tutorial``; fields or entries of params, metrics, tags as given."""
    fields = {
        "run_id": "0123456789abcdef0123456789abcdef",
        "status": "FINISHED",
        "started": datetime(2026, 11, 25, 12, 0, tzinfo=UTC),
        "artifact_uri": "",
    }
    params = {key: str(value) for key, value in TUTORIAL.model_dump().items()} | {
        "seed": "0",
        "dataset": "mine.csv",
    }
    params["model.parameters"] = "643137"
    figures = {"val/loss": 0.45}
    tags = {
        "time.train": "3.25",
        "time.total": "9.5",
        "recipe": "tutorial",
        "dataset": "mine",
        "dataset.digest": "d" * 64,
        "recipe.changes": "none",
    }
    given = {"params": params, "metrics": figures, "tags": tags}
    given = {key: value | more.pop(key, {}) for key, value in given.items()}  # type: ignore[operator]
    return RunRecord(name=name, **(fields | given | more))  # type: ignore[arg-type]


def table(scores: tuple[float, ...] = SCORES, ids: list[str] = IDS) -> ScoreTable:
    lengths = np.array([len(each) for each in TOKENS], np.int32)
    return ScoreTable(np.array(ids), LABELS, np.array(scores), lengths, 5)


def logged(scores: ScoreTable) -> tuple[dict[str, float], dict[str, str]]:
    """Metrics and tags that an evaluation with these scores logs."""
    found = {f"test/{name}": value for name, value in asdict(metrics.measure(scores.label, scores.score)).items()}
    slices = metrics.measure_slices(scores)
    found |= {ECE: metrics.reliability(scores.label, scores.score).error, **metrics.slice_metrics(slices)}
    return found, metrics.slice_tags(slices)


def summary(scores: tuple[float, ...] = SCORES, *, of: RunRecord | None = None, **more: object) -> RunSummary:
    """A run with everything at hand, or others in place of it; it logged what its scores come to."""
    made = of or record()
    given = {"curves": CURVES, "table": table(scores), "test_data": test_data(), "scorer": SCORER} | more
    if given["table"] is not None:
        figures, sizes = logged(given["table"])  # type: ignore[arg-type]
        made = replace(made, metrics={**made.metrics, **figures}, tags={**made.tags, **sizes})
    return RunSummary(made, **given)  # type: ignore[arg-type]
