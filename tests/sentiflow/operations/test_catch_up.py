"""What becomes of slots that passed while nothing could run them."""

from datetime import UTC, datetime, timedelta

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas import filters
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.states import Scheduled

from flows.schedules import deployments
from sentiflow.operations.deployments import Applied, Deployment, Schedule, apply
from sentiflow.settings import Settings

HOURLY = IntervalSchedule(interval=timedelta(hours=1))
DAILY = IntervalSchedule(interval=timedelta(days=1))


def written(client: SyncPrefectClient, schedule: Schedule, dataset: str = "sample") -> Applied:
    return apply(client, Deployment("flows.promote.promote", "Promotes.", {"dataset": dataset}, schedule))


def make_late(client: SyncPrefectClient, applied: Applied, hours: int) -> None:
    """Let Prefect's scheduler make the runs of some hours ago, as it does ahead of time."""
    now = datetime.now(UTC)
    body = {"start_time": (now - timedelta(hours=hours)).isoformat(), "end_time": now.isoformat(), "min_runs": 100}
    client.request("POST", f"/deployments/{applied.id}/schedule", json=body)


def runs(client: SyncPrefectClient, applied: Applied) -> list[FlowRun]:
    """Those that wait, earliest first."""
    wanted = filters.FlowRunFilter(
        deployment_id={"any_": [applied.id]}, state={"type": {"any_": [StateType.SCHEDULED]}}
    )
    found = client.read_flow_runs(flow_run_filter=wanted)
    return sorted(found, key=lambda run: str(run.expected_start_time))


def late(client: SyncPrefectClient, applied: Applied) -> int:
    return sum(str(run.expected_start_time) < str(datetime.now(UTC)) for run in runs(client, applied))


def test_what_a_schedule_missed_waits_for_the_next_start(client: SyncPrefectClient) -> None:
    make_late(client, written(client, HOURLY), hours=3)
    assert late(client, written(client, HOURLY)) == 3


@pytest.mark.parametrize(("schedule", "dataset"), [(DAILY, "sample"), (HOURLY, "imdb")])
def test_what_was_missed_goes_when_the_schedule_or_what_it_starts_has_changed(
    client: SyncPrefectClient, schedule: Schedule, dataset: str
) -> None:
    """Red if a recipe of before were trained, and promoted, after the settings name another one."""
    applied = written(client, HOURLY)
    make_late(client, applied, hours=3)
    first, *_ = runs(client, applied)
    waits = Scheduled(name="AwaitingConcurrencySlot", scheduled_time=datetime.now(UTC))
    client.set_flow_run_state(first.id, waits, force=True)
    assert late(client, written(client, schedule, dataset)) == 0


def test_settings_that_stayed_the_same_change_no_deployment(client: SyncPrefectClient) -> None:
    """Red if their parameters came back from the server as other values: nothing would be caught up on."""
    table = {"labels": {"good": 1, "bad": 0}, "max_rejects": "1%"}
    wanted = deployments(Settings(_env_file=None, schedule_dataset="reviews.csv", schedule_table=table))
    before, after = ([apply(client, spec).on_server for spec in wanted] for _ in range(2))
    for old, new in zip(before, after, strict=True):
        assert [each.id for each in new.schedules] == [each.id for each in old.schedules], new.name
