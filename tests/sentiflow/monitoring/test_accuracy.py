"""The accuracy in use: by hand, by exact cases, and by simulated months."""

import math
from functools import partial

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import beta, binom, norm

from sentiflow.evaluation.statistics import wilson
from sentiflow.monitoring.accuracy import (
    CHANCE,
    LiveAccuracy,
    Tested,
    chance,
    interval,
    live_accuracy,
    metrics,
    section,
    stratified,
)
from sentiflow.monitoring.sample import CANNOT_TELL, Drawn, Sample, allocated, divided, verdicts
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
    assert (found.unclear, found.doubled, found.disputed) == ({"tr-2", "tr-3"}, 3, {"tr-1", "tr-2"})
    assert found.unanimous == {"tr-0": 1, "tr-4": 1}  # to train on


def test_each_stratum_counts_as_large_as_it_is() -> None:
    """Of 90 texts one of two is right, of 10 both: 0.9 * 0.5 + 0.1 * 1."""
    live = live_accuracy(sample(0.9, 0.9, 0.9, 0.1, population=[90, 10]), labels("good", "good", "bad", "bad"))
    assert live is not None and live.complete
    assert live.value == pytest.approx(0.55)


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


def test_all_texts_of_the_log_leave_no_doubt_of_them_and_that_of_as_many_labels_of_more() -> None:
    """19 of 29 texts right, all of them labelled: of texts like these it is Wilson's interval."""
    assert stratified([4, 6], [3, 6], [4, 6]) == pytest.approx((0.9, 0))
    assert stratified([4, 6], [4, 6], [4, 6]) == pytest.approx((1, 0))
    live = live_accuracy(sample(*[0.9] * 29, population=[15, 14]), labels(*["good"] * 19, *["bad"] * 10))
    assert live is not None and live.interval == pytest.approx(wilson(19, 29))
    low, high = wilson(19, 29)
    assert f"(95% interval {low:.2%} to {high:.2%})" in live.headline
    assert metrics(live)["live/accuracy_ci_high"] == pytest.approx(high)


def test_what_is_unusual_on_29_texts_is_no_drop() -> None:
    """19 of 29 right where the test had 75.1% is common, 14 of 29 is not.

    The second route: binomial tails, with and without the outcome itself, by the posterior of the test's accuracy.
    """
    tested = Tested(380 / 506, wilson(380, 506)[0])
    asked, said = sample(*[0.9] * 29, population=[29]), labels(*["good"] * 19, *["bad"] * 10)
    live = live_accuracy(asked, said, tested)
    assert live is not None and live.complete and not live.dropped
    ends = [
        quad(lambda share, k=k: binom.cdf(k, 29, share) * beta.pdf(share, 380.5, 126.5), 0.6, 0.9)[0]
        for k in (18, 19)
    ]
    assert 0.05 < ends[0] < live.p < ends[1] < 0.2
    worse = live_accuracy(asked, labels(*["good"] * 14, *["bad"] * 15), tested)
    assert worse is not None and worse.dropped and worse.p < 0.01


def test_an_accuracy_needs_20_labels() -> None:
    """12 of 20 texts have a label, and every second one is wrong: neither a figure nor an alarm."""
    asked, tested = sample(*[0.9] * 20, population=[10, 10]), Tested(0.95, 0.94)
    live = live_accuracy(asked, labels(*["good", "bad"] * 6), tested)
    assert live is not None and not live.dropped
    assert live.headline.startswith("An accuracy in use needs 20 labels: 12 of the 20 texts")
    assert not [name for name in metrics(live) if "accuracy" in name or "ci" in name]
    assert "| 12 of 20 | - | - | 95.0% | 90.0% |" in section([live]).markdown()
    whole = live_accuracy(sample(*[0.9] * 12, population=[12]), labels(*["bad"] * 12), tested)
    assert whole is not None and whole.complete and whole.p < 0.001 and not whole.dropped
    full = live_accuracy(asked, labels(*["good"] * 19, "bad"))
    assert full is not None and full.headline.startswith("Accuracy in use 95.00% (95% interval")


