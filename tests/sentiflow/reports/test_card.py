"""The model card: what it says, and that it fits and shows names as they are."""

from dataclasses import replace
from datetime import UTC, datetime

from sentiflow.reports.one_run import card
from sentiflow.reports.summary import RunSummary
from sentiflow.run.record import RunRecord
from sentiflow.training.recipes import TUNED

METRICS = {
    "test/accuracy": 0.8793, "test/accuracy_ci_low": 0.8752, "test/accuracy_ci_high": 0.8833,
    "test/loss": 0.31,
    "test/balanced_accuracy": 0.886, "test/majority_share": 0.5,
    "test/f1_negative": 0.89, "test/f1_positive": 0.88,
    "test/auc": 0.95, "test/brier": 0.09, "test/ece": 0.0123, "val/loss": 0.3,
    "test_slices/long": 0.75,
}  # fmt: skip
RECORD = RunRecord(
    "1a2b3c4d" * 4, "tuned-imdb-seed7", "FINISHED", datetime(2026, 1, 1, tzinfo=UTC),
    {name: str(value) for name, value in TUNED.model_dump().items()}
    | {"seed": "7", "dataset.truncated": "0.1234", "dataset.in_both_splits": "123"},
    METRICS,
    {
        "dataset": "imdb", "dataset.digest": "d" * 64, "recipe": "tuned", "recipe.changes": "none",
        "git.commit": "c" * 40, "processor": "AMD EPYC", "threads": "2", "slice_reviews": "long 400",
    },
    "",
)  # fmt: skip


def test_it_names_data_recipe_figures_slices_calibration_use_and_licence() -> None:
    text = "\n".join(card(RunSummary(RECORD, {})))
    for each in (
        "Test accuracy 87.93% (95% interval 87.52% to 88.33%)",
        "| long: the longest quarter | 400 | 75.00% | 70.53% to 78.99% |",  # Wilson's interval of 300 in 400
        "| expected calibration error | mean distance of score and share, over ten bins | 0.0123 |",
        "d" * 64,
        "learning_rate=0.0005",
        "seed=7",
        "| reviews longer than what is read | 12.3% |",
        "c" * 40,
        "sentiflow reproduce 1a2b3c4d1a2b3c4d1a2b3c4d1a2b3c4d",
        "Maas et al., ACL 2011",
        "reads the last 500 words",
    ):
        assert each in text


def test_it_names_the_labels_of_the_table() -> None:
    params = RECORD.params | {"table.name_of_0": "complaint", "table.name_of_1": "<b>"}
    text = "\n".join(card(RunSummary(replace(RECORD, params=params), {})))
    said = "The score is the probability of \\<b>, the label is \\<b> above 0.5, else complaint, whatever"
    assert said in text and "| F1 of \\<b> | the same of those that are \\<b> |" in text


def test_names_that_users_give_are_shown_as_they_are() -> None:
    """Red if a table or a recipe could put a picture, a heading or a column into MLflow's page."""
    evil = "<img src=x>|[a](http://x)\n# big"
    tags, params = RECORD.tags | {"dataset": evil}, RECORD.params | {"recipe": evil}
    record = replace(RECORD, name=evil, tags=tags, params=params)
    text = "\n".join(card(RunSummary(record, {})))
    assert "\\<img" in text and "\\|\\[a" in text
    assert not [line for line in text.splitlines() if line.startswith("# ")]
    assert "[a](" not in text.replace("\\[a", "")
