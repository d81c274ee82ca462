"""Which study a sweep goes on with, and which it leaves alone."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient
from optuna.trial import TrialState
from prefect.logging import disable_run_logger

from sentiflow.data.prepare import Prepared
from sentiflow.errors import ExternalError
from sentiflow.recipes import TUNED
from sentiflow.settings import load_settings
from sentiflow.sweeps.space import Range, SearchSpace
from sentiflow.sweeps.study import PARENTS, RUN_ID, Sweep, ask, open_study
from sentiflow.tracking.client import connect
from sentiflow.tracking.context import RunContext
from tasks.sweep import begin, end_sweep, trial
from tests.world import World

SPACE = SearchSpace({"dropout": Range(low=0.0, high=0.6)})


@pytest.fixture
def client(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[MlflowClient]:
    world.enter(monkeypatch)
    with disable_run_logger():
        yield connect(world.settings)


def begun(client: MlflowClient, *, restart: bool = False, space: SearchSpace = SPACE) -> tuple[RunContext, Sweep]:
    run_id = client.create_run("0").info.run_id
    run = RunContext(
        run_id, "sweep", "0", load_settings(), TUNED, "sample", "sample", 0, "sample-sentiment", Path("work"), 0.0
    )
    prepared = Prepared("sample", "d" * 64, Path("table.parquet"), "", made=False)
    return run, begin.fn(run, prepared, space, "", restart)


def test_the_same_sweep_goes_on_with_its_study(client: MlflowClient) -> None:
    first, one = begun(client)
    client.set_terminated(first.run_id, "KILLED")
    second, two = begun(client)
    assert two == one
    assert open_study(two).user_attrs[PARENTS] == [first.run_id, second.run_id]


def test_a_worker_that_begins_a_trial_of_the_old_run_gives_it_up(client: MlflowClient) -> None:
    first, sweep = begun(client)
    client.set_terminated(first.run_id, "KILLED")
    prepared = Prepared("sample", "d" * 64, Path("table.parquet"), "", made=False)
    begun(client)
    ask(study := open_study(sweep), sweep, 0)  # by the new run
    with pytest.raises(ExternalError, match="Trial 0 was given up: another run has continued this sweep"):
        trial.fn(first, prepared, sweep, 0)
    assert [each.state for each in study.get_trials()] == [TrialState.RUNNING]


def test_a_worker_of_the_old_sweep_does_not_speak_for_a_trial_of_the_new_one(client: MlflowClient) -> None:
    """Red if both used one journal: the old worker's trial 0 would be the new sweep's trial 0."""
    first, old = begun(client)
    worker = open_study(old)
    its_trial, _ = ask(worker, old, 0)
    client.set_terminated(first.run_id, "KILLED")
    _, new = begun(client, restart=True)
    study = open_study(new)
    assert ask(study, new, 0)[0].number == its_trial.number == 0
    with pytest.raises(FileNotFoundError):
        worker.tell(its_trial, 0.001)
    assert [trial.state for trial in open_study(new).get_trials()] == [TrialState.RUNNING]


@pytest.mark.parametrize("gone", [False, True], ids=["finished", "a trial's run deleted"])
def test_a_sweep_that_cannot_go_on_begins_with_an_empty_study(client: MlflowClient, *, gone: bool) -> None:
    first, old = begun(client)
    study = open_study(old)
    tried, _ = ask(study, old, 0)
    tried.set_user_attr(RUN_ID, client.create_run("0").info.run_id)
    study.tell(tried, 0.5)
    if gone:
        client.delete_run(study.trials[0].user_attrs[RUN_ID])
    client.set_terminated(first.run_id, "KILLED" if gone else "FINISHED")
    second, new = begun(client)
    assert not old.folder.exists()
    assert open_study(new).user_attrs[PARENTS] == [second.run_id]
    assert open_study(new).trials == []


def test_a_sweep_goes_on_though_a_person_deleted_one_of_its_trials(client: MlflowClient) -> None:
    first, one = begun(client)
    study, made = open_study(one), []
    for number in range(2):
        tried, _ = ask(study, one, number)
        made.append(client.create_run("0").info.run_id)
        tried.set_user_attr(RUN_ID, made[-1])
        study.tell(tried, 0.5)
    client.delete_run(made[0])
    client.set_terminated(first.run_id, "KILLED")
    second, two = begun(client)
    assert two == one and len(open_study(two).trials) == 2
    assert client.get_run(made[1]).data.tags["mlflow.parentRunId"] == second.run_id


def test_a_damaged_study_is_named_and_a_restart_does_without_it(client: MlflowClient) -> None:
    first, old = begun(client)
    client.set_terminated(first.run_id, "KILLED")
    journal = old.folder / "journal.log"
    journal.write_bytes(b"\xff\n" + journal.read_bytes())
    with pytest.raises(ExternalError, match="cannot be read: .*utf-8") as caught:
        begun(client)
    assert str(old.folder) in str(caught.value) and "--restart" in caught.value.hint
    _, new = begun(client, restart=True)
    assert new.folder != old.folder and not old.folder.exists()


def test_a_recipe_that_the_space_leaves_out_is_told(
    client: MlflowClient, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Red if a sweep ended with something worse than the recipe that it began with, and said nothing."""
    monkeypatch.setattr("tasks.sweep.get_run_logger", lambda: logging.getLogger("sweep"))
    begun(client)
    assert "outside" not in caplog.text
    begun(client, space=SearchSpace({"dropout": Range(low=0.9, high=0.95)}))
    assert "the recipe is outside of the space, and so not tried itself: dropout" in caplog.text


def test_the_end_of_one_leaves_a_later_beginning_alone(client: MlflowClient, world: World) -> None:
    first, old = begun(client)
    client.set_terminated(first.run_id, "FINISHED")
    _, new = begun(client)
    end_sweep(old)
    assert new.folder.exists()
    end_sweep(new)
    assert not list((world.root / "data" / "sweeps" / "sample-sentiment").iterdir())