def test_without_strata_each_label_counts_as_one_and_the_interval_is_wilsons() -> None:
    """180 of 200, of very many; Wilson's interval is scipy's."""
    value, doubt = stratified([1_000_000], [180], [200])
    assert (value, 1 / doubt) == pytest.approx((0.9, 200), abs=0.1)
    assert interval(0.9, 1 / 200) == pytest.approx(wilson(180, 200))


def test_a_drop_is_beyond_the_chance_of_both_sides() -> None:
    """With many labels the binomial is normal: 85% of 10,000 where the test had 86% of 20,000, or of 5,000."""
    for reviews in (20_000, 5_000):
        tested = Tested(0.86, wilson(round(0.86 * reviews), reviews)[0])
        assert tested.reviews == pytest.approx(reviews)
        error = math.sqrt(0.86 * 0.14 * (1 / 10_000 + 1 / reviews))
        assert chance(0.85, 1 / 10_000, tested, 0) == pytest.approx(norm.cdf(-0.01 / error), rel=0.15)
        assert chance(0.85, 1 / 10_000, tested, 0.01) == pytest.approx(0.5, abs=0.02)
        assert chance(0.85, 1 / 10_000, tested, 0.86) == pytest.approx(1)


def test_an_alarm_needs_a_complete_sample() -> None:
    asked = sample(*[0.9] * 20, population=[50])
    known = verdicts(asked, labels(*["bad"] * 20))
    made = partial(LiveAccuracy, asked, value=0, doubt=0.5)
    assert made(known, p=0.044).dropped
    assert not made(known, p=0.046).dropped
    assert not made(verdicts(asked, labels(*["bad"] * 19)), p=0.001).dropped


@pytest.mark.story
@pytest.mark.parametrize(("texts", "size"), [(29, 29), (300, 200), (4_000, 40), (4_000, 400)])
@pytest.mark.parametrize(
    ("sureness", "flipped", "told"),
    [(1.267, 0.0, 0.0), (0.776, 0.0, 0.6), (1.267, 0.0657, 0.5)],
)
def test_intervals_hold_the_truth_and_drops_are_told_over_simulated_months(
    texts: int, size: int, sureness: float, flipped: float, told: float
) -> None:
    """Red if an interval is too narrow or too wide, an alarm comes by chance too often, or a drop stays hidden.

    The scores are calibrated, and about as spread as those of the recipe tuned. Then the version becomes surer or
    less sure, and some answers turn round; 0.776 and 0.0657 each cost 5 points of 88. Each month and its test of
    1,000 reviews are drawn anew. What is told of a version that was as good on its test split is a false alarm.
    """
    rng = np.random.default_rng(0)
    held = held_of_more = alarms = drops = 0
    accuracy = 0.5 + 0.5 * sureness / (sureness + 0.4)
    accuracy += flipped * (1 - 2 * accuracy)
    for _ in range(1_000):
        sure = 0.5 + 0.5 * rng.beta(sureness, 0.4, texts)
        right = (rng.random(texts) < sure) ^ (rng.random(texts) < flipped)
        strata = divided(sure)
        counts = allocated([len(part) for part in strata], size)
        chosen = [rng.choice(part, n, replace=False) for part, n in zip(strata, counts, strict=True)]
        value, doubt = stratified(
            [len(part) for part in strata], [int(right[one].sum()) for one in chosen], counts
        )
        low, high = interval(value, doubt)
        held += low - 0.501 / texts <= right.mean() <= high + 0.501 / texts
        low, high = interval(value, doubt + 1 / texts)
        held_of_more += low <= accuracy <= high
        for share in (accuracy, 0.88):
            hits = int(rng.binomial(1_000, share))
            tested = Tested(hits / 1_000, wilson(hits, 1_000)[0])
            alarm = chance(value, doubt + 1 / texts, tested, 0) < CHANCE
            alarms, drops = (alarms + alarm, drops) if share == accuracy else (alarms, drops + alarm)
    assert held / 1_000 >= 0.93 and 0.92 <= held_of_more / 1_000 <= 0.99
    assert alarms / 1_000 <= 0.06
    if size >= 200 and texts > 300:
        assert drops / 1_000 >= told
