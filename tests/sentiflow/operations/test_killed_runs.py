"""What killed trainings left is closed by the next start."""

from uuid import UUID

import pytest
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.states import AwaitingRetry, Crashed, Pending, Running

from sentiflow.errors import ExternalError
from sentiflow.locks import lock_tag
from sentiflow.operations.flow_runs import crash_flow_run
from sentiflow.store.client import _clients as clients
from sentiflow.store.client import connect, experiment_id, reconcile
from sentiflow.store.records import ATTEMPT, LOCK
from sentiflow.training import open_run as runs
from sentiflow.training.context import RunContext, Started
from sentiflow.training.recipes import load_recipe
from tests.receiver import receiver
from tests.world import World

NAME = "sample-sentiment"
STARTED = Started("night")


class Store:
    """A store with open runs of one model."""

    def __init__(self, world: World) -> None:
        self.world, self.client = world, connect(world.settings)
        self.experiment = experiment_id(self.client, world.settings)

    def run(self, **tags: str) -> str:
        tags |= {"registered_model": NAME, LOCK: lock_tag(NAME, self.world.settings)}
        return str(self.client.create_run(self.experiment, tags=tags, run_name="night").info.run_id)

    def planned(self, run_id: str) -> RunContext:
        settings, config = self.world.settings, load_recipe("tutorial", [])
        work = settings.data_dir / "work" / NAME / run_id
        return RunContext(run_id, "night", self.experiment, settings, STARTED, config, "sample", 0, work, 0.0)

    def next_start(self) -> None:
        reconcile(self.client, self.experiment, NAME, self.world.settings, "the next run", crash_flow_run)

    def ended(self, run_id: str) -> tuple[str, str]:
        run = self.client.get_run(run_id)
        return run.info.status, run.data.tags["end"]


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the next start said in its log."""
    return [each.getMessage() for each in caplog.records if each.name == "sentiflow.store.client"]


@pytest.fixture
def store(world: World, prefect_server: None) -> Store:
    return Store(world)


@pytest.mark.parametrize("error", [ExternalError("The disk is full.", "Free it."), KeyboardInterrupt(), None])
def test_a_run_whose_store_is_away_at_its_end_fails_and_is_closed_by_the_next_start(
    store: Store, error: BaseException | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = store.planned(store.run())
    with monkeypatch.context() as patch:
        patch.setitem(clients, store.world.settings.tracking_uri, MlflowClient("http://127.0.0.1:9"))
        with pytest.raises(type(error) if error is not None else ExternalError), runs.closing(run):
            if error is not None:
                raise error
    assert store.client.get_run(run.run_id).info.status == "RUNNING"
    store.next_start()
    assert store.ended(run.run_id) == ("KILLED", "its process is gone; closed by the next run")


@pytest.mark.parametrize(
    ("error", "status", "why"),
    [
        (ExternalError("The disk is full.", "Free it."), "FAILED", "The disk is full"),
        (ExternalError("/data/caf\udce9 is full.", ""), "FAILED", r"/data/caf\udce9 is full"),
        (KeyError("loss"), "FAILED", "KeyError: 'loss'"),
        (ValueError(), "FAILED", "ValueError"),
        (SystemExit(1), "KILLED", "its process ended itself, with exit code 1"),
        (KeyboardInterrupt(), "KILLED", "it was interrupted"),
    ],
)
def test_a_run_has_the_reason_that_it_ended_for(store: Store, error: BaseException, status: str, why: str) -> None:
    run = store.planned(store.run())
    with pytest.raises(type(error)), runs.closing(run):
        raise error
    assert store.ended(run.run_id) == (status, why)


def test_work_files_of_a_killed_run_are_deleted_and_those_of_another_model_stay(store: Store) -> None:
    """Red if each training that is killed leaves its files for ever, or costs another one, which runs, its own."""
    work = store.world.settings.data_dir / "work"
    killed, others = work / NAME / store.run() / "weights.h5", work / "mine-sentiment" / "1" / "weights.h5"
    for file in (killed, others):
        file.parent.mkdir(parents=True)
        file.write_text("precious")
    store.next_start()
    assert list(work.rglob("*")) == [work / "mine-sentiment", work / "mine-sentiment" / "1", others]


def test_a_half_made_model_of_a_run_that_mlflow_has_deleted_for_good_is_deleted(store: Store) -> None:
    run = store.run()
    model = store.client.create_logged_model(store.experiment, NAME, source_run_id=run)
    store.client.delete_run(run)
    store.client._tracking_client.store._hard_delete_run(run)  # as `mlflow gc` does
    store.next_start()
    with pytest.raises(MlflowException, match="not found"):
        store.client.get_logged_model(model.model_id)


def test_a_half_made_model_goes_with_its_run_and_stays_while_that_goes_on(store: Store) -> None:
    elsewhere = store.client.create_run(store.experiment, tags={LOCK: "elsewhere:/lock"}).info.run_id
    kept, _, _ = (
        store.client.create_logged_model(store.experiment, NAME, source_run_id=run)
        for run in (elsewhere, store.run(), None)
    )
    store.next_start()
    left = store.client.search_logged_models([store.experiment])
    assert [model.model_id for model in left] == [kept.model_id]


def test_the_flow_run_of_a_killed_run_is_crashed_with_the_reason(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    @flow
    def training() -> None: ...

    with get_client(sync_client=True) as prefect:
        flow_run = prefect.create_flow_run(training, state=Running())
        store.run(**{"prefect.flow_run_id": str(flow_run.id)})
        store.next_start()
        state = prefect.read_flow_run(flow_run.id).state
    assert state is not None and state.is_crashed()
    assert state.message == "Its process is gone; closed by the next run."
    assert told(caplog) == ["Closed run night: its process is gone; closed by the next run."]


@pytest.mark.parametrize("state", [AwaitingRetry(), Pending(), Running()], ids=lambda state: state.name)
def test_a_flow_run_that_was_started_again_lives_on(
    store: Store, monkeypatch: pytest.MonkeyPatch, state: State
) -> None:
    """Red if a retried training crashes itself when it closes what its killed attempt left."""

    @task(task_run_name="fetch")
    def fetch() -> None: ...

    @flow
    def training() -> None: ...

    def begun_task(key: str) -> UUID:
        made = prefect.create_task_run(fetch, flow_run.id, key)
        prefect.set_task_run_state(made.id, Running())
        return made.id

    def state_of(task: UUID) -> str | None:
        return prefect.read_task_run(task).state_name

    with receiver() as got, get_client(sync_client=True) as prefect:
        monkeypatch.setenv("SENTIFLOW_NOTIFY_URL", got.address)
        flow_run = prefect.create_flow_run(training, state=Running())
        killed = begun_task("1")
        store.run(**{"prefect.flow_run_id": str(flow_run.id), ATTEMPT: "1"})
        for each in (Crashed(), state):
            prefect.set_flow_run_state(flow_run.id, each, force=True)
        alive = begun_task("2") if state.is_running() else None
        store.next_start()
        assert prefect.read_flow_run(flow_run.id).state_name == state.name
        assert state_of(killed) == "Crashed"
        assert alive is None or state_of(alive) == "Running"
    assert got.messages == []
