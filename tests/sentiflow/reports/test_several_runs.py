"""Tests of the comparison of several runs, against counts by hand."""

import numpy as np
import pytest
from scipy.stats import t, ttest_ind_from_stats

from sentiflow.evaluation.scores import ScoreTable
from sentiflow.reports import several_runs as comparison
from sentiflow.reports.blocks import Report
from sentiflow.reports.summary import RunSummary
from sentiflow.run.record import REPEAT, REPEATS
from tests.pages import Page
from tests.sentiflow.reports.made import SCORES, record, summary, table

# The first is right on number 0 alone; this one on all but 1 and 2: three gained, none lost.
BETTER = (0.9, 0.1, 0.98, 0.7, 0.2, 0.4)
OTHER = record(
    "tuned-mine-seed3",
    run_id="f" * 32,
    params={"seed": "3", "units": "64"},
    metrics={"val/loss": 0.31},
    tags={"recipe": "tuned"},
)
OTHER_TABLE = {"dataset.digest": "e" * 64}
GONE = {"table": None, "test_data": None, "scorer": None}


@pytest.fixture(scope="module")
def report() -> Report:
    return comparison.report([summary(), summary(BETTER, of=OTHER)])


@pytest.fixture(scope="module")
def page(report: Report) -> Page:
    return Page(report.page())


def rows(page: Page, *heading: str) -> list[list[str]]:
    """The rows of the table with this heading, or that begins with it."""
    (found,) = (each for each in page.cells if each[0][: len(heading)] == list(heading))
    return found[1:]


def test_sections_stand_in_the_order_of_asking(page: Page) -> None:
    assert page.ids == [
        "runs", "paired-differences", "parameters-that-differ", "metrics", "learning-curves",
        "largest-disagreements",
    ]  # fmt: skip


def test_validation_chooses_and_the_test_split_reports(report: Report) -> None:
    # three of six differ, all gained, which is no proof: see below
    assert [each.text for each in report.lead] == [
        "On the same test reviews run 2 (tuned, seed 3) and run 1 (tutorial, seed 0) differ within chance "
        "(+50.00 points, 95% interval -8.55 to +81.24).",
        "By validation loss run 2 (tuned, seed 3) is the best, with 0.3100: test accuracy 66.67%.",
    ]


def test_of_two_runs_the_lead_says_which_is_worse_and_by_how_much() -> None:
    """Red if the direction were turned, or chance were taken for a difference."""
    ids, labels = np.array([f"test-{i}" for i in range(30)]), np.arange(30, dtype=np.int8) % 2
    lengths, right = np.full(30, 4, np.int32), 0.1 + 0.8 * labels
    good, bad = (ScoreTable(ids, labels, scores, lengths, 5) for scores in (right, 1 - right))
    made = comparison.report([summary(table=good, test_data=None), summary(of=OTHER, table=bad, test_data=None)])
    assert made.lead[0].text.startswith(
        "On the same test reviews run 2 (tuned, seed 3) is worse than run 1 (tutorial, seed 0) by 100.00 points"
    )
    assert (
        comparison.report([summary(table=bad, test_data=None), summary(of=OTHER, table=good, test_data=None)])
        .lead[0]
        .text.startswith("On the same test reviews run 2 (tuned, seed 3) is better than run 1")
    )


def test_paired_differences_are_mcnemars(page: Page) -> None:
    # wins 3 of 3: two-sided p = 2 / 8; the interval is tango(3, 0, 6)
    assert rows(page, "run", "points") == [
        ["run 2", "+50.00", "-8.55 to +81.24", "0.250", "3", "0", "within chance"]
    ]


def test_only_parameters_that_differ_are_shown(page: Page) -> None:
    assert rows(page, "parameter") == [["seed", "0", "3"], ["units", "32", "64"]]


def test_reviews_stand_in_the_order_of_disagreement_with_both_readings(report: Report) -> None:
    # apart by 0.5 (number 4), 0.3 (3), 0.2 (5), 0.1 (1), 0.01 (2), nothing (0)
    content = report.page()
    part = content[content.index('id="largest') :]
    order = [name for name in ("test-4", "test-3", "test-5", "test-1", "test-2") if f"<h3>{name}: " in part]
    places = [part.index(f"<h3>{name}: ") for name in order]
    assert len(order) == 5 and places == sorted(places)
    assert "<h3>test-0" not in part
    assert part.count("as read by 1 tutorial, seed 0") == part.count("as read by 2 tuned, seed 3") == 5


