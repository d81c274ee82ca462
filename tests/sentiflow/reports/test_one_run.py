"""Tests of the report of one run."""

from dataclasses import replace

import pytest

from sentiflow.evaluation.metrics import SLICES
from sentiflow.evaluation.statistics import wilson
from sentiflow.reports import one_run as run
from sentiflow.reports.blocks import Report
from tests.pages import Page, tables
from tests.sentiflow.reports.made import CURVES, HOSTILE, record, summary

GONE = {"table": None, "test_data": None, "scorer": None}


@pytest.fixture(scope="module")
def report() -> Report:
    return run.report(summary())


@pytest.fixture(scope="module")
def page(report: Report) -> Page:
    return Page(report.page())


def rows(page: Page, heading: str) -> dict[str, list[str]]:
    """The rows of the table whose first heading cell this is, by their first cell."""
    (found,) = (table for table in page.cells if table[0][0] == heading)
    return {row[0]: row[1:] for row in found[1:]}


def test_the_page_has_every_section_and_the_contents_lead_to_each(page: Page) -> None:
    assert page.ids == [
        "test-split", "slices", "cost", "learning-curves", "calibration", "worst-errors", "run",
    ]  # fmt: skip
    assert [each for each in page.references if each.startswith("#")] == [f"#{name}" for name in page.ids]


def test_the_lead_is_accuracy_with_its_interval(report: Report) -> None:
    low, high = wilson(1, 6)  # number 0 alone is right
    assert report.markdown().startswith(f"**Test accuracy 16.67% (95% interval {low:.2%} to {high:.2%}).**\n")


def test_slices_stand_with_count_accuracy_and_interval(page: Page) -> None:
    # lengths 2, 3, 4, 3, 2, 6: quarters end at 2.25 and begin at 3.75; numbers 0 and 4 are short, 0 is right
    low, high = wilson(1, 2)
    found = {row[0]: row[1:4] for row in page.cells[1][1:]}
    assert found[SLICES["short"]] == ["2", "50.00%", f"{low:.2%} to {high:.2%}"]
    assert found[SLICES["truncated"]][:2] == ["1", "0.00%"]


def test_only_fields_that_differ_from_the_recipe_are_shown() -> None:
    given = {"recipe": "tuned", "epochs": "3", "learning_rate": "0.001", "optimizer": "rmsprop"}
    found = rows(Page(run.report(summary(of=record(params=given))).page()), "field")
    assert found["epochs"] == ["3", "16"]
    assert found["learning_rate"] == ["0.001", "0.0005"]
    assert "units" not in found and "recipe" not in found


def test_a_page_that_is_written_while_its_run_goes_on_stays_true() -> None:
    """Red if the report of a training said for ever that it runs, and is registered as nothing."""
    facts = {row[0]: row[1] for row in Page(run.report(summary(of=record(status="RUNNING"))).page()).cells[-1]}
    assert facts["run id"] == "0123456789abcdef0123456789abcdef"
    assert not {"status", "registered as", "git commit"} & set(facts)
    later = Page(run.report(summary(version="mine-sentiment/3")).page()).cells[-1]
    assert ["status", "FINISHED"] in later and ["registered as", "mine-sentiment/3"] in later


@pytest.mark.parametrize(("training", "told"), [(0.85, False), (0.75, True)])
def test_curves_say_why_validation_can_lie_above_training(training: float, told: bool) -> None:
    curves = CURVES | {"train/accuracy": [(1, 0.75), (2, training)]}  # of validation 0.72 and 0.81
    assert ("Why validation can be above training" in run.report(summary(curves=curves)).page()) is told


def test_a_run_whose_files_are_gone_is_told_by_its_metrics_and_says_what_is_missing() -> None:
    told = {"test/accuracy": 0.75, "test/accuracy_ci_low": 0.7, "test/accuracy_ci_high": 0.8, "test/loss": 0.5}
    told |= {"test/balanced_accuracy": 0.74, "test/majority_share": 0.5}
    told |= {
        "test/f1_negative": 0.76,
        "test/f1_positive": 0.7,
        "test/auc": 0.8,
        "test/brier": 0.2,
        "test/ece": 0.0625,
    }
    told |= {"test_slices/short": 0.5}
    made = run.report(
        summary(
            of=record(metrics=told, tags={"slice_reviews": "short 4"}), missing=("The scores are gone.",), **GONE
        )
    )
    page = Page(made.page())
    assert made.markdown().startswith("**Test accuracy 75.00% (95% interval 70.00% to 80.00%).**")
    assert "0.0625" in page.words and "The scores are gone." in page.words
    assert {"slices", "learning-curves", "not-available"} <= set(page.ids)
    assert "worst-errors" not in page.ids


@pytest.mark.parametrize(
    ("status", "tags", "metrics", "lead"),
    [
        ("FAILED", {"end": "the loss diverged"}, {}, "No test metrics: the run failed: the loss diverged."),
        ("KILLED", {"end": "it was interrupted"}, {}, "No test metrics: the run was killed: it was interrupted."),
        ("RUNNING", {}, {}, "No test metrics: the run is still running."),
        ("FINISHED", {}, {}, "Validation loss 0.4500; the test split was not scored."),
        ("FINISHED", {}, {"test/accuracy": 0.9}, "Test accuracy 90.00%."),  # of another tool
    ],
)
def test_a_run_without_test_figures_says_why(status: str, tags: dict, metrics: dict, lead: str) -> None:
    found = replace(record(tags=tags, metrics=metrics), status=status)
    assert run.lead(summary(of=found, **GONE)) == lead


def test_a_hostile_name_and_parameter_stay_text() -> None:
    hostile = record(
        HOSTILE, params={"recipe": HOSTILE, "dataset": HOSTILE}, tags={"recipe": HOSTILE, "end": HOSTILE}
    )
    made = run.report(summary(of=hostile))
    page = Page(made.page())
    assert {"script", "b"}.isdisjoint(page.names)
    assert all(each.startswith(("#", "data:")) for each in page.references)
    assert all(len(set(table)) == 1 for table in tables(made.markdown()))


@pytest.mark.parametrize(("tags", "kept"), [({"best_epoch": "1"}, "1"), ({}, "2")])
def test_the_kept_epoch_is_that_of_early_stopping_else_the_last(tags: dict[str, str], kept: str) -> None:
    page = Page(run.report(summary(of=record(tags={"epochs_trained": "2", **tags}))).page())
    assert rows(page, "fact")["weights of epoch"] == [kept]
