"""What a deployment on the server keeps when it is written again."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule
from prefect.events import DeploymentEventTrigger
from prefect.events.schemas.automations import Automation
from prefect.filesystems import LocalFileSystem

from sentiflow.errors import UsageError
from sentiflow.operations.deployments import Applied, Deployment, Schedule, apply

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


def test_a_run_that_may_wait_for_a_person_has_no_place_that_prefect_could_take_away(
    client: SyncPrefectClient,
) -> None:
    """Red if a training that asks for a promotion were ended after four minutes without an answer."""
    apply(client, spec(HOURLY, concurrency_limit=1))
    assert apply(client, spec(HOURLY, concurrency_limit=1, asks=True)).on_server.global_concurrency_limit is None


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
    wanted = spec(HOURLY, triggers=(drift("one"),))
    before = apply(client, wanted)
    client.update_deployment_schedule(before.id, before.on_server.schedules[0].id, active=False)
    client.create_deployment_schedules(before.id, [(CronSchedule(cron="0 1 * * *"), True)])
    client.pause_automation(automations(client, before)[0].id)
    for _ in range(2):
        after = apply(client, wanted, "team")
        assert (after.id, after.on_server.work_pool_name, after.on_server.path) == (before.id, "team", None)
        assert {each.slug: each.active for each in after.on_server.schedules} == {"sentiflow": False, None: True}
        assert [each.enabled for each in automations(client, after)] == [False]
        planted = {"pull_steps": [{"prefect.deployments.steps.run_shell_script": {"script": "id"}}],
                   "job_variables": {"command": "id"}}  # fmt: skip
        client.request("PATCH", f"/deployments/{after.id}", json=planted)
    written = apply(client, wanted, "team").on_server
    assert (written.pull_steps, written.job_variables) == ([], {})


def drift(name: str) -> DeploymentEventTrigger:
    match = {"prefect.resource.id": f"sentiflow.model.{name}"}
    return DeploymentEventTrigger(name=name, expect={"sentiflow.drift"}, match=match, parameters={"promote": True})


def automations(client: SyncPrefectClient, applied: Applied) -> list[Automation]:
    return list(client.read_resource_related_automations(f"prefect.deployment.{applied.id}"))


def test_triggers_follow_the_table(client: SyncPrefectClient) -> None:
    def names(*wanted: str) -> list[str]:
        applied = apply(client, spec(None, triggers=tuple(drift(name) for name in wanted)))
        return [each.name for each in automations(client, applied)]

    assert names("one") == ["one"]
    assert names("one") == ["one"]
    assert names("two") == ["two"]
    assert names() == []


def test_a_trigger_that_was_paused_stays_paused(client: SyncPrefectClient) -> None:
    before = apply(client, spec(None, triggers=(drift("one"), drift("two"))))
    (first,) = (each for each in automations(client, before) if each.name == "one")
    client.pause_automation(first.id)
    after = apply(client, before.spec)
    assert {each.name: each.enabled for each in automations(client, after)} == {"one": False, "two": True}


def as_planted(client: SyncPrefectClient, deployment_id: UUID) -> tuple[DeploymentResponse, list[dict[str, Any]]]:
    """The deployment, and what its own automations do, but for ids and times."""
    shell = client.read_deployment(deployment_id)
    owned = client.read_resource_related_automations(f"prefect.deployment.{deployment_id}")
    return shell, [each.model_dump(include={"name", "enabled", "trigger", "actions"}) for each in owned]


def without_ids(found: DeploymentResponse) -> dict[str, Any]:
    moments = {"created", "updated", "last_polled", "status", "created_by", "updated_by"}
    schedules = [each.model_dump(exclude=moments | {"id"}) for each in found.schedules]
    limit = found.global_concurrency_limit
    return found.model_dump(exclude=moments) | {
        "schedules": schedules,
        "global_concurrency_limit": limit and limit.limit,
    }


def test_what_a_stranger_wrote_into_a_deployment_is_gone_at_the_next_start(client: SyncPrefectClient) -> None:
    wanted = spec(HOURLY, concurrency_limit=1, triggers=(drift("one"),))
    clean = apply(client, wanted)
    clean_found, clean_automations = as_planted(client, clean.id)
    storage = LocalFileSystem(basepath="/tmp/evil").save("evil", overwrite=True)
    planted = {
        "pull_steps": [{"prefect.deployments.steps.run_shell_script": {"script": "id"}}],
        "job_variables": {"command": "id", "env": {"PYTHONPATH": "/tmp/evil"}},
        "entrypoint": "evil.py:run",
        "path": "/tmp/evil",
        "parameters": {"dataset": "/tmp/evil.csv"},
        "parameter_openapi_schema": {"type": "object", "properties": {}},
        "enforce_parameter_schema": False,
        "storage_document_id": str(storage),
        "description": "evil",
        "version": "evil",
        "tags": ["evil"],
        "concurrency_limit": 99,
        "concurrency_options": {"collision_strategy": "CANCEL_NEW"},
    }
    path = f"/deployments/{clean.id}"
    client.request("PATCH", path, json=planted)
    (ours,) = clean_found.schedules
    client.request("PATCH", f"{path}/schedules/{ours.id}", json={"parameters": {"dataset": "/tmp/evil.csv"}})
    (trigger,) = automations(client, clean)
    evil = trigger.model_dump(mode="json", exclude={"id", "created", "updated", "owner_resource"})
    evil["actions"] = [{"type": "run-deployment", "source": "inferred", "parameters": {"dataset": "evil"}}]
    client.request("PUT", f"/automations/{trigger.id}", json=evil)
    client.request("POST", "/automations/", json=evil | {"owner_resource": f"prefect.deployment.{clean.id}"})
    found, owned = as_planted(client, clean.id)
    kept = {name for name, value in without_ids(found).items() if value == without_ids(clean_found)[name]}
    assert kept & ({*planted, "schedules", "global_concurrency_limit"} - {"concurrency_limit"}) == set(), "planted"
    assert len(owned) == 2 and all(each["actions"] != clean_automations[0]["actions"] for each in owned)

    apply(client, wanted)
    found, owned = as_planted(client, clean.id)
    assert without_ids(found) == without_ids(clean_found)
    assert owned == clean_automations