def test_runs_on_other_reviews_are_not_paired_and_it_says_so() -> None:
    made = comparison.report(
        [summary(), summary(table=table(BETTER, list("abcdef")), of=record(run_id="f" * 32, tags=OTHER_TABLE))]
    )
    page = Page(made.page())
    assert (
        "No pair of run 2 (tutorial, seed 0) and run 1 (tutorial, seed 0): tested on "
        "other reviews (mine eeeeeeee and mine dddddddd)."
    ) in page.words
    assert rows(page, "run", "points")[0][2:6] == ["-"] * 4
    assert "largest-disagreements" not in page.ids


def test_two_nights_of_a_table_are_told_by_version_and_two_tables_by_name() -> None:
    tonight = record(run_id="f" * 32, tags={"dataset.digest": "e" * 64})
    fewer = table(BETTER).take(np.arange(5))  # right on 0, 3, 4; the first on 0 alone: two gained of five
    nights = [summary(version="mine-sentiment/1"), summary(of=tonight, table=fewer, version="mine-sentiment/2")]
    assert (
        comparison.report(nights)
        .lead[0]
        .text.startswith(
            "On the 5 reviews that both were tested on run 2 (tutorial, seed 0, mine-sentiment/2) and "
            "run 1 (tutorial, seed 0, mine-sentiment/1) differ within chance (+40.00 points, "
        )
    )
    tables = [summary(), summary(of=record(tags={"dataset": "seats", "dataset.digest": "e" * 64}))]
    labels = [row[0] for row in rows(Page(comparison.report(tables).page()), "run", "test accuracy")]
    assert labels == ["1 tutorial, seed 0, mine", "2 tutorial, seed 0, seats"]


def test_of_runs_trained_on_different_reviews_none_is_the_best() -> None:
    other = summary(table=table(BETTER, list("abcdef")), of=record(tags=OTHER_TABLE))
    lead = comparison.report([summary(), other]).lead
    assert [text.text for text in lead] == [
        "Trained on different reviews: validation losses do not say which run is the best."
    ]


def test_a_run_without_scores_stands_beside_the_others() -> None:
    bare = summary(of=record("gone", tags={"recipe": "gone"}), missing=("Its scores are gone.",), **GONE)
    made = comparison.report([summary(), bare, summary(BETTER, of=OTHER)])
    page = Page(made.page())
    assert "2 gone, seed 0: Its scores are gone." in page.words
    assert [row[0] for row in rows(page, "run", "points")] == ["run 3"]
    assert "Not scored on the test split, and left out here: 1 of the runs." in page.words
    assert "largest-disagreements" in page.ids


def seeds(count: int) -> list[RunSummary]:
    made = []
    for seed in range(count):
        metrics = {"val/loss": 1 - seed / 100}
        tags = {"kind": REPEAT, "mlflow.parentRunId": "p"}
        of = record(f"seed{seed}", run_id=f"{seed:032x}", params={"seed": str(seed)}, metrics=metrics, tags=tags)
        made.append(summary(BETTER if seed % 2 else SCORES, of=of))
    return made


def test_seeds_of_one_set_are_summed_up_first() -> None:
    made = comparison.report(seeds(4))
    # 1/6, 4/6, 1/6, 4/6: mean 2.5/6; each is 0.25 off, so sd = 0.25 * sqrt(4/3)
    assert made.lead[0].text == (
        f"Test accuracy over 4 seeds: mean 41.67%, standard deviation {25 * np.sqrt(4 / 3):.2f} points, "
        "16.67% to 66.67%."
    )
    assert "No p-value is corrected for there being 3 comparisons." in made.markdown()


def test_two_sets_of_seeds_are_held_against_each_other_by_welchs_test() -> None:
    first, second = (
        record(
            name,
            tags={"kind": REPEATS},
            params={"repeats": "3"},
            metrics={"test/accuracy_mean": mean, "test/accuracy_sd": sd},
        )
        for name, mean, sd in (("tuned-3seeds", 0.88, 0.003), ("large-3seeds", 0.89, 0.0004))
    )
    page = Page(comparison.report([summary(), summary(BETTER, of=OTHER)], parents=[first, second]).page())
    welch = ttest_ind_from_stats(0.89, 0.0004, 3, 0.88, 0.003, 3, equal_var=False)
    # The error is sqrt((0.003^2 + 0.0004^2) / 3) = 0.0017474, over 2.0711 degrees of freedom.
    reach = t.ppf(0.975, 2.0711) * 0.0017474
    assert rows(page, "set of seeds") == [
        ["tuned-3seeds", "88.00%", "0.30 points", "", "", ""],
        ["large-3seeds", "89.00%", "0.04 points", "+1.00",
         f"{100 * (0.01 - reach):+.2f} to {100 * (0.01 + reach):+.2f}", f"{welch.pvalue:.3f}"],
    ]  # fmt: skip
    assert page.ids[0] == "sets-of-seeds"
