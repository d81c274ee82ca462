"""Tests of the comparison, on few values worked out by hand, and by a second route."""

import math

import numpy as np
import pytest

from sentiflow.monitoring.drift import compare, holm, psi

TEN = np.arange(1.0, 11.0)
LIMITS = 0.2, 0.001  # PSI, p


def alike(seed: int, n: int) -> dict[str, np.ndarray]:
    """Values of texts, drawn as skewed and tied as real ones are."""
    rng = np.random.default_rng(seed)
    oov = np.where(rng.random(n) < 0.3, 0.0, rng.beta(2, 30, n))
    return {"oov": oov, "length": rng.lognormal(5, 0.6, n).round(), "score": rng.beta(0.3, 0.3, n)}


@pytest.mark.parametrize("now", [np.concatenate([TEN, TEN]), np.array([-100.0, 2, 3, 4, 5, 6, 7, 8, 9, 100])])
def test_the_same_shares_have_an_index_of_zero(now: np.ndarray) -> None:
    """Values beyond the reference belong to its outermost bins."""
    assert psi(TEN, now) == 0


def test_the_index_is_the_sum_over_deciles() -> None:
    # One in each decile before; now two in the first, none in the second, where half a text stands in.
    now = np.array([1.0, 1, 3, 4, 5, 6, 7, 8, 9, 10])
    assert psi(TEN, now) == pytest.approx((0.2 - 0.1) * math.log(0.2 / 0.1) + (0.05 - 0.1) * math.log(0.05 / 0.1))


def test_a_value_that_many_share_has_a_bin_of_its_own() -> None:
    # 80% at 5 before. A move to just below or just above it must show.
    before = np.array([1.0] + [5.0] * 8 + [9.0])
    assert psi(before, before) == 0
    for moved in (4.9, 5.1):
        assert psi(before, np.where(before == 5, moved, before)) > 1


def test_a_reference_of_one_value_tells_it_from_all_others() -> None:
    zeros = np.zeros(1_000)
    assert psi(zeros, np.zeros(200)) == 0
    # All of it in one bin before, half of it now; in the other half a text of 1,000 stands in.
    half = np.array([0.0, 0.1] * 100)
    assert psi(zeros, half) == pytest.approx(-0.5 * math.log(0.5) + (0.5 - 0.0005) * math.log(0.5 / 0.0005))


def test_p_values_are_corrected_for_how_many_there_are() -> None:
    # The smallest times 3, the next times 2, and none below one before it.
    assert holm({"a": 0.01, "b": 0.3, "c": 0.012}) == pytest.approx({"a": 0.03, "b": 0.3, "c": 0.03})
    assert holm({"a": 0.9, "b": 0.8, "c": 0.7}) == {"a": 1, "b": 1, "c": 1}


def test_both_limits_must_be_passed() -> None:
    before = alike(0, 20_000)
    far = {name: values[:25] for name, values in alike(1, 25).items()} | {"score": np.full(25, 0.5)}
    (score,) = (each for each in compare(before, far, *LIMITS) if each.name == "score")
    assert score.psi >= 0.2 and score.p < 0.001 and score.drifted
    for limits in ((100, 0.001), (0.2, 1e-300)):
        (score,) = (each for each in compare(before, far, *limits) if each.name == "score")
        assert not score.drifted


@pytest.mark.parametrize("n", [20, 200, 5_000])
def test_texts_of_the_same_kind_alarm_in_none_of_50_checks(n: int) -> None:
    before = alike(1_000, 20_000)
    checks = [compare(before, alike(seed, n), *LIMITS) for seed in range(50)]
    assert sum(feature.drifted for check in checks for feature in check) == 0
