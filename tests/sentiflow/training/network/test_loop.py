"""Tests of training, on reviews of a few words."""

import contextlib
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256

import keras
import numpy as np
import pytest
import tensorflow as tf

from sentiflow import signals
from sentiflow.console import Advance
from sentiflow.data.reviews import Reviews
from sentiflow.errors import ExternalError, UsageError
from sentiflow.evaluation.scores import Epoch
from sentiflow.scoring import Weights
from sentiflow.training.network import loop as module
from sentiflow.training.network.fast import FastNetwork
from sentiflow.training.network.loop import Trained, train
from sentiflow.training.network.model import build, weights_of
from sentiflow.training.recipes import TUNED, TrainConfig
from tests.world import ROOT

TINY = TrainConfig(
    recipe="tiny", vocabulary_size=20, sequence_length=6, embedding_size=4, units=4, batch_size=8, epochs=2
)

# Whatever a step changes besides the weights: the optimizer's memory, averages, the seeds of dropout.
CAREFUL = {
    "optimizer": "adam", "learning_rate_schedule": "cosine", "ema_momentum": 0.9, "dropout": 0.5,
    "vocabulary_dropout": 0.2, "mask_zero": True, "bidirectional": True, "ensemble_size": 2,
}  # fmt: skip


def toy_reviews(n: int, seed: int, words: int = 20, longest: int = 8) -> Reviews:
    """Random reviews with random labels: only by heart can they be told apart."""
    rng = np.random.default_rng(seed)
    tokens = [np.array([1, *rng.integers(4, words, rng.integers(2, longest))], np.int32) for _ in range(n)]
    label = rng.permutation(np.arange(n) % 2).astype(np.int8)
    return Reviews(np.array([f"r{i}" for i in range(n)]), np.full(n, "train"), label, tokens)


LEARNT, HELD_BACK = toy_reviews(20, 1), toy_reviews(8, 2)


