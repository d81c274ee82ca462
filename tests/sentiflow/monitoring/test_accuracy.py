"""The accuracy in use: by hand, by exact cases, and by simulated months."""

import math

import numpy as np
import pytest

from sentiflow.monitoring.accuracy import LiveAccuracy, Tested, has_dropped, live_accuracy, stratified, verdicts
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
    assert 0 <= live.low < 0.3 and 0.7 < live.high <= 1


def test_nothing_is_told_without_labels_and_some_leave_it_incomplete() -> None:
    asked = sample(0.9, 0.9, population=[50])
    assert live_accuracy(asked, []) is None
    live = live_accuracy(asked, labels("good"))
    assert live is not None and not live.complete


def test_all_texts_of_the_log_leave_no_doubt() -> None:
    value, low, high, _ = stratified([4, 6], [3, 6], [4, 6])
    assert (value, low, high) == pytest.approx((0.9, 0.9, 0.9))


def test_a_stratum_without_a_label_is_taken_to_be_like_the_others() -> None:
    value, low, high, _ = stratified([10, 90], [3, 0], [4, 0])
    assert value == pytest.approx(0.75) and low < 0.2 and high > 0.8


def test_the_interval_of_one_stratum_by_hand() -> None:
    """Of 1,000,000 texts 200, 180 right: 180.5 of 201, and the square root of 0.898 * 0.102 / 201."""
    value, low, high, spread = stratified([1_000_000], [180], [200])
    reach = 1.959964 * math.sqrt(180.5 / 201 * 20.5 / 201 / 201)
    assert (value, low, high) == pytest.approx((0.9, 180.5 / 201 - reach, 180.5 / 201 + reach), abs=1e-4)
    assert spread == pytest.approx(0.0916, abs=1e-3)


def test_a_drop_is_beyond_the_chance_of_both_sides() -> None:
    def live(value: float, high: float) -> LiveAccuracy:
        known = verdicts(sample(0.9, population=[9]), [])
        return LiveAccuracy(sample(0.9, population=[9]), known, value, 2 * value - high, high, 1)

    large, small = Tested(0.9, 0.896), Tested(0.9, 0.85)
    assert has_dropped(live(0.85, 0.885), large, 0.005)
    assert not has_dropped(live(0.85, 0.885), small, 0.005)  # a small test split may itself be 5 points off
    assert not has_dropped(live(0.85, 0.898), large, 0.005)
    assert not has_dropped(live(0.95, 0.97), large, 0.0)


@pytest.mark.story
@pytest.mark.parametrize("size", [200, 400])
@pytest.mark.parametrize(("tilt", "flipped"), [(0.0, 0.0), (-1.0, 0.0), (1.5, 0.0), (0.0, 0.05), (1.0, 0.1)])
def test_intervals_hold_the_truth_over_simulated_months(size: int, tilt: float, flipped: float) -> None:
    """2,000 months; 1.96 standard errors of their coverage are 1 point, so that 93 to 97% is 92 to 98% here.

    The scores are calibrated; then the texts become less or more sure, and some answers turn round.
    """
    rng = np.random.default_rng(0)
    held = alarms = 0
    tested = Tested(0.88, 0.876)
    for _ in range(2_000):
        sure = 0.5 + 0.5 * rng.beta(3.2 - min(tilt, 2), 1.0, 4_000)
        right = (rng.random(4_000) < sure) ^ (rng.random(4_000) < flipped)
        strata = divided(sure)
        counts = allocated(sure, strata, size)
        chosen = [rng.choice(part, n, replace=False) for part, n in zip(strata, counts, strict=True)]
        value, low, high, _ = stratified(
            [len(part) for part in strata], [int(right[one].sum()) for one in chosen], counts
        )
        held += low <= right.mean() <= high
        known = LiveAccuracy(
            sample(0.9, population=[9]), verdicts(sample(0.9, population=[9]), []), value, low, high, 1
        )
        alarms += has_dropped(known, Tested(right.mean(), right.mean() - tested.accuracy + tested.low), 0.005)
    assert 0.92 <= held / 2_000 <= 0.98
    assert alarms / 2_000 <= 0.05
