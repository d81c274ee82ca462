"""Tests of training, on reviews of a few words."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import numpy as np
import pytest

from sentiment import training as module
from sentiment.data.reviews import Reviews
from sentiment.errors import UsageError
from sentiment.history import Epoch
from sentiment.model import build, weights_of
from sentiment.progress import Advance
from sentiment.recipes import TrainConfig
from sentiment.scoring import Weights
from sentiment.training import Trained, train

TINY = TrainConfig(
    recipe="tiny", vocabulary_size=20, sequence_length=6, embedding_size=4, units=4, batch_size=8, epochs=2
)


def toy_reviews(n: int, seed: int) -> Reviews:
    """Random reviews with random labels: only by heart can they be told apart."""
    rng = np.random.default_rng(seed)
    tokens = [np.array([1, *rng.integers(4, 20, rng.integers(2, 8))], np.int32) for _ in range(n)]
    label = rng.permutation(np.arange(n) % 2).astype(np.int8)
    return Reviews(np.array([f"r{i}" for i in range(n)]), np.full(n, "train"), label, tokens)


LEARNT, HELD_BACK = toy_reviews(20, 1), toy_reviews(8, 2)


def same(one: Trained, other: Trained) -> bool:
    a, b = weights_of(one.network), weights_of(other.network)
    return all(np.array_equal(getattr(a, field.name), getattr(b, field.name)) for field in fields(Weights))


@dataclass
class Observed:
    trained: Trained
    told: list[Epoch]
    bars: list[tuple[str, int, int]]


@pytest.fixture(scope="module")
def observed() -> Observed:
    """A training with seed 5, and what it told on its way."""
    told: list[Epoch] = []
    bars: list[tuple[str, int, int]] = []

    @contextlib.contextmanager
    def bar(description: str, total: int) -> Iterator[Advance]:
        steps: list[int] = []
        yield steps.append
        bars.append((description, total, sum(steps)))

    return Observed(train(LEARNT, HELD_BACK, TINY, 5, told.append, bar), told, bars)


def test_the_same_seed_gives_the_same_weights(observed: Observed) -> None:
    assert same(observed.trained, train(LEARNT, HELD_BACK, TINY, 5))


def test_another_seed_gives_other_weights(observed: Observed) -> None:
    assert not same(observed.trained, train(LEARNT, HELD_BACK, TINY, 6))


def test_validation_labels_do_not_reach_the_weights(observed: Observed) -> None:
    flipped = replace(HELD_BACK, label=(1 - HELD_BACK.label).astype(np.int8))
    assert same(observed.trained, train(LEARNT, flipped, TINY, 5))


def test_training_labels_reach_the_weights(observed: Observed) -> None:
    """The counterpart of the test above: red if nothing at all is learnt from."""
    flipped = replace(LEARNT, label=(1 - LEARNT.label).astype(np.int8))
    assert not same(observed.trained, train(flipped, HELD_BACK, TINY, 5))


def test_on_epoch_is_told_each_epoch_of_the_history_in_order(observed: Observed) -> None:
    assert tuple(observed.told) == observed.trained.history


def test_epochs_are_numbered_from_one(observed: Observed) -> None:
    assert [epoch.number for epoch in observed.trained.history] == [1, 2]


def test_validation_figures_of_the_last_epoch_are_those_of_the_returned_network(observed: Observed) -> None:
    """Red if validation were measured on other reviews, or before the epoch's last step."""
    scores = observed.trained.network.predict(HELD_BACK.padded(6, 20), verbose=0)[:, 0].astype(np.float64)
    right = np.where(HELD_BACK.label == 1, scores, 1 - scores)
    last = observed.trained.history[-1]
    assert (last.val_loss, last.val_accuracy) == pytest.approx(
        (-np.log(right).mean(), (right > 0.5).mean()), abs=1e-5
    )


def test_learning_rate_of_an_epoch_is_the_recipes(observed: Observed) -> None:
    assert [epoch.learning_rate for epoch in observed.trained.history] == pytest.approx([0.001, 0.001])


def test_speed_counts_the_training_reviews_alone(observed: Observed) -> None:
    epoch = observed.trained.history[0]
    assert epoch.reviews_per_second * epoch.seconds == pytest.approx(20)


def test_seconds_of_the_training_hold_those_of_its_epochs(observed: Observed) -> None:
    assert observed.trained.seconds >= sum(epoch.seconds for epoch in observed.trained.history) > 0


def test_progress_has_a_bar_an_epoch_and_a_step_a_batch(observed: Observed) -> None:
    # 20 reviews in batches of 8: 8, 8 and 4
    assert observed.bars == [("epoch 1/2", 3, 3), ("epoch 2/2", 3, 3)]


def test_the_network_learns_32_reviews_by_heart() -> None:
    reviews = toy_reviews(32, 3)
    config = TINY.model_copy(update={"epochs": 40, "learning_rate": 0.03, "units": 16, "embedding_size": 16})
    trained = train(reviews, HELD_BACK, config, 1)
    scores = trained.network.predict(reviews.padded(6, 20), verbose=0)[:, 0]
    assert ((scores > 0.5) == reviews.label).all()


@pytest.mark.parametrize(
    "optimizer",
    [
        "rmsprop",
        "adam",
        "sgd",
    ],
)
def test_a_loss_that_is_no_number_ends_the_training_with_a_hint(
    monkeypatch: pytest.MonkeyPatch, optimizer: str
) -> None:
    def broken(config: TrainConfig) -> object:
        network = build(config)
        network.set_weights([np.full(array.shape, np.nan) for array in network.get_weights()])
        return network

    monkeypatch.setattr(module, "build", broken)
    with pytest.raises(UsageError, match=r"diverged.* epoch 1\.\nLower learning_rate, now 0\.001\."):
        train(LEARNT, HELD_BACK, TINY.model_copy(update={"optimizer": optimizer}), 5)


def test_an_open_progress_bar_is_closed_when_the_training_fails() -> None:
    closed = []

    @contextlib.contextmanager
    def bar(description: str, _total: int) -> Iterator[Advance]:
        def advance(_step: int) -> None:
            raise OSError("the terminal is gone")

        yield advance
        closed.append(description)

    with pytest.raises(OSError, match="the terminal is gone"):
        train(LEARNT, HELD_BACK, TINY, 5, progress=bar)
    assert closed == ["epoch 1/2"]


@pytest.mark.parametrize(
    ("training", "validation", "name"),
    [(toy_reviews(0, 1), HELD_BACK, "training"), (LEARNT, toy_reviews(0, 1), "validation")],
)
def test_an_empty_split_is_refused_by_name(training: Reviews, validation: Reviews, name: str) -> None:
    with pytest.raises(UsageError, match=f"The {name} split is empty"):
        train(training, validation, TINY, 5)
