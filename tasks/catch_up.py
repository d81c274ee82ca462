"""Runs of schedules whose time has come: one of them waits, not one for each slot that passed."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.responses import FlowRunResponse
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled

SKIPPED = "Skipped"
"""Name of the state of a run that was dropped; the state's type is CANCELLED."""


def due_runs(
    client: SyncPrefectClient, deployment_ids: Sequence[UUID], before: datetime | None = None
) -> list[FlowRunResponse]:
    """Drop runs that are due and surplus, and give those that are due and left, earliest first.

    Of the runs that schedules made, the earliest is kept for each deployment and set of parameters; it gets the
    parameters of today. A run whose schedule was paused, changed or removed is dropped. Runs that a person or a
    trigger asked for, and runs that are repeated after a failure, stay as they are.

    Args:
        client: of the server.
        deployment_ids: whose runs.
        before: what is due later is left out; by default now.
    """
    while True:
        due = client.get_scheduled_flow_runs_for_deployments(
            list(deployment_ids), scheduled_before=before or datetime.now(UTC)
        )
        try:
            surplus = _surplus(client, due)
            for run, why in surplus:
                dropped: Any = Cancelled(name=SKIPPED, message=f"Skipped: {why}.")
                client.set_flow_run_state(run.id, dropped, force=True)
        except ObjectNotFound:  # somebody deletes runs or a deployment
            continue
        if not surplus:
            return due


def _surplus(client: SyncPrefectClient, due: Sequence[FlowRunResponse]) -> list[tuple[FlowRunResponse, str]]:
    """Those to drop, and why; the others are given the parameters of today."""
    surplus = []
    kept: list[tuple[UUID, dict[str, Any]]] = []
    schedules: dict[UUID, dict[UUID, dict[str, Any]]] = {}
    for run in due:
        if not (run.auto_scheduled and run.deployment_id and run.created_by) or run.run_count:
            continue
        if run.deployment_id not in schedules:
            schedules[run.deployment_id] = _parameters(client, run.deployment_id)
        parameters = schedules[run.deployment_id].get(run.created_by.id)  # type: ignore[arg-type]
        if parameters is None:
            surplus.append((run, "its schedule was paused, changed or removed"))
        elif (run.deployment_id, parameters) in kept:
            surplus.append((run, "another run of this schedule waits already"))
        else:
            kept.append((run.deployment_id, parameters))
            if run.parameters != parameters:
                client.update_flow_run(run.id, parameters=parameters)
    return surplus


def _parameters(client: SyncPrefectClient, deployment_id: UUID) -> dict[UUID, dict[str, Any]]:
    """The parameters of runs that the active schedules of a deployment make, by the id of the schedule."""
    deployment = client.read_deployment(deployment_id)
    active = [] if deployment.paused else [each for each in deployment.schedules if each.active]
    return {each.id: deployment.parameters | each.parameters for each in active}
