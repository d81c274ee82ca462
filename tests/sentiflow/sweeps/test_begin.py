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
from sentiflow.sweeps.study import PARENT, RUN_ID, Sweep, ask, end, finished, open_study
from sentiflow.training.context import RunContext
from sentiflow.training.recipes import TUNED
from sentiflow.training.started import Started
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
    first, sweep = begun(client)
    study = open_study(sweep)
    finished_run, half_closed = (client.create_run("0").info.run_id for _ in range(2))
    for run_id, loss in ((finished_run, 0.5), (half_closed, 0.4)):
        asked, _ = ask(study, sweep)
        asked.set_user_attr(RUN_ID, run_id)
        study.tell(asked, loss)
    client.set_terminated(finished_run, "FINISHED")
    client.set_tag(half_closed, "end", "its process was killed")
    client.set_terminated(half_closed, "KILLED")
    running, _ = ask(study, sweep)
    client.set_terminated(first.run_id, "KILLED")
    second, _ = begun(client)
    study = open_study(sweep)
    assert [trial.value for trial in finished(study)] == [0.5, 0.4]
    for run_id in (finished_run, half_closed):
        run = client.get_run(run_id)
        assert (run.info.status, run.data.tags["mlflow.parentRunId"]) == ("FINISHED", second.run_id)
        assert "end" not in run.data.tags
    with pytest.raises(UpdateFinishedTrialError):
        running.report(0.3, 1)  # by a worker that does not know yet
    again, other = ask(study, sweep)[0], ask(study, sweep)[0]
    assert again.params == running.params != other.params


@pytest.mark.parametrize("gone", [False, True], ids=["finished", "a trial's run deleted"])
def test_a_sweep_that_cannot_go_on_begins_with_an_empty_study(client: MlflowClient, *, gone: bool) -> None:
    first, old = begun(client)
    study = open_study(old)
    tried, _ = ask(study, old)
    tried.set_user_attr(RUN_ID, client.create_run("0").info.run_id)
    study.tell(tried, 0.5)
    if gone:
        client.delete_run(study.trials[0].user_attrs[RUN_ID])
    client.set_terminated(first.run_id, "KILLED" if gone else "FINISHED")
    second, new = begun(client)
    assert not old.folder.exists()
    assert open_study(new).user_attrs[PARENT] == second.run_id
    assert finished(open_study(new)) == []


def test_a_damaged_study_is_named_and_a_restart_does_without_it(client: MlflowClient) -> None:
    first, old = begun(client)
    client.set_terminated(first.run_id, "KILLED")
    (old.folder / "study.db").write_bytes(b"\xff" * 10_000)
    with pytest.raises(ExternalError, match="cannot be read") as caught:
        begun(client)
    assert "--restart" in caught.value.hint
    _, new = begun(client, restart=True)
    assert new.folder != old.folder and not old.folder.exists()


def test_the_end_of_one_leaves_a_later_beginning_alone(client: MlflowClient, world: World) -> None:
    first, old = begun(client)
    client.set_terminated(first.run_id, "FINISHED")
    _, new = begun(client)
    end(old)
    assert new.folder.exists()
    end(new)
    assert not list((world.root / "data" / "sweeps" / "sample-sentiment").iterdir())
