"""The study of a sweep: what is proposed, and which trials are stopped early."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState

from sentiflow.sweeps.space import SearchSpace, load_space
from sentiflow.sweeps.study import Sweep, ask, finished, identity, open_study
from sentiflow.training.fitting import fit
from sentiflow.training.recipes import TUNED, load_recipe
from tests.sentiflow.training.test_start_from import table

SPACE = SearchSpace({"dropout": FloatDistribution(0.0, 0.6)})


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    return Sweep(tmp_path / "study", SPACE, TUNED.model_copy(update={"epochs": 8}), 0)


def tried(sweep: Sweep, losses: Sequence[float]) -> int:
    """Report losses epoch by epoch, as a trial does; gives the epoch at which it was stopped, or 0."""
    study = open_study(sweep)
    trial, _ = ask(study, sweep)
    for epoch, loss in enumerate(losses, 1):
        trial.report(loss, epoch)
        if trial.should_prune():
            study.tell(trial, state=TrialState.PRUNED)
            return epoch
    study.tell(trial, min(losses))
    return 0


def test_a_trial_is_stopped_once_it_lags_behind_the_median_and_never_in_the_first_quarter(sweep: Sweep) -> None:
    for level in (0.5, 0.4, 0.3, 0.2):
        assert tried(sweep, [level] * 8) == 0
    assert tried(sweep, [0.9] * 8) == 3  # the median of the four is 0.35, and 8 // 4 epochs are let be
    assert tried(sweep, [0.9, 0.9, 0.34] + [0.9] * 5) == 0  # its best so far is judged, not its latest
    assert [trial.state.name for trial in finished(open_study(sweep))] == ["COMPLETE"] * 4 + ["PRUNED", "COMPLETE"]


def test_values_that_do_not_go_together_are_asked_for_again_and_never_tried(tmp_path: Path) -> None:
    fields = {
        "mask_zero": CategoricalDistribution((True, False)),
        "pooling": CategoricalDistribution(("last", "mean")),
    }
    sweep = Sweep(tmp_path / "study", SearchSpace(fields), TUNED, 0)
    study = open_study(sweep)
    for _ in range(6):
        asked, config = ask(study, sweep)
        assert config.mask_zero or config.pooling == "last"
        study.tell(asked, 0.5)
    assert {trial.state for trial in study.trials} == {TrialState.COMPLETE, TrialState.FAIL}
    assert len(finished(study)) == 6


def test_seeds_and_a_sweep_that_goes_on_propose_something_else(tmp_path: Path) -> None:
    """Red if a resumed sweep tried again what it began with."""

    def proposed(name: str, seed: int) -> float:
        sweep = Sweep(tmp_path / name, SPACE, TUNED, seed)
        study = open_study(sweep)
        study.tell(asked := ask(study, sweep)[0], 0.5)
        return float(asked.params["dropout"])

    values = [proposed("a", 0), proposed("a", 0), proposed("a", 0), proposed("b", 1)]
    assert len(set(values)) == 4
    assert proposed("c", 0) == values[0]


def test_what_the_rules_chose_for_the_trials_is_in_the_best_recipe_as_a_value(tmp_path: Path) -> None:
    """Red if the file of the best recipe trains other epochs than the sweep, by the batch size that it found."""
    content = table([20] * 1_000)
    sweep = Sweep(tmp_path / "study", SPACE, fit(load_recipe("fitted"), content, 9, started=False), 0)
    best = sweep.best({"batch_size": 128})
    assert (best.recipe, best.batch_size, best.epochs) == ("fitted-best", 128, 20)
    assert fit(best, content, 9, started=False) == best


@pytest.mark.parametrize("reviews", [100, 1_000, 20_000])
@pytest.mark.parametrize(("started", "words"), [(True, 20), (True, 200), (False, 20)])
def test_the_default_space_of_a_fitted_recipe_holds_what_the_rules_choose(
    reviews: int, started: bool, words: int
) -> None:
    """Red if the recipe itself is never tried on a table of one's own, and the best may be worse."""
    recipe = load_recipe("fitted")
    space = load_space(None, recipe)
    assert space.outside(fit(recipe, table([words] * reviews), 9, started=started)) == {}
    assert load_space(None, TUNED).outside(TUNED) == {}


@pytest.mark.parametrize(
    "other",
    [
        {"config": TUNED.model_copy(update={"epochs": 3})}, {"seed": 1}, {"dataset": "another"}, {"name": "mine"},
    ],
)  # fmt: skip
def test_whatever_shapes_a_trial_makes_another_sweep(other: dict) -> None:
    usual = {"config": TUNED, "seed": 0, "dataset": "digest", "space": "digest", "name": ""}
    assert identity(**usual) == identity(**usual) != identity(**{**usual, **other})
