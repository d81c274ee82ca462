"""Deployments on a Prefect server: written there from a table, without undoing what a person paused."""

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
    """Write a deployment to the server.

    A schedule that is as it was stays untouched, with the moment it was made; one that changed is replaced,
    and stays paused if it was. So does the deployment. Schedules that a person added are left alone.

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
        client.update_deployment(deployment_id, DeploymentUpdate(**_fields(spec)))
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
        "concurrency_limit": limit,
        "concurrency_options": limit and ConcurrencyOptions(collision_strategy=ConcurrencyLimitStrategy.ENQUEUE),
    }


def _schedules(wanted: PrefectSchedule | None, *, active: bool) -> list[DeploymentScheduleCreate]:
    return [] if wanted is None else [DeploymentScheduleCreate(schedule=wanted, active=active, slug=NAME)]


def _reschedule(client: SyncPrefectClient, existing: DeploymentResponse, wanted: PrefectSchedule | None) -> None:
    ours = [each for each in existing.schedules if each.slug == NAME]
    if [each.schedule for each in ours] == ([] if wanted is None else [wanted]):
        return
    for each in ours:
        client.delete_deployment_schedule(existing.id, each.id)
    if wanted is not None:
        active = all(each.active for each in ours)
        client.create_deployment_schedules(existing.id, _schedules(wanted, active=active))


def _write_triggers(client: SyncPrefectClient, deployment_id: UUID, spec: Deployment) -> None:
    """Make the automations anew, but for those that are there by their name: a person may have paused them."""
    owner = f"prefect.deployment.{deployment_id}"
    there = {each.name for each in client.read_resource_related_automations(owner)}
    if there == {trigger.name for trigger in spec.triggers}:
        return
    client.delete_resource_owned_automations(owner)
    for trigger in spec.triggers:
        made = DeploymentEventTrigger(
            name=trigger.name,
            expect={trigger.event},
            match={"prefect.resource.id": trigger.resource},
            parameters=trigger.parameters,
        )
        made.set_deployment_id(deployment_id)
        client.create_automation(made.as_automation())