def steps_at_once(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    monkeypatch.setattr(module, "steps_at_once", lambda _config: steps)
    monkeypatch.setattr(module, "_IDLE", {})  # what is compiled for others


def same(one: Trained, other: Trained) -> bool:
    a, b = weights_of(one.network), weights_of(other.network)
    return all(np.array_equal(x, y) for x, y in zip(arrays_of(a), arrays_of(b), strict=True))


def arrays_of(weights: Weights) -> list[np.ndarray]:
    return [value for value in weights.entries().values() if value.dtype == np.float32]


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


FULL = TINY.model_copy(
    update={
        "mask_zero": True, "optimizer": "adam", "learning_rate": 0.03, "learning_rate_schedule": "cosine",
        "global_clipnorm": 1.0, "vocabulary_dropout": 0.3, "dropout": 0.3, "ema_momentum": 0.8,
        "early_stopping_patience": 3, "epochs": 30,
    }
)  # fmt: skip


def test_the_same_seed_gives_the_same_weights_with_everything_random_in_use() -> None:
    one, other = trained_once(FULL), train(LEARNT, HELD_BACK, FULL, 5)
    assert same(one, other)
    assert without_times(one.history) == without_times(other.history)


@cache
def trained_once(config: TrainConfig) -> Trained:
    """A training with seed 5, for tests that only look at it."""
    return train(LEARNT, HELD_BACK, config, 5)


SIDE_BY_SIDE = FULL.model_copy(update={"bidirectional": True, "pooling": "mixed", "ensemble_size": 2, "epochs": 5})


@pytest.mark.story
def test_the_same_seed_gives_the_same_weights_of_members_and_directions() -> None:
    one, other = trained_once(SIDE_BY_SIDE), train(LEARNT, HELD_BACK, SIDE_BY_SIDE, 5)
    assert same(one, other)
    assert measured(one, SIDE_BY_SIDE) == pytest.approx(kept_figures(one), abs=1e-5)


def test_members_go_through_all_reviews_in_orders_of_their_own_and_anew_each_time() -> None:
    config = SIDE_BY_SIDE.model_copy(update={"batch_size": 8})
    mixed = module.batches(LEARNT, config, mixed=3)
    whole = sorted(row.tobytes() for row in LEARNT.padded(6, 20))
    orders = []
    for _ in range(2):
        ids, labels = (np.concatenate(parts, axis=1) for parts in zip(*mixed.as_numpy_iterator(), strict=True))
        assert (ids.shape, labels.shape) == ((2, 20, 6), (2, 20))
        assert all(sorted(row.tobytes() for row in member) == whole for member in ids)
        orders += [member.tobytes() for member in ids]
    assert len(set(orders)) == 4


@pytest.mark.story
@pytest.mark.weekly
def test_another_process_trains_the_same_weights() -> None:
    assert digest_of(TUNED) == digest_elsewhere(TUNED)


def digest_of(recipe: TrainConfig) -> str:
    reviews = toy_reviews(700, 1, words=10_000, longest=700)
    return weights_digest(train(reviews, HELD_BACK, recipe.model_copy(update={"epochs": 2}), 5))


def weights_digest(trained: Trained) -> str:
    return sha256(b"".join(array.tobytes() for array in trained.network.get_weights())).hexdigest()


def digest_elsewhere(recipe: TrainConfig) -> str:
    code = (
        "from tests.sentiflow.training.network.test_loop import digest_of\n"
        "from sentiflow.training.recipes import RECIPES\n"
        f"print(digest_of(RECIPES[{recipe.recipe!r}]))"
    )
    return printed_by(code)


def printed_by(code: str) -> str:
    """What code prints in a process of its own."""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.story
def test_a_recipe_is_compiled_once_and_nothing_of_a_training_reaches_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Red if weights, the optimizer's memory, its count of steps or what dropout draws were those of the last."""
    config, compiled = FULL.model_copy(update={"units": 5}), []
    step = FastNetwork.train_step

    def counted(self: FastNetwork, data: object) -> object:
        compiled.append(self)  # called while it is compiled alone
        return step(self, data)

    monkeypatch.setattr(FastNetwork, "train_step", counted)
    first, other, again = (train(LEARNT, HELD_BACK, config, seed) for seed in (5, 6, 5))
    assert len(set(compiled)) == 1
    assert same(first, again) and not same(first, other)
    assert without_times(first.history) == without_times(again.history)


@pytest.mark.story
def test_neither_an_interrupted_training_nor_the_process_s_random_numbers_reach_the_next() -> None:
    """Red if another thread that draws a number, as Prefect's do, gave other weights."""

    def interrupt(epoch: Epoch) -> None:
        raise KeyboardInterrupt

    first = trained_once(FULL)
    with pytest.raises(KeyboardInterrupt):
        train(LEARNT, HELD_BACK, FULL, 6, interrupt)  # with the core that the next one takes
    keras.utils.set_random_seed(99)
    assert same(first, train(LEARNT, HELD_BACK, FULL, 5))


def without_times(history: tuple[Epoch, ...]) -> list[Epoch]:
    return [replace(epoch, seconds=0, reviews_per_second=0) for epoch in history]


def test_patience_ends_the_training_and_restores_the_epoch_of_the_lowest_validation_loss() -> None:
    """The labels are random: what is learnt by heart makes the held back reviews worse, soon and for good."""
    trained = trained_once(FULL)
    losses = [epoch.val_loss for epoch in trained.history]
    assert trained.kept.number == int(np.argmin(losses)) + 1
    assert len(losses) == trained.kept.number + FULL.early_stopping_patience < FULL.epochs
    assert measured(trained, FULL) == pytest.approx(kept_figures(trained), abs=1e-5)


@pytest.mark.parametrize("backend", ["numba", pytest.param("keras", marks=pytest.mark.story)])
def test_the_average_of_the_weights_is_what_is_measured_and_kept(backend: str) -> None:
    """Red if the last step's weights were returned, or measured: an average this slow has hardly moved."""
    config = TINY.model_copy(
        update={"backend": backend, "ema_momentum": 0.999, "learning_rate": 0.1, "optimizer": "adam", "epochs": 3}
    )
    trained = train(LEARNT, HELD_BACK, config, 5)
    assert measured(trained, config) == pytest.approx(kept_figures(trained), abs=1e-5)
    moved = train(LEARNT, HELD_BACK, config.model_copy(update={"ema_momentum": 0.0}), 5)
    first = build_with_seed(config, 5)
    assert distance(trained, first) < 0.3 * distance(moved, first)


def build_with_seed(config: TrainConfig, seed: int) -> Weights:
    return weights_of(build(config, seed))


def distance(trained: Trained, start: Weights) -> float:
    return float(np.abs(weights_of(trained.network).embedding - start.embedding).max())


def measured(trained: Trained, config: TrainConfig) -> tuple[float, float]:
    """Validation loss and accuracy of the returned network, worked out here."""
    ids = HELD_BACK.padded(config.sequence_length, config.vocabulary_size)
    scores = trained.network.predict(ids, verbose=0)[:, 0].astype(np.float64)
    right = np.where(HELD_BACK.label == 1, scores, 1 - scores)
    return -np.log(right).mean(), (right > 0.5).mean()


def kept_figures(trained: Trained) -> tuple[float, float]:
    return trained.kept.val_loss, trained.kept.val_accuracy


def test_a_cosine_lowers_the_rate_epoch_by_epoch_to_nothing() -> None:
    config = TINY.model_copy(update={"learning_rate_schedule": "cosine", "epochs": 4})
    rates = [epoch.learning_rate for epoch in train(LEARNT, HELD_BACK, config, 5).history]
    # half a turn of the cosine in four parts
    assert rates == pytest.approx(
        [0.001 * (1 + np.cos(np.pi * part)) / 2 for part in (0.25, 0.5, 0.75, 1)], abs=1e-8
    )


def test_the_network_that_leaves_has_stock_layers_alone_and_no_optimizer() -> None:
    network = trained_once(FULL).network
    stock = [keras.layers.Embedding, keras.layers.SimpleRNN, keras.layers.Dense]
    assert [type(layer) for layer in network.layers] == stock
    assert not network.compiled


@pytest.mark.parametrize(
    "kind",
    [{}, pytest.param({"mask_zero": True, "bidirectional": True, "pooling": "mean"}, marks=pytest.mark.story)],
    ids=["plain", "mean both ways"],
)
def test_both_cores_train_alike(kind: dict[str, object]) -> None:
    """By plain gradient descent, where Keras's treatment of repeated words makes no difference (decision 0005)."""
    config = TINY.model_copy(update={"optimizer": "sgd", "learning_rate": 0.5, "epochs": 5, **kind})
    fast, stock = (
        weights_of(train(LEARNT, HELD_BACK, config.model_copy(update={"backend": backend}), 5).network)
        for backend in ("numba", "keras")
    )
    for one, other in zip(arrays_of(fast), arrays_of(stock), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)


def test_validation_labels_do_not_reach_the_weights(observed: Observed) -> None:
    flipped = replace(HELD_BACK, label=(1 - HELD_BACK.label).astype(np.int8))
    assert same(observed.trained, train(LEARNT, flipped, TINY, 5))


def test_a_training_tells_its_epochs_in_order_with_its_figures(observed: Observed) -> None:
    """Red if validation were measured on other reviews, or before the epoch's last step."""
    trained = observed.trained
    assert tuple(observed.told) == trained.history
    assert [epoch.number for epoch in trained.history] == [1, 2]
    assert [epoch.learning_rate for epoch in trained.history] == pytest.approx([0.001, 0.001])
    assert trained.kept.number == 2  # without patience the last
    assert measured(trained, TINY) == pytest.approx(kept_figures(trained), abs=1e-5)
    first = trained.history[0]
    assert first.reviews_per_second * first.seconds == pytest.approx(20)  # those that are learnt from
    assert trained.seconds >= sum(epoch.seconds for epoch in trained.history) > 0
    assert observed.bars == [("epoch 1/2", 3, 3), ("epoch 2/2", 3, 3)]  # 20 reviews in batches of 8: 8, 8 and 4


@pytest.mark.parametrize("config", [TINY, TINY.model_copy(update=CAREFUL)], ids=["plain", "careful"])
@pytest.mark.story
def test_steps_made_at_once_give_the_weights_of_steps_made_one_by_one(
    monkeypatch: pytest.MonkeyPatch, config: TrainConfig
) -> None:
    """Red if a step began before the one ahead of it was done, or the last steps of an epoch were left out."""
    many = toy_reviews(8 * 10 + 3, 3)  # 11 steps an epoch, 4 at a time
    trained = []
    for steps in (1, 4):
        steps_at_once(monkeypatch, steps)
        trained.append(train(many, HELD_BACK, config, 5))
    one, other = trained
    assert same(one, other)
    assert without_times(one.history) == without_times(other.history)


def test_the_network_learns_32_reviews_by_heart() -> None:
    reviews = toy_reviews(32, 3)
    sizes = {"epochs": 10, "learning_rate": 0.03, "units": 16, "embedding_size": 16}
    often = reviews.take(np.tile(np.arange(32), 4))  # an epoch costs more than its few batches
    config = TINY.model_copy(update=sizes)
    trained = train(often, HELD_BACK, config, 1)
    scores = trained.network.predict(reviews.padded(6, 20), verbose=0)[:, 0]
    assert ((scores > 0.5) == reviews.label).all()


@pytest.mark.parametrize(
    ("optimizer", "backend"),
    [("rmsprop", "numba"), pytest.param("sgd", "keras", marks=pytest.mark.story)],
)
def test_a_loss_that_is_no_number_ends_the_training_with_a_hint(
    monkeypatch: pytest.MonkeyPatch, optimizer: str, backend: str
) -> None:
    def broken(config: TrainConfig, seed: int) -> object:
        network = build(config, seed)
        network.set_weights([np.full(array.shape, np.nan) for array in network.get_weights()])
        return network

    monkeypatch.setattr(module, "build", broken)
    with pytest.raises(UsageError, match=r"diverged.* epoch 1\.\nLower learning_rate, now 0\.001, or"):
        train(LEARNT, HELD_BACK, TINY.model_copy(update={"optimizer": optimizer, "backend": backend}), 5)


class PoisonedLast(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that is no number in the last step of a training."""

    def __init__(self, last: int) -> None:
        self.last = last

    def __call__(self, step: object) -> object:
        return keras.ops.where(step == self.last, float("nan"), 0.01)


@pytest.mark.parametrize("patience", [0, 5])
def test_weights_spoilt_by_the_very_last_step_are_no_model(monkeypatch: pytest.MonkeyPatch, patience: int) -> None:
    """Red if only the losses of batches were looked at, which are computed before each step."""
    last = 2 * 3 - 1  # 20 reviews in batches of 8, two epochs
    monkeypatch.setattr(module, "optimizer", lambda _config, _steps: keras.optimizers.SGD(PoisonedLast(last)))
    with pytest.raises(UsageError, match=r"diverged.* epoch 2\."):
        train(LEARNT, HELD_BACK, TINY.model_copy(update={"early_stopping_patience": patience}), 5)


@pytest.mark.parametrize("error", [MemoryError(), tf.errors.ResourceExhaustedError(None, None, "")])
def test_a_training_that_memory_is_too_short_for_says_what_to_lower(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def exhausted(*_: object) -> None:
        raise error

    monkeypatch.setattr(module, "run_epochs", exhausted)
    with pytest.raises(UsageError, match=r"more memory than there is\.\nLower batch_size, now 8, "):
        train(LEARNT, HELD_BACK, TINY, 5)


@pytest.mark.parametrize(
    ("training", "validation", "name"),
    [(toy_reviews(0, 1), HELD_BACK, "training"), (LEARNT, toy_reviews(0, 1), "validation")],
)
def test_an_empty_split_is_refused_by_name(training: Reviews, validation: Reviews, name: str) -> None:
    with pytest.raises(UsageError, match=f"The {name} split is empty"):
        train(training, validation, TINY, 5)


@pytest.mark.parametrize("conversion", [0, 7, 10])  # of a batch, of a validation batch, of the epoch
def test_an_interrupt_that_keras_ignores_ends_the_training_all_the_same(
    monkeypatch: pytest.MonkeyPatch, conversion: int
) -> None:
    """Keras converts the values of a batch and of an epoch within a bare ``except``."""
    convert, calls = keras.src.backend.convert_to_numpy, []

    def interrupt(value: object) -> object:
        if (
            sys._getframe(1).f_code.co_name == "pythonify_logs"
            and threading.current_thread() is threading.main_thread()
        ):
            calls.append(value)
            if len(calls) == conversion + 1:
                raise KeyboardInterrupt
        return convert(value)

    monkeypatch.setattr(keras.src.backend, "convert_to_numpy", interrupt)
    steps_at_once(monkeypatch, 1)
    with pytest.raises(KeyboardInterrupt):
        train(LEARNT, HELD_BACK, TINY, 0)


@pytest.mark.parametrize("thread", [False, True])
def test_a_signal_whose_exception_is_lost_ends_the_training_all_the_same(
    monkeypatch: pytest.MonkeyPatch, thread: bool
) -> None:
    """While a step is traced, TensorFlow's C++ code drops what a handler raises; threads are not interrupted."""
    monkeypatch.setattr(signals, "_seen", [])
    epochs = []

    def signal_comes(epoch: Epoch) -> None:
        epochs.append(epoch)
        signals._seen.append(signal.SIGINT)

    def run() -> None:
        train(LEARNT, HELD_BACK, TINY.model_copy(update={"epochs": 3}), 0, signal_comes)

    with ThreadPoolExecutor(1) as pool, pytest.raises(ExternalError if thread else KeyboardInterrupt):
        pool.submit(run).result() if thread else run()
    assert len(epochs) == 1


THIRTY = """
import psutil
from sentiflow.training.network.loop import train
from sentiflow.training.recipes import RECIPES
from tests.sentiflow.training.network.test_loop import toy_reviews
reviews = toy_reviews(200, 1, words=9_000, longest=60), toy_reviews(100, 2, words=9_000, longest=60)
for recipe in ("tutorial", "tuned"):
    config = RECIPES[recipe].model_copy(update={"epochs": 1, "sequence_length": 40})
    for seed in range(31):
        train(*reviews, config, seed)
        if not seed:
            first = psutil.Process().memory_info().rss
    print((psutil.Process().memory_info().rss - first) // 1_000_000)
"""


@pytest.mark.story
@pytest.mark.weekly
def test_thirty_trainings_of_a_recipe_grow_by_less_than_100_megabytes() -> None:
    tutorial, tuned = (int(grown) for grown in printed_by(THIRTY).split())
    assert max(tutorial, tuned) < 100, (tutorial, tuned)
