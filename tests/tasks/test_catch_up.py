"""What is made of slots that passed while nothing ran."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas import filters
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.states import Completed, Scheduled

from sentiment.schedules import Deployment, Schedule
from tasks import catch_up as catching
from tasks.deployments import Applied, apply

HOURLY = Schedule(interval=timedelta(hours=1))
EACH_SECOND = Schedule(interval=timedelta(seconds=1))


@pytest.fixture
def client(prefect_server: None) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        yield client
        for each in client.read_deployments():
            client.delete_deployment(each.id)


def written(client: SyncPrefectClient, schedule: Schedule, dataset: str = "sample") -> Applied:
    return apply(client, Deployment("promote", "Promotes.", {"dataset": dataset}, schedule))


def make_late(client: SyncPrefectClient, applied: Applied, hours: int) -> None:
    """Let Prefect's scheduler make the runs of the last hours, as it does ahead of time."""
    now = datetime.now(UTC)
    body = {"start_time": (now - timedelta(hours=hours)).isoformat(), "end_time": now.isoformat(), "min_runs": 100}
    client.request("POST", "/deployments/{id}/schedule", path_params={"id": applied.id}, json=body)


def runs(client: SyncPrefectClient, applied: Applied, *states: StateType) -> list[FlowRun]:
    return client.read_flow_runs(
        flow_run_filter=filters.FlowRunFilter(
            deployment_id=filters.FlowRunFilterDeploymentId(any_=[applied.id]),
            state=filters.FlowRunFilterState(type=filters.FlowRunFilterStateType(any_=list(states))),
        )
    )


def serve(client: SyncPrefectClient, applied: Applied) -> None:
    """Ask for runs, as whoever serves a deployment does; the server notes when."""
    client.get_scheduled_flow_runs_for_deployments([applied.id])
    while (found := client.read_deployment(applied.id)).last_polled is None or found.last_polled < now_less(5):
        time.sleep(0.05)


def catch_up(client: SyncPrefectClient, applied: Applied) -> FlowRun | None:
    return catching.catch_up(client, applied, datetime.now(UTC))


def now_less(seconds: float) -> datetime:
    return datetime.now(UTC) - timedelta(seconds=seconds)


def again(client: SyncPrefectClient, applied: Applied) -> Applied:
    return Applied(applied.spec, client.read_deployment(applied.id))


def test_late_runs_are_replaced_by_one_with_the_parameters_of_today(client: SyncPrefectClient) -> None:
    make_late(client, written(client, HOURLY), hours=5)
    applied = written(client, HOURLY, dataset="imdb")
    made = catch_up(client, applied)
    assert made is not None and made.parameters == {"dataset": "imdb"}
    assert [run.id for run in runs(client, applied, StateType.SCHEDULED)] == [made.id]
    dropped = runs(client, applied, StateType.CANCELLED)
    assert len(dropped) == 5
    assert all("one run catches up" in run.state.message for run in dropped if run.state)


def test_a_start_that_is_killed_and_tried_again_makes_no_second_one(client: SyncPrefectClient) -> None:
    applied = written(client, HOURLY)
    make_late(client, applied, hours=3)
    assert catch_up(client, applied) is not None
    make_late(client, written(client, HOURLY), hours=4)  # one slot that the first start did not know of
    assert catch_up(client, applied) is None
    assert len(runs(client, applied, StateType.SCHEDULED)) == 1


def test_a_slot_that_passed_without_a_run_is_made_up_for(client: SyncPrefectClient) -> None:
    """The server was down as well: it made no run."""
    applied = written(client, EACH_SECOND)
    serve(client, applied)
    until(lambda: catch_up(client, again(client, applied)) is not None)
    assert len(runs(client, applied, StateType.SCHEDULED)) == 1


def test_a_slot_whose_run_was_begun_early_is_not_missed(client: SyncPrefectClient) -> None:
    """A run is taken some seconds ahead; a kill after that must not lead to another one for the same slot."""
    applied = written(client, HOURLY)
    make_late(client, applied, hours=1)
    (run,) = runs(client, applied, StateType.SCHEDULED)
    client.set_flow_run_state(run.id, Completed(), force=True)
    assert catch_up(client, applied) is None
    assert runs(client, applied, StateType.SCHEDULED) == []


def test_without_a_slot_in_between_there_is_nothing_to_catch_up_on(client: SyncPrefectClient) -> None:
    applied = written(client, Schedule(interval=timedelta(days=400)))
    serve(client, applied)
    assert catch_up(client, again(client, applied)) is None
    assert runs(client, applied, StateType.SCHEDULED) == []


def test_what_came_due_while_it_started_is_not_missed(client: SyncPrefectClient) -> None:
    """A start takes seconds; without this a new deployment of every second would begin with a catch-up."""
    began = datetime.now(UTC)
    applied = written(client, EACH_SECOND)
    first = applied.on_server.schedules[0].created
    assert first is not None
    until(lambda: datetime.now(UTC) > first + timedelta(seconds=2.5))
    assert catching.catch_up(client, applied, began) is None


@pytest.mark.parametrize("what", ["deployment", "schedule"])
def test_what_is_paused_catches_up_on_nothing(client: SyncPrefectClient, what: str) -> None:
    applied = written(client, EACH_SECOND)
    if what == "deployment":
        client.pause_deployment(applied.id)
    else:
        client.update_deployment_schedule(applied.id, applied.on_server.schedules[0].id, active=False)
    serve(client, applied)
    first = applied.on_server.schedules[0].created
    assert first is not None
    until(lambda: datetime.now(UTC) > first + timedelta(seconds=2.5))
    assert catch_up(client, again(client, applied)) is None
    assert runs(client, applied, StateType.SCHEDULED) == []


def test_late_runs_of_a_schedule_that_changed_are_dropped_without_a_catch_up(client: SyncPrefectClient) -> None:
    make_late(client, written(client, HOURLY), hours=3)
    applied = written(client, Schedule(interval=timedelta(days=400)))
    assert catch_up(client, applied) is None
    assert runs(client, applied, StateType.SCHEDULED) == []


def test_a_run_that_a_person_asked_for_is_never_dropped(client: SyncPrefectClient) -> None:
    applied = written(client, HOURLY)
    asked = client.create_flow_run_from_deployment(applied.id, state=Scheduled(scheduled_time=now_less(3_600)))
    make_late(client, applied, hours=2)
    made = catch_up(client, applied)
    assert made is not None
    assert {run.id for run in runs(client, applied, StateType.SCHEDULED)} == {asked.id, made.id}


def until(holds: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never came to hold"
        time.sleep(0.1)
