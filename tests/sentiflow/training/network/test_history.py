"""Tests of the history of a training."""

from sentiflow.evaluation import Epoch, best_epoch


def epoch(number: int, val_loss: float) -> Epoch:
    return Epoch(number, 0.7 / number, 0.5, val_loss, 0.25, 1e-3, 1.5, 1 / 3)


def test_best_epoch_has_the_lowest_validation_loss() -> None:
    assert best_epoch([epoch(1, 0.6), epoch(2, 0.4), epoch(3, 0.5)]).number == 2


def test_best_epoch_is_the_earliest_of_equals() -> None:
    assert best_epoch([epoch(1, 0.6), epoch(2, 0.4), epoch(3, 0.4)]).number == 2
