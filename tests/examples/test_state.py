import numpy as np
import pytest

from examples import state
from sentiflow.scoring import Network, TextScorer, Vocabulary, Weights

UNITS = 4


def weights(seed: int = 0, *, mask_zero: bool = False) -> Weights:
    draw = np.random.default_rng(seed).normal
    shapes = (9, 3), (3, UNITS), (UNITS, UNITS), (UNITS,), (UNITS, 1), (1,)
    return Weights(*(draw(0, 0.7, shape).astype(np.float32) for shape in shapes), mask_zero=mask_zero)


def test_scores_step_by_step_are_those_of_the_product() -> None:
    ids = np.array([0, 0, 1, 7, 4, 8], np.int32)
    by_hand = state.score(weights(), state.read(weights(), ids))
    assert by_hand == pytest.approx(Network(weights()).score_steps(ids)[1:], abs=1e-6)


def test_the_reach_is_how_much_the_output_moves_with_a_state() -> None:
    """By finite differences: each state is moved a little, and the rest is read from there."""
    of, ids = weights(1), np.array([1, 5, 4, 8, 6])
    states = state.read(of, ids)

    def output(step: int, moved: np.ndarray) -> float:
        for word in of.embedding[ids[step + 1 :]].astype(float):
            moved = np.tanh(word @ of.kernel + moved @ of.recurrent_kernel + of.bias)
        return float(moved @ of.dense_kernel[:, 0])

    nudges = 1e-6 * np.eye(UNITS)
    lengths = [
        np.linalg.norm([(output(t, each + n) - output(t, each - n)) / 2e-6 for n in nudges])
        for t, each in enumerate(states)
    ]
    assert state.reach(of, states) == pytest.approx(np.array(lengths) / lengths[-1], rel=1e-6)


@pytest.mark.parametrize(
    ("mask_zero", "known", "read"),
    [(False, [1, 5], [0, 0, 1, 5]), (True, [1, 5], [1, 5]), (False, [1, 5, 99, 4, 6], [5, 2, 4, 6])],
)
def test_ids_are_read_as_the_network_reads_them(mask_zero: bool, known: list[int], read: list[int]) -> None:
    scorer = TextScorer(weights(mask_zero=mask_zero), Vocabulary(["a", "b"]), 4)
    assert state.padded(scorer, known).tolist() == read
