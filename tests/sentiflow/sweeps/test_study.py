"""The study of a sweep: its journal, and which trials are stopped early."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from sentiflow.fitting import fit
from sentiflow.locks import if_free
from sentiflow.recipes import TUNED, load_recipe
from sentiflow.sweeps.space import Choices, Range, SearchSpace, load_space
from sentiflow.sweeps.study import (
    FAILED,
    REFUSED,
    Journal,
    Sweep,
    ask,
    distributions,
    fail_running,
    finished,
    identity,
    numbers_left,
    open_study,
)
from tests.sentiflow.test_fitting import table

SPACE = SearchSpace({"dropout": Range(low=0.0, high=0.6)})


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    return Sweep(tmp_path / "study", SPACE, TUNED.model_copy(update={"epochs": 8}), 0)


def tried(sweep: Sweep, losses: Sequence[float]) -> int:
    """Report losses epoch by epoch, as a trial does; gives the epoch at which it was stopped, or 0."""
    study = open_study(sweep)
    trial, _ = ask(study, sweep, len(study.trials))
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


def test_the_first_four_are_never_stopped(sweep: Sweep) -> None:
    assert [tried(sweep, [level] * 8) for level in (0.1, 0.9, 0.95, 0.99)] == [0, 0, 0, 0]


def test_values_that_do_not_go_together_are_asked_for_again_and_never_tried(tmp_path: Path) -> None:
    fields = {"mask_zero": Choices(choices=(True, False)), "pooling": Choices(choices=("last", "mean"))}
    sweep = Sweep(tmp_path / "study", SearchSpace(fields), TUNED, 0)
    study = open_study(sweep)
    for number in range(12):
        asked, config = ask(study, sweep, number)
        assert config.mask_zero or config.pooling == "last"
        study.tell(asked, 0.5)
    refused = [trial for trial in study.trials if trial.state == TrialState.FAIL]
    assert refused and all("set mask_zero to true" in trial.user_attrs[REFUSED] for trial in refused)
    assert len(finished(study)) == 12


def test_a_torn_last_line_is_cut_off_and_the_study_goes_on(sweep: Sweep) -> None:
    tried(sweep, [0.5] * 8)
    path = sweep.folder / "journal.log"
    whole = path.read_bytes()
    for length in (1, 5, 17):
        path.write_bytes(whole + b'{"op_code":4,"worker_id":"x"}'[:length])
        assert len(finished(open_study(sweep))) == 1
    tried(sweep, [0.4] * 8)
    assert [trial.value for trial in finished(open_study(sweep))] == [0.5, 0.4]


def test_optunas_own_backend_fails_where_ours_goes_on(sweep: Sweep) -> None:
    """Why there is a backend of our own; when this fails, Optuna has fixed it, and ours can go."""
    path = sweep.folder / "journal.log"
    sweep.folder.mkdir()
    for backend, fails in ((optuna.storages.journal.JournalFileBackend(str(path)), True), (Journal(path), False)):
        path.write_bytes(b'{"op_')
        backend.append_logs([{"a": 1}])
        backend.append_logs([{"a": 2}])
        if fails:
            with pytest.raises(ValueError, match="Expecting|Invalid|delimiter|Unterminated"):
                list(backend.read_logs(0))
        else:
            assert list(backend.read_logs(0)) == [{"a": 1}, {"a": 2}]


def test_a_lock_of_a_killed_process_is_free_at_once(sweep: Sweep) -> None:
    """Optuna's own lock file would be waited for half a minute."""
    open_study(sweep)
    path = sweep.folder / "journal.log"
    code = (
        "import os, signal, sys; from pathlib import Path; from sentiflow.sweeps.study import Journal;"
        "Journal(Path(sys.argv[1]))._lock.acquire(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False, timeout=60).returncode == -9
    with if_free(path.with_suffix(".lock")) as free:
        assert free


def test_each_number_proposes_something_else_and_the_same_number_the_same(tmp_path: Path) -> None:
    def proposed(name: str, seed: int, number: int) -> float:
        sweep = Sweep(tmp_path / name, SPACE, TUNED, seed)
        return float(ask(open_study(sweep), sweep, number)[0].params["dropout"])

    values = [proposed(f"{seed}-{number}", seed, number) for seed in (0, 1) for number in (1, 2, 3)]
    assert len(set(values)) == 6
    assert proposed("again", 1, 3) == values[-1]
    assert proposed("first", 0, 0) == proposed("other seed", 1, 0) == TUNED.dropout


def test_a_killed_trial_keeps_its_number_and_values_and_shifts_no_other(tmp_path: Path) -> None:
    """Red if a killed trial counted: all that follow would be other trials than those of a sweep left alone."""

    def tried(name: str, kills: Sequence[int]) -> list[dict]:
        sweep = Sweep(tmp_path / name, load_space(None, TUNED), TUNED, 0)
        left, found = list(range(14)), []  # TPE draws by what was found once ten are finished
        for killed in [*kills, None]:  # each time a process of its own
            study = open_study(sweep)
            fail_running(study)
            assert numbers_left(study, 14) == left
            for number in list(left):
                trial, _ = ask(study, sweep, number)
                if number == killed:
                    break
                study.tell(trial, number / 10)
                found.append(trial.params)
                left.remove(number)
        assert [trial.value for trial in finished(open_study(sweep))] == [number / 10 for number in range(14)]
        return found

    assert tried("killed", [0, 1, 1, 3, 11, 12]) == tried("alone", [])


def test_a_second_attempt_at_a_trial_ends_the_first(sweep: Sweep) -> None:
    """Dask gives a trial to another worker when it hears nothing from the first, which may train on."""
    study = open_study(sweep)
    first, _ = ask(study, sweep, 1)
    second, _ = ask(study, sweep, 1)
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        first.report(0.5, 1)
    study.tell(second, 0.4)
    assert [trial.value for trial in finished(study)] == [0.4] and numbers_left(study, 2) == [0]


def test_others_that_finish_meanwhile_do_not_take_a_killed_trials_number(sweep: Sweep) -> None:
    study = open_study(sweep)
    killed, _ = ask(study, sweep, 1)
    study.tell(ask(study, sweep, 2)[0], 0.5)
    fail_running(study)
    assert numbers_left(study, 3) == [0, 1]
    assert ask(study, sweep, 1)[0].params == killed.params


def test_a_trial_that_fails_twice_is_left_out(sweep: Sweep) -> None:
    study = open_study(sweep)
    for left in ([0, 1], [0, 1], [1, 2]):
        assert numbers_left(study, 2) == left
        failed, _ = ask(study, sweep, 0)
        failed.set_user_attr(FAILED, True)  # noqa: FBT003
        study.tell(failed, state=TrialState.FAIL)


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


def test_the_space_as_optuna_takes_it() -> None:
    made = distributions(load_space(None, TUNED))
    assert made["learning_rate"] == optuna.distributions.FloatDistribution(0.0002, 0.002, log=True)
    assert made["batch_size"] == optuna.distributions.CategoricalDistribution((32, 64, 128))


@pytest.mark.parametrize(
    "other",
    [
        {"config": TUNED.model_copy(update={"epochs": 3})}, {"seed": 1}, {"dataset": "another"}, {"name": "mine"},
    ],
)  # fmt: skip
def test_whatever_shapes_a_trial_makes_another_sweep(other: dict) -> None:
    usual = {"config": TUNED, "seed": 0, "dataset": "digest", "space": "digest", "name": ""}
    assert identity(**usual) == identity(**usual) != identity(**{**usual, **other})
