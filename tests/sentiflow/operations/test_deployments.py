"""What a deployment on the server keeps when it is written again, and when it runs."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas import filters
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule
from prefect.events import DeploymentEventTrigger
from prefect.events.schemas.automations import Automation
from prefect.filesystems import LocalFileSystem
from prefect.states import Scheduled

from flows.schedules import deployments
from sentiflow.errors import UsageError
from sentiflow.operations.deployments import (
    Applied,
    Deployment,
    Schedule,
    apply,
    describe_schedule,
    next_time,
    parse_schedule,
)
from sentiflow.settings import Settings

HOURLY = IntervalSchedule(interval=timedelta(hours=1))
DAILY = IntervalSchedule(interval=timedelta(days=1))


def spec(schedule: Schedule | None, **more: Any) -> Deployment:
    return Deployment("flows.promote.promote", "Promotes.", {"dataset": "sample"}, schedule, **more)


def shape(applied: Applied) -> list[tuple[Any, bool]]:
    return [(each.schedule.interval, each.active) for each in applied.on_server.schedules]


def test_what_the_table_says_stands_on_the_server(client: SyncPrefectClient) -> None:
    made = apply(client, spec(HOURLY, concurrency_limit=1)).on_server
    assert (made.name, made.description, made.parameters) == ("promote", "Promotes.", {"dataset": "sample"})
    assert (made.tags, made.entrypoint, made.paused) == (["sentiflow"], "flows.promote.promote", False)
    assert made.global_concurrency_limit is not None and made.global_concurrency_limit.limit == 1
    assert made.enforce_parameter_schema and "dataset" in (made.parameter_openapi_schema or {})["properties"]


def test_the_form_of_a_training_begins_with_what_people_choose(client: SyncPrefectClient) -> None:
    made = apply(client, Deployment("flows.train.train", "Trains.")).on_server
    shown = (made.parameter_openapi_schema or {})["properties"]
    assert sorted(shown, key=lambda name: shown[name]["position"])[:3] == ["dataset", "seed", "config"]


def test_a_schedule_that_is_as_it_was_stays_the_same_one(client: SyncPrefectClient) -> None:
    """Else the moment of its making, from which missed slots count, would be lost at each start."""
    before = apply(client, spec(HOURLY)).on_server
    after = apply(client, spec(HOURLY, concurrency_limit=1)).on_server
    assert after.id == before.id
    assert [each.id for each in after.schedules] == [each.id for each in before.schedules]


def test_a_schedule_that_changed_is_replaced_and_one_that_is_off_goes(client: SyncPrefectClient) -> None:
    assert shape(apply(client, spec(HOURLY))) == [(timedelta(hours=1), True)]
    assert shape(apply(client, spec(DAILY))) == [(timedelta(days=1), True)]
    assert shape(apply(client, spec(None))) == []


@pytest.mark.parametrize("wanted", [HOURLY, DAILY], ids=["as it was", "changed"])
def test_a_paused_schedule_stays_paused(client: SyncPrefectClient, wanted: Schedule) -> None:
    before = apply(client, spec(HOURLY)).on_server
    client.update_deployment_schedule(before.id, before.schedules[0].id, active=False)
    after = apply(client, spec(wanted))
    assert shape(after) == [(wanted.interval, False)]
    assert after.active == []


def test_a_paused_deployment_stays_paused(client: SyncPrefectClient) -> None:
    client.pause_deployment(apply(client, spec(HOURLY)).id)
    after = apply(client, spec(DAILY))
    assert after.on_server.paused and after.active == []


def test_a_schedule_that_a_person_added_is_left_alone(client: SyncPrefectClient) -> None:
    before = apply(client, spec(HOURLY))
    mine = CronSchedule(cron="0 1 * * *")
    client.create_deployment_schedules(before.id, [(mine, True)])
    after = apply(client, spec(None)).on_server
    assert [each.schedule.cron for each in after.schedules] == ["0 1 * * *"]


def test_what_belongs_to_a_work_pool_is_not_taken_over(client: SyncPrefectClient) -> None:
    client.create_work_pool(WorkPoolCreate(name="machines", type="process"))
    flow_id = client.create_flow_from_name("promote")
    client.create_deployment(flow_id=flow_id, name="promote", work_pool_name="machines")
    with pytest.raises(UsageError, match="work pool machines"):
        apply(client, spec(HOURLY))


def test_a_work_pool_takes_over_and_what_is_paused_stays_paused(client: SyncPrefectClient) -> None:
    client.create_work_pool(WorkPoolCreate(name="team", type="process"))
    wanted = spec(HOURLY)
    before = apply(client, wanted)
    client.update_deployment_schedule(before.id, before.on_server.schedules[0].id, active=False)
    client.create_deployment_schedules(before.id, [(CronSchedule(cron="0 1 * * *"), True)])
    for _ in range(2):
        after = apply(client, wanted, "team")
        assert (after.id, after.on_server.work_pool_name, after.on_server.path) == (before.id, "team", None)
        assert {each.slug: each.active for each in after.on_server.schedules} == {"sentiflow": False, None: True}
        planted = {"pull_steps": [{"prefect.deployments.steps.run_shell_script": {"script": "id"}}],
                   "job_variables": {"command": "id"}}  # fmt: skip
        client.request("PATCH", f"/deployments/{after.id}", json=planted)
    written = apply(client, wanted, "team").on_server
    assert (written.pull_steps, written.job_variables) == ([], {})


def automations(client: SyncPrefectClient, applied: Applied) -> list[Automation]:
    return list(client.read_resource_related_automations(f"prefect.deployment.{applied.id}"))


def without_ids(found: DeploymentResponse) -> dict[str, Any]:
    moments = {"created", "updated", "last_polled", "status", "created_by", "updated_by"}
    schedules = [each.model_dump(exclude=moments | {"id"}) for each in found.schedules]
    limit = found.global_concurrency_limit
    return found.model_dump(exclude=moments) | {
        "schedules": schedules,
        "global_concurrency_limit": limit and limit.limit,
    }


def test_what_a_stranger_wrote_into_a_deployment_is_gone_at_the_next_start(client: SyncPrefectClient) -> None:
    wanted = spec(HOURLY, concurrency_limit=1)
    clean = apply(client, wanted)
    clean_found = client.read_deployment(clean.id)
    storage = LocalFileSystem(basepath="/tmp/evil").save("evil", overwrite=True)
    planted = {
        "pull_steps": [{"prefect.deployments.steps.run_shell_script": {"script": "id"}}],
        "job_variables": {"command": "id", "env": {"PYTHONPATH": "/tmp/evil"}},
        "entrypoint": "evil.py:run", "path": "/tmp/evil", "storage_document_id": str(storage),
        "parameters": {"dataset": "/tmp/evil.csv"}, "enforce_parameter_schema": False,
        "parameter_openapi_schema": {"type": "object", "properties": {}},
        "description": "evil", "version": "evil", "tags": ["evil"], "concurrency_limit": 99,
        "concurrency_options": {"collision_strategy": "CANCEL_NEW"},
    }  # fmt: skip
    path = f"/deployments/{clean.id}"
    client.request("PATCH", path, json=planted)
    (ours,) = clean_found.schedules
    client.request("PATCH", f"{path}/schedules/{ours.id}", json={"parameters": {"dataset": "/tmp/evil.csv"}})
    evil = DeploymentEventTrigger(name="evil", expect={"any"}, parameters={"dataset": "evil"})
    evil.set_deployment_id(clean.id)
    client.create_automation(evil.as_automation())
    found = client.read_deployment(clean.id)
    kept = {name for name, value in without_ids(found).items() if value == without_ids(clean_found)[name]}
    assert kept & ({*planted, "schedules", "global_concurrency_limit"} - {"concurrency_limit"}) == set(), "planted"
    assert len(automations(client, clean)) == 1

    apply(client, wanted)
    assert without_ids(client.read_deployment(clean.id)) == without_ids(clean_found)
    assert automations(client, clean) == []


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
    make_late(client, apply(client, spec(HOURLY)), hours=3)
    assert late(client, apply(client, spec(HOURLY))) == 3


@pytest.mark.parametrize(("schedule", "dataset"), [(DAILY, "sample"), (HOURLY, "imdb")])
def test_what_was_missed_goes_when_the_schedule_or_what_it_starts_has_changed(
    client: SyncPrefectClient, schedule: Schedule, dataset: str
) -> None:
    """Red if a recipe of before were trained, and promoted, after the settings name another one."""
    applied = apply(client, spec(HOURLY))
    make_late(client, applied, hours=3)
    first, *_ = runs(client, applied)
    waits = Scheduled(name="AwaitingConcurrencySlot", scheduled_time=datetime.now(UTC))
    client.set_flow_run_state(first.id, waits, force=True)
    assert late(client, apply(client, replace(spec(schedule), parameters={"dataset": dataset}))) == 0


def test_settings_that_stayed_the_same_change_no_deployment(client: SyncPrefectClient) -> None:
    """Red if their parameters came back from the server as other values: nothing would be caught up on."""
    table = {"labels": {"good": 1, "bad": 0}, "max_rejects": "1%"}
    wanted = deployments(Settings(_env_file=None, schedule_dataset="reviews.csv", schedule_table=table))
    before, after = ([apply(client, spec).on_server for spec in wanted] for _ in range(2))
    for old, new in zip(before, after, strict=True):
        assert [each.id for each in new.schedules] == [each.id for each in old.schedules], new.name


@pytest.mark.parametrize(
    ("text", "seconds", "told"),
    [
        ("every 30s", 30, "every 30s"),
        ("every 90m", 5_400, "every 90m"),
        ("every 6 h", 21_600, "every 6h"),
        ("every  86400s", 86_400, "every 1d"),
    ],
)
def test_an_interval_is_read_and_told_in_the_largest_unit_that_fits(text: str, seconds: int, told: str) -> None:
    schedule = parse_schedule(text, "Europe/Berlin", "--train")
    assert isinstance(schedule, IntervalSchedule)
    assert (schedule.interval, describe_schedule(schedule)) == (timedelta(seconds=seconds), told)


def test_a_cron_line_keeps_its_time_zone() -> None:
    schedule = parse_schedule(" 0  3 * * 1 ", "Europe/Berlin", "--train")
    assert schedule == CronSchedule(cron="0 3 * * 1", timezone="Europe/Berlin")
    assert describe_schedule(schedule) == "0 3 * * 1 (Europe/Berlin)"


@pytest.mark.parametrize("text", ["off", " OFF "])
def test_off_is_no_schedule(text: str) -> None:
    assert parse_schedule(text, "UTC", "--train") is None


@pytest.mark.parametrize(
    "text", ["", "every 0s", "every 5y", "0 3 * *", "0 0 3 * * 1", "61 * * * *", "0 0 30 2 *"]
)
def test_anything_else_is_refused_by_its_option(text: str) -> None:
    with pytest.raises(UsageError, match="^--train: "):
        parse_schedule(text, "UTC", "--train")


def first(text: str, after: str, timezone: str = "UTC") -> str:
    schedule = parse_schedule(text, timezone, "--train")
    assert schedule is not None
    found = next_time(schedule, datetime.fromisoformat(after))
    assert found is not None
    return found.isoformat(timespec="seconds")


def test_a_cron_line_follows_the_clocks_of_its_zone() -> None:
    """Three in Berlin is one hour before UTC in winter, two in summer (from 29 March 2026 on)."""
    assert first("0 3 * * *", "2026-03-27T12:00:00+00:00", "Europe/Berlin") == "2026-03-28T02:00:00+00:00"
    assert first("0 3 * * *", "2026-03-29T12:00:00+00:00", "Europe/Berlin") == "2026-03-30T01:00:00+00:00"


@pytest.mark.parametrize(("after", "next_one"), [("13:31", "25T18:00"), ("18:00", "26T00:00")])
def test_an_interval_stands_at_the_same_moments_and_the_next_is_later_than_one(after: str, next_one: str) -> None:
    assert first("every 6h", f"2026-11-25T{after}:00+00:00") == f"2026-11-{next_one}:00+00:00"
