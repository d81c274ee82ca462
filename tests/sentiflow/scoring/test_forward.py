"""Tests of the forward pass against a plain loop, one review and one step at a time."""

import math
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sentiflow.scoring import Network, Weights, pad

WORDS, STEPS = 12, 9
ARRAYS = ["embedding", "kernel", "recurrent_kernel", "bias", "dense_kernel", "dense_bias"]
BACKWARD = ["backward_kernel", "backward_recurrent_kernel", "backward_bias"]
BLOCKS, TOGETHER = 0, 10**9
REVIEWS = [[], [1], [1, 5, 2], [1, 4, 11, 6, 0, 7, 3, 9, 10], [1, 0, 0], [4] * 20, [1, 8, 8, 8, 8], [0, 0], [11]]


KINDS: dict[str, dict[str, Any]] = {
    "read": {},
    "masked": {"mask_zero": True},
    "mean": {"mask_zero": True, "mean": True},
    "both ways": {"mask_zero": True, "both_ways": True},
    "mean both ways": {"mask_zero": True, "mean": True, "both_ways": True},
    "three members": {"mask_zero": True, "mean": True, "both_ways": True, "members": 3},
}
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
# Few reviews step through all recurrences together, many through one after the other, in blocks.
either_way = pytest.mark.parametrize("most", [BLOCKS, TOGETHER], ids=["in blocks", "together"], indirect=True)
every_masked_kind = pytest.mark.parametrize(
    "kind", [kind for kind in KINDS.values() if kind], ids=[name for name, kind in KINDS.items() if kind]
)


