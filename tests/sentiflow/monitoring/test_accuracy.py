"""The accuracy in use: by hand, by exact cases, and by simulated months."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from sentiflow.evaluation.statistics import wilson
from sentiflow.monitoring.accuracy import (
    CHANCE,
    LiveAccuracy,
    Tested,
    chance,
    interval,
    live_accuracy,
    stratified,
    verdicts,
)
from sentiflow.monitoring.sample import CANNOT_TELL, Drawn, Sample, allocated, divided
from sentiflow.store.review import Label


def sample(*scores: float, population: list[int]) -> Sample:
    """Texts with these scores, one a stratum by turns."""
    texts = [
        Drawn(id=f"text-{k}", text=f"text {k}", stratum=k % len(population), score=score, trace=f"tr-{k}")
        for k, score in enumerate(scores)
    ]
    return Sample(
        model="mine-sentiment", number=1, version=1, names=("bad", "good"), at="2026-01-01", last_id=1,
        population=population, confidence=0.9, texts=texts,
    )  # fmt: skip


def labels(*values: str, by: str = "anna") -> list[Label]:
    return [Label(f"tr-{k}", by, value) for k, value in enumerate(values) if value]


def test_most_of_the_people_decide_and_ties_are_left_out() -> None:
    given = [
        *labels("good", "bad", "good", CANNOT_TELL, "good"), *labels("good", "good", "bad", by="bob"),
        *labels("good", "bad", by="cleo"),
    ]  # fmt: skip
    found = verdicts(sample(*[0.9] * 5, population=[10]), given)
    assert found.labels == {"tr-0": 1, "tr-1": 0, "tr-4": 1}
    assert (found.unclear, found.doubled, found.disputed) == (2, 3, {"tr-1", "tr-2"})
    assert found.unanimous == {"tr-0": 1, "tr-4": 1}  # to train on


def test_each_stratum_counts_as_large_as_it_is() -> None:
    """Of 90 texts one of two is right, of 10 both: 0.9 * 0.5 + 0.1 * 1."""
    live = live_accuracy(sample(0.9, 0.9, 0.9, 0.1, population=[90, 10]), labels("good", "good", "bad", "bad"))
    assert live is not None and live.complete
    assert live.value == pytest.approx(0.55)
    low, high = live.interval
    assert 0 <= low < 0.3 and 0.7 < high <= 1


def test_nothing_is_told_without_labels_and_some_leave_it_incomplete() -> None:
    asked = sample(0.9, 0.9, population=[50])
    assert live_accuracy(asked, []) is None
    live = live_accuracy(asked, labels("good"))
    assert live is not None and not live.complete


def test_an_answer_that_is_not_offered_is_none() -> None:
    """A question that was changed in MLflow, or a failed judge there, completes no sample."""
    asked = sample(0.9, 0.9, population=[50])
    found = verdicts(asked, [*labels("good", "Good"), *labels("None", by="bob")])
    assert (found.labels, found.texts, found.disputed) == ({"tr-0": 1}, 1, set())


def test_a_stratum_whose_only_text_was_deleted_does_not_count() -> None:
    live = live_accuracy(sample(0.9, 0.1, 0.9, population=[50, 50, 0]), labels("good", "good"))
    assert live is not None and live.value == 0.5


def test_all_texts_of_the_log_leave_no_doubt() -> None:
    assert stratified([4, 6], [3, 6], [4, 6])[:2] == pytest.approx((0.9, 0))
    assert interval(0.9, 0) == pytest.approx((0.9, 0.9))
    assert stratified([4, 6], [4, 6], [4, 6])[:2] == pytest.approx((1, 0))


def test_a_stratum_without_a_label_is_taken_to_be_like_the_others() -> None:
    value, doubt, _ = stratified([10, 90], [3, 0], [4, 0])
    low, high = interval(value, doubt)
    assert value == pytest.approx(0.75) and low < 0.2 and high > 0.9


def test_without_strata_each_label_counts_as_one_and_the_interval_is_wilsons() -> None:
    """180 of 200, of very many; half a text on either side makes 201, and Wilson's interval is scipy's."""
    value, doubt, spread = stratified([1_000_000], [180], [200])
    assert (value, 1 / doubt) == pytest.approx((0.9, 201), abs=0.1)
    assert interval(0.9, 1 / 200) == pytest.approx(wilson(180, 200))
    assert spread == pytest.approx(180.5 / 201 * 20.5 / 201 * 200 / 201, abs=1e-5)


def test_half_of_the_texts_surely_right_leave_half_of_the_doubt() -> None:
    """By hand: half of the variance of the other half's share, by weights of a half each."""
    value, doubt, _ = stratified([1_000_000] * 2, [80, 10_000], [100, 10_000])
    assert value == pytest.approx(0.9)
    assert doubt == pytest.approx(0.25 * 80.5 * 20.5 / 101**2 / 101 / (0.9 * 0.1), rel=0.02)


