"""Reviews that tests of baselines share."""

from dataclasses import replace

import numpy as np
import pytest

from sentiflow.data.reviews import Reviews
from sentiflow.training.recipes import TrainConfig

# ids 4 to 11: eight words, the first two of which give the label
CONFIG = TrainConfig(
    recipe="tiny", vocabulary_size=12, sequence_length=6, embedding_size=3, units=4, epochs=2, batch_size=8
)


def generated_reviews(n: int, seed: int, split: str = "train") -> Reviews:
    """Reviews of 2 to 8 ids whose label follows from one word: 4 in positive ones, 5 in negative ones."""
    rng = np.random.default_rng(seed)
    label = rng.permutation(np.arange(n) % 2).astype(np.int8)
    tokens = [
        np.array([1, 4 if positive else 5, *rng.integers(6, 12, rng.integers(0, 7))], np.int32)
        for positive in label
    ]
    return Reviews(np.array([f"{split}-{i}" for i in range(n)]), np.full(n, split), label, tokens)


def blurred(reviews: Reviews) -> Reviews:
    """Every fifth label turned, so that the strength of the penalty makes a difference."""
    label = reviews.label.copy()
    label[::5] = 1 - label[::5]
    return replace(reviews, label=label)


@pytest.fixture
def config() -> TrainConfig:
    return CONFIG
