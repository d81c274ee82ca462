"""Deployments of the flows: when they run, how they are registered, which of them are paused."""

import asyncio
import importlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias
from uuid import UUID

from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate
from prefect.client.schemas.objects import ConcurrencyLimitStrategy, ConcurrencyOptions, DeploymentSchedule
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule, NoSchedule, RRuleSchedule
from prefect.events import DeploymentEventTrigger
from prefect.exceptions import ObjectNotFound
from prefect.server.schemas.schedules import SCHEDULE_TYPES
from pydantic import TypeAdapter, ValidationError

from sentiflow.errors import UsageError
from sentiflow.settings import OFF

EXPECTED = "a cron line (0 3 * * 1), an interval (every 30s, 15m, 6h or 7d), or off"

NAME = "sentiflow"
"""Of every deployment: ``train/sentiflow`` and so on."""

_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


@dataclass(frozen=True)
class Schedule:
    """When something runs.

    Attributes:
        cron: a cron line, or empty for an interval.
        interval: between two runs, counted from the start of 2020 in UTC; zero for a cron line.
        timezone: what a cron line's hours are hours of.
    """

    cron: str = ""
    interval: timedelta = timedelta(0)
    timezone: str = "UTC"

    def __str__(self) -> str:
        if self.cron:
            return f"{self.cron} ({self.timezone})"
        seconds = round(self.interval.total_seconds())
        unit = max((unit for unit in _SECONDS if seconds % _SECONDS[unit] == 0), key=_SECONDS.__getitem__)
        return f"every {seconds // _SECONDS[unit]}{unit}"


@dataclass(frozen=True)
class Trigger:
    """An event that starts a run, and the parameters that differ then."""

    name: str
    event: str
    resource: str
    parameters: dict[str, Any]


@dataclass(frozen=True)
class Deployment:
    """A flow with its parameters and its schedule.

    Attributes:
        concurrency_limit: runs at a time, beyond which others wait; None for no limit.
    """

    flow: str
    description: str
    parameters: dict[str, Any] = field(default_factory=dict)
    schedule: Schedule | None = None
    concurrency_limit: int | None = None
    triggers: tuple[Trigger, ...] = ()
    tags: tuple[str, ...] = (NAME,)

    @property
    def entrypoint(self) -> str:
        """The flow's module and name, as an import would find it."""
        return f"flows.{self.flow}.{self.flow}"

    @property
    def full_name(self) -> str:
        """What Prefect calls it."""
        return f"{self.flow}/{NAME}"


def parse_schedule(text: str, timezone: str, what: str) -> Schedule | None:
    """Read a schedule; None for ``off``. A cron line's fields are counted here, and judged by whoever runs it.

    Args:
        text: a cron line, ``every 30s`` and the like, or ``off``.
        timezone: of a cron line.
        what: the setting or option, for the message.

    Raises:
        UsageError: it is none of these.

    Example:
        >>> str(parse_schedule("every 3600s", "UTC", "--train")), parse_schedule("off", "UTC", "--train")
        ('every 1h', None)
    """
    text = " ".join(text.split())
    if text.lower() == OFF:
        return None
    if found := re.fullmatch(r"every (\d{1,6}) ?([smhd])", text):
        seconds = int(found[1]) * _SECONDS[found[2]]
        if seconds:
            return Schedule(interval=timedelta(seconds=seconds))
    elif re.fullmatch(r"@[a-z]+", text) or len(text.split()) == 5:
        return Schedule(cron=text, timezone=timezone)
    raise UsageError(f"{what}: expected {EXPECTED}, got {text!r}.", f'For example: {what} "every 6h"')


PrefectSchedule: TypeAlias = CronSchedule | IntervalSchedule | RRuleSchedule | NoSchedule

# Slots of an interval stay where they are when a deployment is written anew: every 6h is 0, 6, 12 and 18 o'clock.
_ANCHOR = datetime(2020, 1, 1, tzinfo=UTC)


def check(table: Sequence[Deployment]) -> None:
    """Judge the cron lines of all deployments, before a server is started for them.

    Raises:
        UsageError: one is malformed.
    """
    for each in table:
        if each.schedule is not None:
            as_prefect(each.schedule, f"The schedule of {each.flow}")


def as_prefect(schedule: Schedule, what: str) -> PrefectSchedule:
    """The schedule for Prefect.

    Args:
        schedule: from a setting or an option.
        what: its name, for the message.

    Raises:
        UsageError: the cron line is malformed, or names a day that never comes.
    """
    if not schedule.cron:
        return IntervalSchedule(interval=schedule.interval, anchor_date=_ANCHOR, timezone="UTC")
    try:
        made = CronSchedule(cron=schedule.cron, timezone=schedule.timezone)
    except ValidationError as err:
        raise UsageError(f"{what}: expected {EXPECTED}, got {schedule.cron!r}.") from err
    try:
        first_slot(made, datetime.now(UTC))
    except ValueError as err:  # it cannot be told from the line alone: the 30th of February
        raise UsageError(f"{what}: {schedule.cron!r} names a moment that never comes.") from err
    return made


