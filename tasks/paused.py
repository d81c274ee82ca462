"""What a person changed on a Prefect server, carried over to a file that would undo it."""

from typing import Any

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule

from tasks.deployments import read


def keep_paused(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Entries of ``prefect.yaml`` in which what is paused stays paused, and schedules that a person added stay.

    Without them, ``prefect deploy`` makes all schedules and triggers of a deployment anew, and active.
    """
    with get_client(sync_client=True) as client:
        return [_kept(client, entry) for entry in entries]


def _kept(client: SyncPrefectClient, entry: dict[str, Any]) -> dict[str, Any]:
    flow = entry["entrypoint"].rpartition(".")[2]
    existing = read(client, f"{flow}/{entry['name']}")
    if existing is None:
        return entry
    paused = {each.slug for each in existing.schedules if not each.active}
    ours = [{**each, "active": each["slug"] not in paused} for each in entry["schedules"]]
    known = {each["slug"] for each in ours} | {entry["name"]}
    theirs = [_entry(each) for each in existing.schedules if each.slug not in known]
    kept = {**entry, "paused": existing.paused, "schedules": ours + theirs}
    if "triggers" in entry:
        off = _disabled(client, existing)
        kept["triggers"] = [{**each, "enabled": each["name"] not in off} for each in entry["triggers"]]
    return kept


def _entry(schedule: DeploymentSchedule) -> dict[str, Any]:
    return {
        **_moments(schedule.schedule),
        "active": schedule.active,
        "parameters": schedule.parameters,
        **({"slug": schedule.slug} if schedule.slug else {}),
    }


def _moments(schedule: CronSchedule | IntervalSchedule | RRuleSchedule | Any) -> dict[str, Any]:
    if isinstance(schedule, CronSchedule):
        return {"cron": schedule.cron, "timezone": schedule.timezone, "day_or": schedule.day_or}
    if isinstance(schedule, IntervalSchedule):
        anchor = {"anchor_date": schedule.anchor_date.isoformat(), "timezone": schedule.timezone}
        return {"interval": schedule.interval.total_seconds(), **anchor}
    return {"rrule": schedule.rrule, "timezone": schedule.timezone}


def _disabled(client: SyncPrefectClient, existing: DeploymentResponse) -> set[str]:
    automations = client.read_resource_related_automations(f"prefect.deployment.{existing.id}")
    return {each.name for each in automations if not each.enabled}
