"""What a sweep says of the fields that it searched."""

from pathlib import Path

import optuna
import pandas as pd
import pytest
from optuna.distributions import FloatDistribution
from optuna.study import Study
from optuna.trial import TrialState, create_trial

from sentiflow.results import COMPLETE, PRUNED, TrialRow
from sentiflow.sweeps.outcome import (
    describe_importance,
    importance_of,
    write_files,
)
from sentiflow.training.recipes import TUTORIAL

FIELDS = {"matters": FloatDistribution(0, 1), "does_not": FloatDistribution(0, 1)}


def study_of(complete: int, pruned: int = 0, *, slope: float = 1.0) -> Study:
    """Trials whose loss follows one of two fields."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study()
    for place in range(complete + pruned):
        values = {"matters": place / 50, "does_not": (place * 7 % 10) / 10}
        state = TrialState.COMPLETE if place < complete else TrialState.PRUNED
        value = 0.5 + slope * values["matters"]
        study.add_trial(create_trial(state=state, params=values, distributions=FIELDS, value=value))
    return study


def rows(complete: int, pruned: int = 0) -> list[TrialRow]:
    states = [COMPLETE] * complete + [PRUNED] * pruned
    return [TrialRow(place, state, 0.5, 1, 1.0, {}, "") for place, state in enumerate(states)]


def test_a_searched_number_of_epochs_stands_beside_the_one_that_was_trained(tmp_path: Path) -> None:
    tried = [TrialRow(k, COMPLETE, 0.5, 2 + k, 1.0, {"epochs": 16}, "") for k in range(2)]
    write_files(tmp_path / "new", tried, TUTORIAL, "a sweep")
    table = pd.read_csv(tmp_path / "new" / "trials.csv")
    assert table["epochs"].tolist() == [16, 16] and table["epochs_trained"].tolist() == [2, 3]


def test_from_ten_complete_trials_on_the_field_that_matters_is_told() -> None:
    shares = importance_of(study_of(10))
    assert next(iter(shares)) == "matters" and shares["matters"] > 0.7
    assert sum(shares.values()) == pytest.approx(1)


def test_equal_losses_tell_nothing() -> None:
    assert importance_of(study_of(12, slope=0.0)) == {}
    assert importance_of(study_of(12, slope=1e-10)) == {}  # too little for fANOVA's trees


@pytest.mark.parametrize(
    ("shares", "trials", "told"),
    [
        ({"units": 0.754, "dropout": 0.246}, rows(10), "units 75%, dropout 25%"),
        ({}, rows(1, 4), "needs 10 complete trials; there are 1"),
        ({}, rows(2), "needs 10 complete trials; there are 2"),
        ({}, rows(10), "all complete trials have nearly the same validation loss"),
    ],
)
def test_what_is_said_of_it(shares: dict[str, float], trials: list[TrialRow], told: str) -> None:
    assert describe_importance(shares, trials) == told
