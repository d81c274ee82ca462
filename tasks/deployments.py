"""Deployments on a Prefect server: written there whole from a table, without undoing what a person paused."""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate
from prefect.client.schemas.objects import ConcurrencyLimitStrategy, ConcurrencyOptions
from prefect.client.schemas.responses import DeploymentResponse
from prefect.events import DeploymentEventTrigger
from prefect.exceptions import ObjectNotFound

from sentiment.errors import UsageError
from sentiment.schedules import NAME, Deployment
from tasks.slots import PrefectSchedule, as_prefect

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
