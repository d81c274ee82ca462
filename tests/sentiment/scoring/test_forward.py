"""Tests of the forward pass against a plain loop, one review and one step at a time."""

import importlib
import math
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sentiment.scoring import Weights, forward, pad

# The package exports a function of the same name, which hides the module.
module = importlib.import_module("sentiment.scoring.forward")

WORDS, STEPS = 12, 9
ARRAYS = [field.name for field in fields(Weights) if field.name != "mask_zero"]
REVIEWS = [[], [1], [1, 5, 2], [1, 4, 11, 6, 0, 7, 3, 9, 10], [1, 0, 0], [4] * 20, [1, 8, 8, 8, 8], [0, 0], [11]]


masked_or_not = pytest.mark.parametrize("mask_zero", [False, True], ids=["read", "masked"])


def random_weights(seed: int = 0, scale: float = 0.7, *, mask_zero: bool = False) -> Weights:
    rng = np.random.default_rng(seed)
    shapes = (WORDS, 4), (4, 5), (5, 5), (5,), (5, 1), (1,)
    arrays = (rng.normal(0, scale, shape).astype(np.float32) for shape in shapes)
    return Weights(*arrays, mask_zero=mask_zero)


def plain_loop(weights: Weights, ids: NDArray[np.int32]) -> list[float]:
    embedding, kernel, recurrent, bias, dense, dense_bias = (
        getattr(weights, name).astype(np.float64) for name in ARRAYS
    )
    scores = []
    for review in ids:
        state = np.zeros(len(bias))
        for i in review:
            if i == 0 and weights.mask_zero:
                continue
            state = np.tanh(embedding[i] @ kernel + state @ recurrent + bias)
        scores.append(1 / (1 + np.exp(-(state @ dense + dense_bias)[0])))
    return scores