@pytest.fixture
def most(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many reviews step together at most."""
    monkeypatch.setattr(sys.modules["sentiflow.scoring.forward"], "MOST", request.param)
    return int(request.param)


def random_weights(
    seed: int = 0,
    scale: float = 0.7,
    *,
    mask_zero: bool = False,
    mean: bool = False,
    both_ways: bool = False,
    members: int = 1,
) -> Weights:
    rng = np.random.default_rng(seed)
    shapes = (WORDS, 4), (4, 5), (5, 5), (5,), (10 if both_ways else 5, 1), (1,)
    arrays = (rng.normal(0, scale, shape).astype(np.float32) for shape in shapes)
    backward = [rng.normal(0, scale, shape).astype(np.float32) for shape in shapes[1:4]] if both_ways else []
    settings = {"mask_zero": mask_zero, "mean": mean, "both_ways": both_ways}
    others = tuple(random_weights(seed + 100 + k, scale, **settings) for k in range(members - 1))
    return Weights(*arrays, mask_zero, *backward, pooling="mean" if mean else "last", others=others)


def random_ids(n: int, seed: int) -> NDArray[np.int32]:
    rng = np.random.default_rng(seed)
    return pad([rng.integers(0, WORDS, rng.integers(0, 14)).tolist() for _ in range(n)], STEPS, WORDS)


def plain_loop(weights: Weights, ids: NDArray[np.int32]) -> NDArray[np.float64]:
    return sum(plain_scores(member, ids) for member in weights.members) / len(weights.members)


def plain_scores(weights: Weights, ids: NDArray[np.int32]) -> NDArray[np.float64]:
    scores = []
    for review in ids:
        features = [plain_states(weights, review.tolist(), ARRAYS[1:4])]
        if weights.backward_kernel is not None:
            features.append(plain_states(weights, review.tolist()[::-1], BACKWARD))
        logit = np.concatenate(features) @ weights.dense_kernel.astype(np.float64) + weights.dense_bias
        scores.append(1 / (1 + np.exp(-logit[0])))
    return np.array(scores)


def plain_states(weights: Weights, review: list[int], names: list[str]) -> NDArray[np.float64]:
    """The last state, or the mean of the states after each word."""
    kernel, recurrent, bias = (getattr(weights, name).astype(np.float64) for name in names)
    states = [np.zeros(len(bias))]
    for i in review:
        if i == 0 and weights.mask_zero:
            continue
        states.append(np.tanh(weights.embedding[i].astype(np.float64) @ kernel + states[-1] @ recurrent + bias))
    return np.mean(states[1:] or states, axis=0) if weights.pooling == "mean" else states[-1]


@every_kind
@pytest.mark.parametrize("chunk", [1, 3, 8, 9, 2_048])
def test_forward_equals_the_plain_loop_in_chunks_of_any_size(
    chunk: int, kind: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows hold padding alone, full rows, cut rows, zeros between words, and equal lengths."""
    monkeypatch.setattr(sys.modules["sentiflow.scoring.forward"], "MOST", BLOCKS)
    monkeypatch.setattr(sys.modules["sentiflow.scoring.forward"], "_CHUNK", chunk)
    weights, ids = random_weights(**kind), pad(REVIEWS, STEPS, WORDS)
    np.testing.assert_allclose(Network(weights).score(ids), plain_loop(weights, ids), rtol=0, atol=1e-14)


@either_way
@every_kind
@pytest.mark.parametrize("seed", range(3))
def test_forward_equals_the_plain_loop_on_random_reviews(seed: int, most: int, kind: dict[str, Any]) -> None:
    weights, ids = random_weights(seed, scale=1.5, **kind), random_ids(40, seed)
    np.testing.assert_allclose(Network(weights).score(ids), plain_loop(weights, ids), rtol=0, atol=1e-13)


@every_kind
@pytest.mark.parametrize("n", [127, 128, 129, 259])
def test_more_reviews_than_a_block_holds_equal_the_plain_loop(n: int, kind: dict[str, Any]) -> None:
    """259 make three blocks of 87, filled up with two rows of padding."""
    weights, ids = random_weights(**kind), random_ids(n, n)
    np.testing.assert_allclose(Network(weights).score(ids), plain_loop(weights, ids), rtol=0, atol=1e-14)


@either_way
@every_kind
@pytest.mark.parametrize("review", REVIEWS)
def test_a_single_review_equals_the_plain_loop(review: list[int], most: int, kind: dict[str, Any]) -> None:
    weights, ids = random_weights(**kind), pad([review], STEPS, WORDS)
    np.testing.assert_allclose(Network(weights).score(ids), plain_loop(weights, ids), rtol=0, atol=1e-14)


@every_kind
def test_a_review_scores_the_same_alone_and_in_a_batch(kind: dict[str, Any]) -> None:
    weights, ids = random_weights(**kind), pad(REVIEWS, STEPS, WORDS)
    alone = np.concatenate([Network(weights).score(ids[i : i + 1]) for i in range(len(ids))])
    np.testing.assert_allclose(Network(weights).score(ids), alone, rtol=0, atol=1e-14)
    among_many = Network(weights).score(np.repeat(ids, 10, axis=0))[::10]
    np.testing.assert_allclose(among_many, alone, rtol=0, atol=1e-14)


def test_members_of_other_sizes_score_as_each_does() -> None:
    """Their states cannot be stepped together; red if few reviews were tried so all the same."""
    rng = np.random.default_rng(5)
    shapes = (WORDS, 4), (4, 3), (3, 3), (3,), (3, 1), (1,)
    small = Weights(*(rng.normal(0, 0.7, shape).astype(np.float32) for shape in shapes), mask_zero=True)
    weights = replace(random_weights(mask_zero=True), others=(small,))
    ids = pad(REVIEWS, STEPS, WORDS)
    np.testing.assert_allclose(Network(weights).score(ids), plain_loop(weights, ids), rtol=0, atol=1e-14)


@every_kind
def test_the_score_after_each_step_is_that_of_the_plain_loop_on_as_much(kind: dict[str, Any]) -> None:
    """Also over zeros between words; red if the way back were read once, from the end of the whole review."""
    weights, review = random_weights(**kind), pad([[1, 4, 11, 0, 0, 7, 3]], STEPS, WORDS)[0]
    expected = [plain_loop(weights, review[np.newaxis, :steps])[0] for steps in range(STEPS + 1)]
    np.testing.assert_allclose(Network(weights).score_steps(review), expected, rtol=0, atol=1e-14)


def test_one_step_worked_by_hand() -> None:
    # the word's input is 2 * 0.5 + 0.25, its state the tanh of it; the state before is 0
    expected = 1 / (1 + math.exp(-(3 * math.tanh(1.25) - 1)))
    arrays = [[0.0], [2.0], [9.0]], [[0.5]], [[7.0]], [0.25], [[3.0]], [-1.0]
    one = [np.array(values, np.float32) for values in arrays]
    score = Network(Weights(*one)).score(np.array([[1]], np.int32))
    assert score[0] == pytest.approx(expected, abs=1e-15)


def test_two_words_read_both_ways_and_averaged_worked_by_hand() -> None:
    """Words 1 and 2 add 0.5 and -1 before tanh; forwards half of the state stays, backwards a quarter."""
    there = [math.tanh(0.5)]
    there.append(math.tanh(-1 + 0.5 * there[0]))
    back = [math.tanh(-1)]
    back.append(math.tanh(0.5 + 0.25 * back[0]))
    expected = 1 / (1 + math.exp(-(2 * sum(there) / 2 + 3 * sum(back) / 2 - 0.5)))
    arrays = [[0.0], [0.5], [-1.0]], [[1.0]], [[0.5]], [0.0], [[2.0], [3.0]], [-0.5]
    backward = [[1.0]], [[0.25]], [0.0]
    one, other = ([np.array(values, np.float32) for values in group] for group in (arrays, backward))
    score = Network(Weights(*one, True, *other, pooling="mean")).score(np.array([[0, 0, 1, 2]], np.int32))
    assert score[0] == pytest.approx(expected, abs=1e-15)


def test_padding_is_read_like_a_word() -> None:
    """Red if padding were always left out: the same review, padded longer, would then score the same."""
    weights = random_weights()
    short, long = (Network(weights).score(pad([[1, 5, 6]], steps, WORDS))[0] for steps in (3, 4))
    assert abs(short - long) > 1e-6
    arrays = [getattr(weights, name) for name in ARRAYS]
    assert Network(Weights(*arrays)).score(pad([[1, 5, 6]], 4, WORDS))[0] == long  # without a word about masking


@every_masked_kind
def test_masked_padding_changes_nothing_however_long(kind: dict[str, Any]) -> None:
    weights = random_weights(**kind)
    short, long = (Network(weights).score(pad([[1, 5, 6]], steps, WORDS))[0] for steps in (3, 80))
    assert short == long


def test_an_error_in_one_of_many_chunks_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    """Red if a thread's failure were lost, and its reviews kept whatever stood in memory."""
    monkeypatch.setattr(sys.modules["sentiflow.scoring.forward"], "MOST", BLOCKS)
    monkeypatch.setattr(sys.modules["sentiflow.scoring.forward"], "_CHUNK", 2)
    monkeypatch.setattr(sys.modules["sentiflow.scoring.forward"], "_read", lambda *_arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        Network(random_weights()).score(pad(REVIEWS, STEPS, WORDS))


@pytest.mark.parametrize("bad", [-1, WORDS])
def test_an_id_without_a_row_is_refused(bad: int) -> None:
    network = Network(random_weights())
    with pytest.raises(ValueError, match=rf"from 0 to {WORDS - 1}, got .*{bad}"):
        network.score(np.array([[1, bad, 5]], np.int32))
    with pytest.raises(ValueError, match=rf"from 0 to {WORDS - 1}, got .*{bad}"):
        network.score_steps(np.array([1, bad, 5], np.int32))


@pytest.mark.parametrize(("quota", "found"), [("max 100000", 8), ("50000 100000", 1), ("250000 100000", 3)])
def test_a_containers_quota_of_processor_time_bounds_the_threads(
    quota: str, found: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Red if a container with the time of two cores on a machine of 64 starts 64 threads."""
    forward = sys.modules["sentiflow.scoring.forward"]
    (tmp_path / "cpu.max").write_text(f"{quota}\n")
    monkeypatch.setattr(forward, "_QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert forward.cores() == found
