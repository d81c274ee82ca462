import math

import numpy as np
import pytest

from sentiflow.baselines import fit
from sentiflow.baselines.simple import FitInput
from sentiflow.data.reviews import Reviews
from sentiflow.errors import UsageError
from sentiflow.training.recipes import TrainConfig


def labelled(*labels: int) -> Reviews:
    n = len(labels)
    tokens = [np.array([1, 4], np.int32)] * n
    return Reviews(np.array([f"r{i}" for i in range(n)]), np.full(n, "train"), np.array(labels, np.int8), tokens)


def test_every_review_is_scored_with_the_share_of_the_positive_ones(config: TrainConfig) -> None:
    fitted = fit("majority", FitInput(labelled(1, 1, 0, 1), labelled(1, 0), config, 0))
    assert fitted.score(labelled(0, 0, 1)).tolist() == [0.75] * 3
    assert fitted.parameters == 1
    # worked out by hand: one right at 0.75, one wrong
    assert fitted.val_accuracy == 0.5
    assert fitted.val_loss == pytest.approx(-(math.log(0.75) + math.log(0.25)) / 2)
    assert fitted.history == ()


@pytest.mark.parametrize("name", ["majority", "tfidf", "lstm"])
@pytest.mark.parametrize(
    ("training", "validation"),
    [(labelled(1, 1), labelled(1, 0)), (labelled(1, 0), labelled()), (labelled(), labelled(1))],
)
def test_parts_that_nothing_can_be_learnt_from_are_refused(
    name: str, training: Reviews, validation: Reviews, config: TrainConfig
) -> None:
    with pytest.raises(UsageError, match="training reviews of both labels"):
        fit(name, FitInput(training, validation, config, 0))
