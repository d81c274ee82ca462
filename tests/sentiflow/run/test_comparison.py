from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from scipy.stats import ttest_ind

from sentiflow.evaluation.scores import ScoreTable
from sentiflow.evaluation.statistics import tango
from sentiflow.run.comparison import Figure, accuracy_difference, differing, figure, metric_names
from sentiflow.run.record import LABEL_PARAMS, RunRecord


def run(name: str = "a", *, digest: str = "d" * 64, **given: dict[str, object]) -> RunRecord:
    tags = {"dataset": "imdb", "dataset.digest": digest}
    params = {key: str(value) for key, value in given.get("params", {}).items()}
    metrics = given.get("metrics", {})
    return RunRecord(name * 4, name, "FINISHED", datetime(2026, 3, 5, tzinfo=UTC), params, metrics, tags, "")


def table(right: str, ids: str) -> ScoreTable:
    """Scores of positive reviews: 1 is right, 0 is wrong; a review is named by a letter."""
    score = np.array([0.9 if one == "1" else 0.1 for one in right])
    ones = np.ones(len(right))
    return ScoreTable(np.array(list(ids)), ones.astype(np.int8), score, ones.astype(np.int32), 80)


def test_parameters_that_differ_are_those_of_any_run_and_in_a_reading_order() -> None:
    first = run(
        params={"units": 32, "recipe": "tutorial", "learning_rate": "0.001", "version.keras": "3.15", "same": 1}
    )
    other = run(params={**first.params, "units": 64, "recipe": "tuned", "learning_rate": "1e-3", "alone": "x",
                        "version.keras": "3.16"})  # fmt: skip
    assert list(differing([first, other]).items()) == [
        ("recipe", ("tutorial", "tuned")), ("units", ("32", "64")), ("alone", (None, "x")),
        ("version.keras", ("3.15", "3.16")),
    ]  # fmt: skip


def test_what_a_training_finds_out_is_no_difference_to_a_parent_run() -> None:
    parent = run(params={"repeats": 2})
    found = {"model.parameters": 643137, "dataset.truncated": 0, "dataset.in_both_splits": 0}
    assert differing([parent, run(params=found)]) == {"repeats": ("2", None)}
    other = run(params={**found, "dataset.truncated": 0.5})
    assert differing([run(params=found), other]) == {"dataset.truncated": ("0", "0.5")}


def test_a_figure_has_its_interval_or_of_a_set_its_mean_and_deviation() -> None:
    one = run(metrics={"test/accuracy": 0.8, "test/accuracy_ci_low": 0.7, "test/accuracy_ci_high": 0.9})
    many = run(metrics={"test/accuracy_mean": 0.85, "test/accuracy_sd": 0.02})
    assert figure(one, "test/accuracy") == Figure(0.8, 0.7, 0.9)
    assert figure(many, "test/accuracy") == Figure(0.85, sd=0.02)
    assert figure(one, "test/loss") is None
    assert figure(run(metrics={"test/loss": float("nan")}), "test/loss") is None


def test_metric_names_leave_ends_with_what_they_belong_to() -> None:
    one = run(
        metrics=dict.fromkeys(("test/accuracy", "test/accuracy_ci_low", "test/accuracy_ci_high", "slice/low"), 0.0)
    )
    many = run(metrics=dict.fromkeys((f"val/loss_{end}" for end in ("mean", "sd", "min", "max")), 0.0))
    assert metric_names([one, many]) == ["test/accuracy", "val/loss", "slice/low"]


def test_two_runs_are_compared_review_by_review_whatever_their_order() -> None:
    # Reviews a to f: the first has a, b right; the other b, c, d, e, f. Gained c, d, e, f; lost a.
    first, other = table("110000", "abcdef"), table("111110", "fedcba")
    outcome = accuracy_difference(run("b"), other, run("a"), first)
    assert outcome.paired is not None
    assert (outcome.paired.gained, outcome.paired.lost) == (4, 1)
    assert outcome.difference == pytest.approx(3 / 6)
    # Among equals 4 or more of 5 fall to one side with (5 + 1) / 32, either side twice that.
    assert outcome.p_value == pytest.approx(2 * 6 / 32)
    assert (outcome.low, outcome.high) == tango(4, 1, 6)
    assert outcome.why_not == ""


def test_other_reviews_cannot_be_paired_and_say_so() -> None:
    metrics = {"test/accuracy": 0.5}
    outcome = accuracy_difference(
        run("b", digest="e" * 64, metrics=metrics), table("10", "ab"), run("a", metrics=metrics), table("10", "ab")
    )
    assert outcome.paired is outcome.low is outcome.p_value is outcome.difference is None
    assert outcome.why_not == "tested on other reviews (imdb eeeeeeee and imdb dddddddd)"


def test_two_nights_of_a_table_are_paired_on_what_both_were_tested_on() -> None:
    """Reviews a to d test the first night, c to f the next, in another order; d was corrected in between."""
    tags = {"dataset": "inbox"}
    first = replace(run(), tags={**tags, "dataset.digest": "1"})
    other = replace(run("b"), tags={**tags, "dataset.digest": "2"}, started=first.started + timedelta(days=1))
    older, newer = table("0001", "abcd"), table("1101", "fdec")
    newer = replace(newer, label=np.array([1, 0, 1, 1], np.int8))  # d is negative now
    # c: wrong, then right. d was scored 0.9 both nights: both are wrong by the later label.
    for outcome, sign in (
        (accuracy_difference(other, newer, first, older), 1), (accuracy_difference(first, older, other, newer), -1)
    ):  # fmt: skip
        assert outcome.paired is not None
        assert (outcome.shared, outcome.difference, outcome.why_not) == (2, sign / 2, "")
        assert (outcome.paired.gained, outcome.paired.lost) == ((1, 0) if sign > 0 else (0, 1))
    for another in (replace(other, tags={**other.tags, "dataset": "seats"}),
                           replace(other, params=dict.fromkeys(LABEL_PARAMS, "calm"))):  # fmt: skip
        assert accuracy_difference(another, newer, first, older).paired is None


def set_of(name: str, accuracies: list[float], digest: str = "d" * 64) -> RunRecord:
    spread = {
        "test/accuracy_mean": float(np.mean(accuracies)),
        "test/accuracy_sd": float(np.std(accuracies, ddof=1)),
    }
    return run(name, digest=digest, metrics=spread, params={"repeats": len(accuracies)})


def test_two_sets_of_repeats_are_compared_by_welchs_test() -> None:
    first, other = [0.80, 0.84, 0.83], [0.88, 0.882, 0.885, 0.879, 0.881]
    outcome = accuracy_difference(set_of("b", other), None, set_of("a", first), None)
    expected = ttest_ind(other, first, equal_var=False)
    ends = expected.confidence_interval(0.95)
    assert outcome.p_value == pytest.approx(expected.pvalue)
    assert (outcome.low, outcome.high) == pytest.approx((ends.low, ends.high))
    assert outcome.why_not == "a stands for 3 seeds and b stands for 5 seeds"
