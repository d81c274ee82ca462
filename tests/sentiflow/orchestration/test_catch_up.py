"""What is made of slots that passed while nothing could run them."""

from datetime import UTC, datetime, timedelta

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas import filters
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.states import AwaitingRetry, Running, Scheduled

from sentiflow.orchestration.deployments import Applied, Deployment, Schedule, apply
from sentiflow.orchestration.due_runs import due_runs

HOURLY = IntervalSchedule(interval=timedelta(hours=1))


def written(client: SyncPrefectClient, schedule: Schedule, dataset: str = "sample") -> Applied:
    return apply(client, Deployment("flows.promote.promote", "Promotes.", {"dataset": dataset}, schedule))


def make_late(client: SyncPrefectClient, applied: Applied, hours: int, until: int = 0) -> None:
    """Let Prefect's scheduler make the runs of some hours ago, as it does ahead of time; 100 at most."""
    start, end = (datetime.now(UTC) - timedelta(hours=ago) for ago in (hours, until))
    body = {"start_time": start.isoformat(), "end_time": end.isoformat(), "min_runs": 100}
    client.request("POST", f"/deployments/{applied.id}/schedule", json=body)


def runs(client: SyncPrefectClient, applied: Applied, *states: StateType) -> list[FlowRun]:
    return client.read_flow_runs(
        flow_run_filter=filters.FlowRunFilter(
            deployment_id=filters.FlowRunFilterDeploymentId(any_=[applied.id]),
            state=filters.FlowRunFilterState(type=filters.FlowRunFilterStateType(any_=list(states or StateType))),
        )
    )


def late(client: SyncPrefectClient, applied: Applied) -> list[FlowRun]:
    """What is left of the runs that are due, earliest first."""
    due_runs(client, [applied.id])
    found = runs(client, applied, StateType.SCHEDULED)
    now = datetime.now(UTC)
    return sorted((run for run in found if run.expected_start_time < now), key=lambda run: run.expected_start_time)


def reasons(client: SyncPrefectClient, applied: Applied) -> list[tuple[str, str]]:
    dropped = runs(client, applied, StateType.COMPLETED)
    return [(run.state.name, run.state.message) for run in dropped if run.state]


def ask(client: SyncPrefectClient, applied: Applied) -> FlowRun:
    """As a person or an automation does."""
    hour_ago = datetime.now(UTC) - timedelta(hours=1)
    return client.create_flow_run_from_deployment(applied.id, state=Scheduled(scheduled_time=hour_ago))


def test_of_five_slots_that_passed_the_first_is_kept_with_the_parameters_of_today(
    client: SyncPrefectClient,
) -> None:
    make_late(client, written(client, HOURLY), hours=5)
    applied = written(client, HOURLY, dataset="imdb")
    first = min(run.expected_start_time for run in runs(client, applied, StateType.SCHEDULED))
    (kept,) = late(client, applied)
    assert (kept.expected_start_time, kept.parameters) == (first, {"dataset": "imdb"})
    assert reasons(client, applied) == [("Skipped", "Skipped: another run of this schedule waits already.")] * 4


def test_many_runs_of_one_deployment_keep_no_other_waiting(
    client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sentiflow.orchestration.due_runs._PAGE", 3)
    asked = written(client, HOURLY)
    other = apply(client, Deployment("flows.monitor.monitor", "Checks.", {}, HOURLY))
    for _ in range(4):
        ask(client, asked)
    make_late(client, other, hours=1)
    assert {run.deployment_id for run in due_runs(client, [asked.id, other.id])} == {asked.id, other.id}


def test_slots_that_pass_while_one_waits_are_dropped(client: SyncPrefectClient) -> None:
    """So waiting runs do not pile up while a run takes longer than its interval."""
    applied = written(client, HOURLY)
    make_late(client, applied, hours=6, until=4)
    (kept,) = late(client, applied)
    make_late(client, applied, hours=4)
    assert [run.id for run in late(client, applied)] == [kept.id]
    assert len(reasons(client, applied)) == 5


@pytest.mark.story
def test_more_runs_than_the_server_gives_at_once_are_dropped(client: SyncPrefectClient) -> None:
    applied = written(client, HOURLY)
    for hours in (204, 136, 68):
        make_late(client, applied, hours=hours, until=hours - 68)
    assert len(runs(client, applied, StateType.SCHEDULED)) == 200, "as many as one answer holds"
    (due,) = due_runs(client, [applied.id])
    now = datetime.now(UTC)  # the server plans further runs meanwhile
    left = [run for run in runs(client, applied, StateType.SCHEDULED) if run.expected_start_time < now]
    assert [run.id for run in left] == [due.id]


def test_what_is_not_due_is_left_alone(client: SyncPrefectClient) -> None:
    applied = written(client, HOURLY)
    client.request("POST", f"/deployments/{applied.id}/schedule", json={"min_runs": 3})
    before = {run.id for run in runs(client, applied, StateType.SCHEDULED)}
    assert len(before) >= 3
    assert due_runs(client, [applied.id]) == []
    assert {run.id for run in runs(client, applied, StateType.SCHEDULED)} == before


@pytest.mark.parametrize("what", ["deployment", "schedule"])
def test_what_is_paused_catches_up_on_nothing(client: SyncPrefectClient, what: str) -> None:
    applied = written(client, HOURLY)
    make_late(client, applied, hours=2)
    if what == "deployment":
        client.pause_deployment(applied.id)
    else:
        client.update_deployment_schedule(applied.id, applied.on_server.schedules[0].id, active=False)
    assert late(client, applied) == []
    assert set(reasons(client, applied)) == {("Skipped", "Skipped: its schedule was paused, changed or removed.")}


def test_late_runs_of_a_schedule_that_changed_are_dropped(client: SyncPrefectClient) -> None:
    make_late(client, written(client, HOURLY), hours=3)
    applied = written(client, IntervalSchedule(interval=timedelta(days=400)))
    assert late(client, applied) == []


def test_runs_that_a_person_asked_for_are_never_dropped(client: SyncPrefectClient) -> None:
    applied = written(client, HOURLY)
    asked = {ask(client, applied).id for _ in range(3)}
    make_late(client, applied, hours=2)
    left = {run.id for run in late(client, applied)}
    assert asked < left and len(left) == 4, "one of the schedule's two"


def test_a_run_that_is_repeated_after_a_failure_is_not_dropped(client: SyncPrefectClient) -> None:
    applied = written(client, HOURLY)
    make_late(client, applied, hours=3)
    begun = runs(client, applied, StateType.SCHEDULED)[0]
    client.set_flow_run_state(begun.id, Running(), force=True)
    client.set_flow_run_state(begun.id, AwaitingRetry(scheduled_time=datetime.now(UTC)), force=True)
    left = {run.id for run in late(client, applied)}
    assert begun.id in left and len(left) == 2, "the one that is repeated, and one of the two others"


def test_a_schedule_that_a_person_added_with_parameters_of_its_own_keeps_a_run(client: SyncPrefectClient) -> None:
    """Else the table that it names would never be scored."""
    applied = written(client, HOURLY)
    mine = DeploymentScheduleCreate(
        schedule=IntervalSchedule(interval=timedelta(minutes=20)), parameters={"dataset": "imdb"}
    )
    client.create_deployment_schedules(applied.id, [mine])
    make_late(client, applied, hours=3)
    left = [run.parameters["dataset"] for run in late(client, applied)]
    assert sorted(left) == ["imdb", "sample"]
