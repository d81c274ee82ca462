"""What a training at chance says of its likely causes."""

from types import SimpleNamespace

import numpy as np
import pytest

from sentiflow.data.reviews import Reviews
from sentiflow.pipeline.steps import _at_chance
from sentiflow.training.recipes import load_recipe
from sentiflow.training.start_from import Start

NOTHING, BASE = Start(), Start(name="base")


def reviews(learnt: int, tested: int) -> Reviews:
    n = learnt + tested
    label = (np.arange(n) % 2).astype(np.int8)
    split = np.repeat(["train", "test"], [learnt, tested])
    return Reviews(np.arange(n).astype(str), split, label, [np.array([1], np.int32)] * n)


@pytest.mark.parametrize(
    ("changes", "learnt", "tested", "start", "causes"),
    [
        (["optimizer=sgd"], 5_000, 200, NOTHING, ["0.001 is small for sgd"]),
        (["optimizer=sgd", "learning_rate=0.5"], 5_000, 200, NOTHING, ["0.5 is large for sgd"]),
        (["learning_rate=0.05"], 5_000, 200, NOTHING, ["0.05 is large for rmsprop"]),
        ([], 500, 100, NOTHING, ["500 reviews are few to learn from"]),
        ([], 500, 40, BASE, ["40 test reviews are few"]),
        (["optimizer=sgd"], 500, 200, NOTHING, ["small for sgd", "500 reviews"]),
        ([], 5_000, 200, NOTHING, []),
        (["learning_rate=0.01"], 500, 100, BASE, []),
    ],
)
def test_causes_are_those_that_the_recipe_and_the_data_show(
    changes: list[str], learnt: int, tested: int, start: Start, causes: list[str]
) -> None:
    run = SimpleNamespace(config=load_recipe("tutorial", changes), start=start)
    told = _at_chance(run, reviews(learnt, tested), np.full(tested, 0.4))  # type: ignore[arg-type]
    assert told.startswith("Not clearly better than one answer for all") and all(cause in told for cause in causes)
    assert told.count(";") == max(len(causes) - 1, 0) and ("Likely cause: " in told) == bool(causes)
    assert _at_chance(run, reviews(learnt, tested), np.arange(tested) % 2 * 0.8) == ""  # type: ignore[arg-type]