def test_a_drop_is_beyond_the_chance_of_both_sides() -> None:
    """By hand: of 200 labels 85% right, where 90% were: -5 points by the square root of 0.9 * 0.1 / 200."""
    large, small, error = Tested(0.9, 0.9 - 1e-9), Tested(0.9, 0.85), math.sqrt(0.9 * 0.1 / 200)
    assert chance(0.85, 1 / 200, large, 0) == pytest.approx(norm.cdf(-0.05 / error))
    assert chance(0.85, 1 / 200, small, 0) == pytest.approx(norm.cdf(-0.05 / math.hypot(error, 0.05 / 1.96)), 1e-3)
    assert chance(0.85, 1 / 200, large, 0.05) == pytest.approx(0.5)
    assert chance(0.85, 1 / 200, large, 0.99) == 1


def test_an_alarm_needs_a_complete_sample() -> None:
    asked = sample(0.9, 0.9, population=[50])
    known = verdicts(asked, labels("bad", "bad"))
    assert LiveAccuracy(asked, known, 0, 0.5, 1, p=0.044).dropped
    assert not LiveAccuracy(asked, known, 0, 0.5, 1, p=0.046).dropped
    assert not LiveAccuracy(asked, verdicts(asked, labels("bad")), 0, 0.5, 1, p=0.001).dropped


@pytest.mark.story
@pytest.mark.parametrize("size", [200, 400])
@pytest.mark.parametrize(
    ("sureness", "flipped", "told"),
    [(1.267, 0.0, 0.0), (2.0, 0.0, 0.0), (0.776, 0.0, 0.8), (1.267, 0.0657, 0.65), (0.8, 0.1, 0.99)],
)
def test_intervals_hold_the_truth_and_drops_are_told_over_simulated_months(
    size: int, sureness: float, flipped: float, told: float
) -> None:
    """Red if an interval is too narrow or too wide, an alarm comes by chance too often, or a drop stays hidden.

    The scores are calibrated, and about as spread as those of the recipe tuned. Then the version becomes surer or
    less sure, and some answers turn round; 0.776 and 0.0657 each cost 5 points of 88. What is told of a version
    that was as good on its test split is a false alarm.
    """
    rng = np.random.default_rng(0)
    held = alarms = drops = 0
    for _ in range(2_000):
        sure = 0.5 + 0.5 * rng.beta(sureness, 0.4, 4_000)
        right = (rng.random(4_000) < sure) ^ (rng.random(4_000) < flipped)
        strata = divided(sure)
        counts = allocated([len(part) for part in strata], size)
        chosen = [rng.choice(part, n, replace=False) for part, n in zip(strata, counts, strict=True)]
        hits, truth = [int(right[one].sum()) for one in chosen], right.mean()
        value, doubt, _ = stratified([len(part) for part in strata], hits, counts)
        low, high = interval(value, doubt)
        held += low <= truth <= high
        alarms += chance(value, doubt, Tested(truth, truth - 0.004), 0) < CHANCE
        drops += chance(value, doubt, Tested(0.88, 0.876), 0) < CHANCE
    assert 0.93 <= held / 2_000 <= 0.97
    assert alarms / 2_000 <= 0.05
    assert drops / 2_000 >= told