@masked_or_not
@pytest.mark.parametrize("chunk", [1, 2, 3, 4, 8, 9, 10, 2_048])
def test_forward_equals_the_plain_loop_in_chunks_of_any_size(
    chunk: int, mask_zero: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows hold padding alone, full rows, cut rows, zeros between words, and equal lengths."""
    monkeypatch.setattr(module, "_CHUNK", chunk)
    weights, ids = random_weights(mask_zero=mask_zero), pad(REVIEWS, STEPS, WORDS)
    np.testing.assert_allclose(forward(weights, ids), plain_loop(weights, ids), rtol=0, atol=1e-14)


@masked_or_not
@pytest.mark.parametrize("seed", range(5))
def test_forward_equals_the_plain_loop_on_random_reviews(seed: int, mask_zero: bool) -> None:
    rng = np.random.default_rng(seed)
    ids = pad([rng.integers(0, WORDS, rng.integers(0, 14)).tolist() for _ in range(40)], STEPS, WORDS)
    weights = random_weights(seed, scale=1.5, mask_zero=mask_zero)
    np.testing.assert_allclose(forward(weights, ids), plain_loop(weights, ids), rtol=0, atol=1e-13)


@pytest.mark.parametrize("review", REVIEWS)
def test_a_single_review_equals_the_plain_loop(review: list[int]) -> None:
    ids = pad([review], STEPS, WORDS)
    np.testing.assert_allclose(
        forward(random_weights(), ids), plain_loop(random_weights(), ids), rtol=0, atol=1e-14
    )


def test_a_review_scores_the_same_alone_and_in_a_batch() -> None:
    ids = pad(REVIEWS, STEPS, WORDS)
    alone = np.concatenate([forward(random_weights(), ids[i : i + 1]) for i in range(len(ids))])
    np.testing.assert_allclose(forward(random_weights(), ids), alone, rtol=0, atol=1e-14)


def test_reviews_of_padding_alone_equal_the_plain_loop() -> None:
    ids = np.zeros((3, STEPS), np.int32)
    np.testing.assert_allclose(
        forward(random_weights(), ids), plain_loop(random_weights(), ids), rtol=0, atol=1e-14
    )


def test_one_step_worked_by_hand() -> None:
    # the word's input is 2 * 0.5 + 0.25, its state the tanh of it; the state before is 0
    expected = 1 / (1 + math.exp(-(3 * math.tanh(1.25) - 1)))
    one = [np.array(values, np.float32) for values in ([[0.0], [2.0]], [[0.5]], [[7.0]], [0.25], [[3.0]], [-1.0])]
    score = forward(Weights(*one), np.array([[1]], np.int32))
    assert score[0] == pytest.approx(expected, abs=1e-15)


def test_padding_is_read_like_a_word() -> None:
    """Red if padding were always left out: the same review, padded longer, would then score the same."""
    weights = random_weights()
    short, long = (forward(weights, pad([[1, 5, 6]], steps, WORDS))[0] for steps in (3, 4))
    assert abs(short - long) > 1e-6


def test_masked_padding_changes_nothing_however_long() -> None:
    weights = random_weights(mask_zero=True)
    short, long = (forward(weights, pad([[1, 5, 6]], steps, WORDS))[0] for steps in (3, 80))
    assert short == long


def test_an_error_in_one_of_many_chunks_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    """Red if a thread's failure were lost, and its reviews kept whatever stood in memory."""
    monkeypatch.setattr(module, "_CHUNK", 2)
    monkeypatch.setattr(module, "_read", lambda *_arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        forward(random_weights(), pad(REVIEWS, STEPS, WORDS))


def test_no_reviews_give_no_scores() -> None:
    assert forward(random_weights(), np.empty((0, STEPS), np.int32)).shape == (0,)


def test_scores_are_float64_of_one_axis() -> None:
    scores = forward(random_weights(), pad(REVIEWS, STEPS, WORDS))
    assert (scores.shape, scores.dtype) == ((len(REVIEWS),), np.float64)


@pytest.mark.parametrize(("bias", "score"), [(1e4, 1.0), (-1e4, 0.0)])
def test_extreme_logits_saturate_without_a_warning(bias: float, score: float) -> None:
    weights = replace(random_weights(), dense_bias=np.array([bias], np.float32))
    assert forward(weights, np.array([[1]], np.int32))[0] == score


@pytest.mark.parametrize("bad", [-1, WORDS])
def test_an_id_without_a_row_is_refused(bad: int) -> None:
    with pytest.raises(ValueError, match=rf"from 0 to {WORDS - 1}, got .*{bad}"):
        forward(random_weights(), np.array([[1, bad, 5]], np.int32))


@masked_or_not
def test_weights_survive_save_and_load(tmp_path: Path, mask_zero: bool) -> None:
    weights = random_weights(mask_zero=mask_zero)
    weights.save(tmp_path / "weights.npz")
    loaded = Weights.load(tmp_path / "weights.npz")
    for field in fields(Weights):
        np.testing.assert_array_equal(getattr(loaded, field.name), getattr(weights, field.name), strict=True)


@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_of_a_wrong_shape_is_refused(name: str) -> None:
    weights = random_weights()
    wrong = np.zeros(tuple(size + 1 for size in getattr(weights, name).shape), np.float32)
    with pytest.raises(ValueError, match="do not fit together"):
        replace(weights, **{name: wrong})


@pytest.mark.parametrize("name", ["embedding", "bias"])
def test_an_array_with_too_few_axes_is_refused(name: str) -> None:
    array = getattr(random_weights(), name)
    with pytest.raises(ValueError, match="do not fit together"):
        replace(random_weights(), **{name: array.reshape(-1)[0] if name == "bias" else array.reshape(-1)})


@pytest.mark.parametrize("name", [field.name for field in fields(Weights)])
def test_a_file_without_one_of_the_arrays_is_refused_by_name(tmp_path: Path, name: str) -> None:
    arrays = {field.name: getattr(random_weights(), field.name) for field in fields(Weights)}
    del arrays[name]
    np.savez(tmp_path / "weights.npz", **arrays)
    with pytest.raises(ValueError, match=rf"missing arrays \['{name}'\]"):
        Weights.load(tmp_path / "weights.npz")


def test_a_file_with_a_pickled_array_is_refused(tmp_path: Path) -> None:
    arrays = {field.name: getattr(random_weights(), field.name) for field in fields(Weights)}
    np.savez(tmp_path / "weights.npz", **{**arrays, "bias": arrays["bias"].astype(object)})
    with pytest.raises(ValueError, match="allow_pickle"):
        Weights.load(tmp_path / "weights.npz")


def damage_cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def damage_flip(content: bytes) -> bytes:
    return content[:200] + bytes([content[200] ^ 255]) + content[201:]


def damage_empty(_content: bytes) -> bytes:
    return b""


@pytest.mark.parametrize("damage", [damage_cut, damage_flip, damage_empty])
def test_a_damaged_file_is_refused(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    file = tmp_path / "weights.npz"
    random_weights().save(file)
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(ValueError, match=r"weights\.npz"):
        Weights.load(file)
