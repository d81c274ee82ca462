"""Tests of the history of a training."""

from pathlib import Path

from sentiflow.network.history import Epoch, best_epoch, load, save


def epoch(number: int, val_loss: float) -> Epoch:
    return Epoch(number, 0.7 / number, 0.5, val_loss, 0.25, 1e-3, 1.5, 1 / 3)


def test_best_epoch_has_the_lowest_validation_loss() -> None:
    assert best_epoch([epoch(1, 0.6), epoch(2, 0.4), epoch(3, 0.5)]).number == 2


def test_best_epoch_is_the_earliest_of_equals() -> None:
    assert best_epoch([epoch(1, 0.6), epoch(2, 0.4), epoch(3, 0.4)]).number == 2


def test_a_history_survives_save_and_load_to_the_last_digit(tmp_path: Path) -> None:
    history = [epoch(1, 0.1 + 0.2), epoch(2, 1e-17)]
    save(history, tmp_path / "history.json")
    assert load(tmp_path / "history.json") == history
