"""Tests of the recurrence against a plain loop in float64, and of its gradients against finite differences."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from sentiflow.training.network.recurrence import Recurrence

WORDS, UNITS, STEPS = 9, 5, 7
Case = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], NDArray[np.int32]]


def case(reviews: int, seed: int = 0, units: int = UNITS, steps: int = STEPS) -> Case:
    """Inputs, bias, recurrent kernel and ids: reviews of every length, one of padding alone, one without any."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(WORDS, units)).astype(np.float32)
    bias = rng.normal(size=units).astype(np.float32)
    recurrent = rng.normal(0, 0.5, size=(units, units)).astype(np.float32)
    ids = rng.integers(1, WORDS, size=(reviews, steps)).astype(np.int32)
    for row, pads in zip(ids, rng.permutation(np.arange(reviews) % (steps + 1)), strict=True):
        row[:pads] = 0
    return inputs, bias, recurrent, ids


def plain(
    inputs: NDArray[np.floating],
    bias: NDArray[np.floating],
    recurrent: NDArray[np.floating],
    ids: NDArray[np.int32],
    *,
    masked: bool,
    mean: bool = False,
    backwards: bool = False,
) -> NDArray[np.float64]:
    states = np.zeros((len(ids), len(recurrent)))
    total = np.zeros_like(states)
    for column in reversed(ids.T) if backwards else ids.T:
        after = np.tanh(inputs.astype(np.float64)[column] + bias + states @ recurrent.astype(np.float64))
        word = (column != 0)[:, np.newaxis]
        states = np.where(word, after, states) if masked else after
        total += np.where(word, states, 0)
    return total / np.maximum((ids != 0).sum(axis=1, keepdims=True), 1) if mean else states


KINDS: dict[str, dict[str, bool]] = {
    "read": {"masked": False},
    "masked": {"masked": True},
    "mean": {"masked": True, "mean": True},
    "backwards": {"masked": True, "backwards": True},
    "mean backwards": {"masked": True, "mean": True, "backwards": True},
}
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


@every_kind
@pytest.mark.parametrize("reviews", [1, 2, 3, 8, 33])
def test_what_is_handed_on_is_that_of_a_plain_loop(reviews: int, kind: dict[str, bool]) -> None:
    inputs, bias, recurrent, ids = case(reviews)
    states = Recurrence(**kind).read(inputs, bias, recurrent, ids)
    np.testing.assert_allclose(states, plain(inputs, bias, recurrent, ids, **kind), atol=2e-6)


@every_kind
def test_zeros_between_and_behind_words_count_as_they_do_in_the_plain_loop(kind: dict[str, bool]) -> None:
    inputs, bias, recurrent, ids = case(16)
    ids[:, 2] = 0
    ids[3:9, -1] = 0
    states = Recurrence(**kind).read(inputs, bias, recurrent, ids)
    np.testing.assert_allclose(states, plain(inputs, bias, recurrent, ids, **kind), atol=2e-6)


def slopes(
    loss: Callable[[NDArray[np.float64]], float], at: NDArray[np.float32], step: float = 1e-5
) -> NDArray[np.float64]:
    """Central differences, one element at a time."""
    exact = at.astype(np.float64)
    found = np.empty_like(exact)
    for index in np.ndindex(*at.shape):
        up, down = exact.copy(), exact.copy()
        up[index] += step
        down[index] -= step
        found[index] = (loss(up) - loss(down)) / (2 * step)
    return found


@every_kind
@pytest.mark.parametrize("reviews", [1, 8, 21])
def test_gradients_are_the_slopes_of_the_plain_loop(reviews: int, kind: dict[str, bool]) -> None:
    """Red if a step, a review in its padding or the padding's own steps were left out of the way back."""
    inputs, bias, recurrent, ids = case(reviews)
    if reviews == 21:
        ids[5:10, 3] = 0  # padding where none belongs
    d_last = np.random.default_rng(4).normal(size=(reviews, UNITS)).astype(np.float32)
    recurrence = Recurrence(**kind)
    recurrence.read(inputs, bias, recurrent, ids)
    d_inputs, d_bias, d_recurrent = recurrence.gradients(d_last)
    np.testing.assert_allclose(
        d_inputs,
        slopes(lambda a: float((plain(a, bias, recurrent, ids, **kind) * d_last).sum()), inputs),
        atol=2e-5,
    )
    np.testing.assert_allclose(
        d_bias,
        slopes(lambda a: float((plain(inputs, a, recurrent, ids, **kind) * d_last).sum()), bias),
        atol=2e-5,
    )
    np.testing.assert_allclose(
        d_recurrent,
        slopes(lambda a: float((plain(inputs, bias, a, ids, **kind) * d_last).sum()), recurrent),
        atol=2e-5,
    )


@every_kind
def test_the_gradients_of_many_reviews_are_the_sums_of_each_ones(kind: dict[str, bool]) -> None:
    """Red if a product of several steps left one out: a review alone makes one product."""
    inputs, bias, recurrent, ids = case(64, steps=60)
    d_last = np.random.default_rng(4).normal(size=(64, UNITS)).astype(np.float32)
    recurrence = Recurrence(**kind)
    recurrence.read(inputs, bias, recurrent, ids)
    together = recurrence.gradients(d_last)
    alone = []
    for row in range(64):
        recurrence.read(inputs, bias, recurrent, ids[row : row + 1])
        alone.append(recurrence.gradients(d_last[row : row + 1]))
    for found, ones in zip(together, zip(*alone, strict=True), strict=True):
        np.testing.assert_allclose(found, np.sum(ones, axis=0, dtype=np.float64), rtol=1e-4, atol=1e-4)


@every_kind
def test_a_batch_does_not_depend_on_those_before_it(kind: dict[str, bool]) -> None:
    """Red if states left in the reused memory were read."""
    used, fresh = Recurrence(**kind), Recurrence(**kind)
    for reviews, seed in ((40, 1), (3, 2)):
        used.read(*case(reviews, seed))
        used.gradients(np.ones((reviews, UNITS), np.float32))
    batch, d_last = case(12, 3), np.ones((12, UNITS), np.float32)
    np.testing.assert_array_equal(used.read(*batch), fresh.read(*batch))
    for ours, theirs in zip(used.gradients(d_last), fresh.gradients(d_last), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@every_kind
def test_gradients_are_the_same_bit_for_bit_however_often(kind: dict[str, bool]) -> None:
    inputs, bias, recurrent, ids = case(64, units=32, steps=60)
    d_last = np.random.default_rng(4).normal(size=(64, 32)).astype(np.float32)
    recurrence = Recurrence(**kind)

    def both() -> list[bytes]:
        recurrence.read(inputs, bias, recurrent, ids)
        return [array.tobytes() for array in recurrence.gradients(d_last)]

    first = both()
    assert all(both() == first for _ in range(30))


@pytest.mark.parametrize("kind", [{"mean": True}, {"backwards": True}])
def test_a_mean_or_a_reading_backwards_of_padding_is_refused(kind: dict[str, bool]) -> None:
    with pytest.raises(ValueError, match="of words alone"):
        Recurrence(masked=False, **kind)


@pytest.mark.parametrize("wrong", [-1, WORDS])
def test_an_id_without_a_row_is_refused(wrong: int) -> None:
    inputs, bias, recurrent, ids = case(4)
    ids[2, 5] = wrong
    with pytest.raises(ValueError, match=f"ids must lie from 0 to {WORDS - 1}"):
        Recurrence(masked=False).read(inputs, bias, recurrent, ids)
