"""What a deployment on the server keeps when it is written again."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.schedules import CronSchedule

from sentiment.errors import UsageError
from sentiment.schedules import Deployment, Schedule, Trigger
from tasks.deployments import Applied, apply

HOURLY = Schedule(interval=timedelta(hours=1))
DAILY = Schedule(interval=timedelta(days=1))


@pytest.fixture
def client(prefect_server: None) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        yield client
        for each in client.read_deployments():
            client.delete_resource_owned_automations(f"prefect.deployment.{each.id}")
            client.delete_deployment(each.id)


def spec(schedule: Schedule | None, **more: Any) -> Deployment:
    return Deployment("promote", "Promotes.", {"dataset": "sample"}, schedule, **more)


def shape(applied: Applied) -> list[tuple[Any, bool]]:
    return [(each.schedule.interval, each.active) for each in applied.on_server.schedules]


def test_what_the_table_says_stands_on_the_server(client: SyncPrefectClient) -> None:
    made = apply(client, spec(HOURLY, concurrency_limit=1)).on_server
    assert (made.name, made.description, made.parameters) == ("sentiflow", "Promotes.", {"dataset": "sample"})
    assert (made.tags, made.entrypoint, made.paused) == (["sentiflow"], "flows.promote.promote", False)
    assert made.global_concurrency_limit is not None and made.global_concurrency_limit.limit == 1
    assert made.concurrency_options is not None and made.concurrency_options.collision_strategy == "ENQUEUE"
    assert made.enforce_parameter_schema and "dataset" in (made.parameter_openapi_schema or {})["properties"]


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
    client.create_deployment(flow_id=flow_id, name="sentiflow", work_pool_name="machines")
    with pytest.raises(UsageError, match="work pool machines"):
        apply(client, spec(HOURLY))


def test_a_trigger_is_made_once_and_follows_the_table(client: SyncPrefectClient) -> None:
    def triggers(*names: str) -> tuple[Trigger, ...]:
        return tuple(
            Trigger(name, "sentiflow.drift", f"sentiflow.model.{name}", {"force": True}) for name in names
        )

    def ids(applied: Applied) -> dict[str, Any]:
        owner = f"prefect.deployment.{applied.id}"
        return {each.name: each.id for each in client.read_resource_related_automations(owner)}

    first = ids(apply(client, spec(None, triggers=triggers("one"))))
    assert ids(apply(client, spec(None, triggers=triggers("one")))) == first
    assert set(ids(apply(client, spec(None, triggers=triggers("two"))))) == {"two"}
    assert ids(apply(client, spec(None))) == {}
