"""Which study a sweep goes on with, and which it leaves alone."""

from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient
from optuna.distributions import FloatDistribution
from optuna.exceptions import UpdateFinishedTrialError

from sentiflow.data.prepare import Prepared
from sentiflow.errors import ExternalError
from sentiflow.settings import load_settings
from sentiflow.store.client import connect
from sentiflow.sweeps.space import SearchSpace
from sentiflow.sweeps.study import PARENT, Sweep, ask, end, finished, open_study
from sentiflow.training.context import RunContext, Started
from sentiflow.training.recipes import TUNED
from tasks.sweep import begin
from tests.world import World

SPACE = SearchSpace({"dropout": FloatDistribution(0.0, 0.6)})


@pytest.fixture
def client(world: World, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    world.enter(monkeypatch)
    return connect(world.settings)


def begun(client: MlflowClient, *, restart: bool = False, space: SearchSpace = SPACE) -> tuple[RunContext, Sweep]:
    run_id = client.create_run("0").info.run_id
    started, settings = Started("sweep"), load_settings()
    run = RunContext(run_id, "sweep", "0", settings, started, TUNED, "sample", 0, Path("work"), 0.0)
    prepared = Prepared("sample", "d" * 64, Path("table.parquet"), "", made=False)
    return run, begin.fn(run, prepared, space, "", restart)


def test_the_same_sweep_goes_on_and_begins_with_the_recipe_itself(client: MlflowClient) -> None:
    first, one = begun(client)
    client.set_terminated(first.run_id, "KILLED")
    second, two = begun(client)
    assert two == one
    assert open_study(two).user_attrs[PARENT] == second.run_id
    assert client.get_run(second.run_id).data.tags["continues"] == first.run_id
    assert ask(open_study(two), two)[1] == TUNED


def test_what_was_finished_is_kept_and_what_was_running_is_tried_again_once(client: MlflowClient) -> None:
    """Red if a kill lost a finished trial, or counted one twice."""
    _, sweep = begun(client)
    study = open_study(sweep)
    for loss in (0.5, 0.4):
        study.tell(ask(study, sweep)[0], loss)
    running, _ = ask(study, sweep)
    begun(client)
    study = open_study(sweep)
    assert [trial.value for trial in finished(study)] == [0.5, 0.4]
    with pytest.raises(UpdateFinishedTrialError):
        running.report(0.3, 1)  # by a worker that does not know yet
    again, other = ask(study, sweep)[0], ask(study, sweep)[0]
    assert again.params == running.params != other.params


def test_a_restart_begins_with_an_empty_study_in_another_folder(client: MlflowClient) -> None:
    _, old = begun(client)
    study = open_study(old)
    study.tell(ask(study, old)[0], 0.5)
    second, new = begun(client, restart=True)
    assert not old.folder.exists() and new.folder != old.folder
    assert open_study(new).user_attrs[PARENT] == second.run_id
    assert finished(open_study(new)) == []


def test_a_damaged_study_is_named_and_a_restart_does_without_it(client: MlflowClient) -> None:
    _, old = begun(client)
    (old.folder / "study.db").write_bytes(b"\xff" * 10_000)
    with pytest.raises(ExternalError, match="cannot be read") as caught:
        begun(client)
    assert "--restart" in caught.value.hint
    _, new = begun(client, restart=True)
    assert new.folder != old.folder and not old.folder.exists()


def test_the_end_of_one_leaves_a_later_beginning_alone(client: MlflowClient, world: World) -> None:
    _, old = begun(client)
    _, new = begun(client, restart=True)
    end(old)
    assert new.folder.exists()
    end(new)
    assert not list((world.root / "data" / "sweeps" / "sample-sentiment").iterdir())