def first_slot(schedule: PrefectSchedule, after: datetime) -> datetime | None:
    """The first moment of a schedule later than another; None when there is none."""
    if isinstance(schedule, NoSchedule):
        return None
    server_side: SCHEDULE_TYPES = TypeAdapter(SCHEDULE_TYPES).validate_python(schedule.model_dump())
    found = asyncio.run(server_side.get_dates(n=1, start=after + timedelta(microseconds=1)))
    return found[0].astimezone(UTC) if found else None


# An update changes only the fields that it names, so it names all that Prefect knows.
_KEPT = {"paused", "schedules"}
_EMPTY = {
    name: field.get_default(call_default_factory=True)
    for name, field in DeploymentUpdate.model_fields.items()
    if name not in _KEPT
}


@dataclass(frozen=True)
class Applied:
    """A deployment as it stands on the server."""

    spec: Deployment
    on_server: DeploymentResponse

    @property
    def id(self) -> UUID:
        """The server's id of it."""
        return self.on_server.id

    @property
    def active(self) -> list[PrefectSchedule]:
        """The schedules that start runs."""
        if self.on_server.paused:
            return []
        return [each.schedule for each in self.on_server.schedules if each.active]


def apply(client: SyncPrefectClient, spec: Deployment) -> Applied:
    """Write a deployment to the server, every field of it: what somebody else wrote there does not stay.

    Two things are kept: what is paused stays paused (the deployment, its schedule, its triggers), and schedules
    that a person added are left alone.

    Raises:
        UsageError: it belongs to a work pool, whose workers run it, or its schedule is malformed.
    """
    wanted = None if spec.schedule is None else as_prefect(spec.schedule, f"The schedule of {spec.flow}")
    existing = read(client, spec.full_name)
    if existing is None:
        deployment_id = _create(client, spec, wanted)
    elif existing.work_pool_name:
        raise UsageError(
            f"{spec.full_name} belongs to the work pool {existing.work_pool_name} of this Prefect server.",
            "Its workers run it; `sentiflow schedule` is for a server of its own: unset PREFECT_API_URL.",
        )
    else:
        deployment_id = existing.id
        client.update_deployment(deployment_id, DeploymentUpdate(**_EMPTY | _fields(spec)))
        _reschedule(client, existing, wanted)
    _write_triggers(client, deployment_id, spec)
    return Applied(spec, client.read_deployment(deployment_id))


def read(client: SyncPrefectClient, full_name: str) -> DeploymentResponse | None:
    """The deployment of that name, or None."""
    try:
        return client.read_deployment_by_name(full_name)
    except ObjectNotFound:
        return None


def load_flow(spec: Deployment) -> Flow[..., Any]:
    """The flow itself."""
    module, _, name = spec.entrypoint.rpartition(".")
    flow: Flow[..., Any] = getattr(importlib.import_module(module), name)
    return flow


def _create(client: SyncPrefectClient, spec: Deployment, wanted: PrefectSchedule | None) -> UUID:
    return client.create_deployment(
        flow_id=client.create_flow_from_name(spec.flow), name=NAME, schedules=_schedules(wanted, active=True),
        **_fields(spec),
    )  # fmt: skip


def _fields(spec: Deployment) -> dict[str, Any]:
    """What the table says, but for the schedule."""
    flow = load_flow(spec)
    limit = spec.concurrency_limit
    return {
        "version": flow.version,
        "description": spec.description,
        "tags": list(spec.tags),
        "parameters": spec.parameters,
        "parameter_openapi_schema": flow.parameters.model_dump(exclude_unset=True),
        "enforce_parameter_schema": True,
        "path": str(Path.cwd()),
        "entrypoint": spec.entrypoint,
        "pull_steps": [],
        "concurrency_limit": limit,
        "concurrency_options": limit and ConcurrencyOptions(collision_strategy=ConcurrencyLimitStrategy.ENQUEUE),
    }


def _schedules(wanted: PrefectSchedule | None, *, active: bool) -> list[DeploymentScheduleCreate]:
    return [] if wanted is None else [DeploymentScheduleCreate(schedule=wanted, active=active, slug=NAME)]


def _reschedule(client: SyncPrefectClient, existing: DeploymentResponse, wanted: PrefectSchedule | None) -> None:
    ours = [each for each in existing.schedules if each.slug == NAME]
    made = _schedules(wanted, active=all(each.active for each in ours))
    compared = {"schedule", "active", "slug", "parameters", "max_scheduled_runs"}
    if [each.model_dump(include=compared) for each in ours] == [
        each.model_dump(include=compared) for each in made
    ]:
        return
    for each in ours:
        client.delete_deployment_schedule(existing.id, each.id)
    if made:
        client.create_deployment_schedules(existing.id, made)


def _write_triggers(client: SyncPrefectClient, deployment_id: UUID, spec: Deployment) -> None:
    """Make the deployment's own automations anew; one that was paused is paused again."""
    owner = f"prefect.deployment.{deployment_id}"
    paused = {each.name for each in client.read_resource_related_automations(owner) if not each.enabled}
    client.delete_resource_owned_automations(owner)
    for trigger in spec.triggers:
        made = DeploymentEventTrigger(
            name=trigger.name,
            enabled=trigger.name not in paused,
            expect={trigger.event},
            match={"prefect.resource.id": trigger.resource},
            parameters=trigger.parameters,
        )
        made.set_deployment_id(deployment_id)
        client.create_automation(made.as_automation())


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
