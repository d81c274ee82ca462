"""After a downtime: one run for all that was missed, not one for each slot, and none for nothing."""

import logging
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas import filters
from prefect.client.schemas.objects import DeploymentSchedule, FlowRun, State, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.states import Cancelled, Scheduled

from tasks.deployments import Applied
from tasks.slots import first_slot

logger = logging.getLogger(__name__)

TAG = "catch-up"

_BY_SCHEDULE = "auto-scheduled"  # Prefect's own tag of a run that a schedule made
_PAGE = 200  # the most that Prefect's API gives at once


def catch_up(client: SyncPrefectClient, applied: Applied, began: datetime) -> FlowRun | None:
    """Replace the runs that a schedule made and nothing ran by a single one, made now; None if no slot was missed.

    What counts are slots since the deployment was last served, or since its schedule was made. The new run has
    the parameters of today. Runs that a person or a trigger asked for are left as they are.

    Args:
        client: of the server.
        applied: the deployment.
        began: when the downtime ended; what is due later is not late.
    """
    waiting = _all_waiting(client, applied.id, began)
    late = [run for run in waiting if run.auto_scheduled and not run.run_count]
    slot = _first_missed(client, applied, late, began)
    made = None
    if slot is not None and not any(TAG in run.tags for run in waiting):
        made = client.create_flow_run_from_deployment(
            applied.id,
            state=Scheduled(message=f"Catches up on everything that was due since {slot:%Y-%m-%d %H:%M:%S} UTC."),
            tags=[TAG],
            idempotency_key=f"catch-up {applied.id} {slot.isoformat()}",
        )
    for run in late:  # last: if this process is killed before, the next one finds them and makes no second run
        dropped: State[Any] = Cancelled(
            message="It was due while nothing could run it; one run catches up on all."
        )
        client.set_flow_run_state(run.id, dropped, force=True)
    return made


def _first_missed(
    client: SyncPrefectClient, applied: Applied, late: list[FlowRun], began: datetime
) -> datetime | None:
    """The first slot that has passed without a run, of schedules that hold and are not paused."""
    active = [] if applied.on_server.paused else [each for each in applied.on_server.schedules if each.active]
    ids = {each.id for each in active}
    due = [run.expected_start_time for run in late if run.created_by is not None and run.created_by.id in ids]
    slots = [first_slot(each.schedule, _last_served(client, applied, each)) for each in active]
    return min((slot for slot in [*due, *slots] if slot is not None and slot <= began), default=None)


def _last_served(client: SyncPrefectClient, applied: Applied, schedule: DeploymentSchedule) -> datetime:
    """Until when slots were seen to: somebody asked for runs then, or ran one that was due a little later."""
    made = schedule.created or datetime.now(UTC)
    polled = max(made, applied.on_server.last_polled or made)
    begun = client.read_flow_runs(
        flow_run_filter=filters.FlowRunFilter(
            deployment_id=filters.FlowRunFilterDeploymentId(any_=[applied.id]),
            state=filters.FlowRunFilterState(
                type=filters.FlowRunFilterStateType(not_any_=[StateType.SCHEDULED, StateType.CANCELLED])
            ),
            tags=filters.FlowRunFilterTags(all_=[_BY_SCHEDULE]),
            expected_start_time=filters.FlowRunFilterExpectedStartTime(after_=polled),
        ),
        sort=FlowRunSort.EXPECTED_START_TIME_DESC,
        limit=1,
    )
    return max([polled, *(run.expected_start_time for run in begun if run.expected_start_time)])


def _all_waiting(client: SyncPrefectClient, deployment_id: UUID, before: datetime) -> list[FlowRun]:
    """Every run of the deployment that waits although its time has come."""
    found: list[FlowRun] = []
    while True:
        page = client.read_flow_runs(
            flow_run_filter=filters.FlowRunFilter(
                deployment_id=filters.FlowRunFilterDeploymentId(any_=[deployment_id]),
                state=filters.FlowRunFilterState(type=filters.FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
                expected_start_time=filters.FlowRunFilterExpectedStartTime(before_=before),
            ),
            sort=FlowRunSort.EXPECTED_START_TIME_ASC,
            limit=_PAGE,
            offset=len(found),
        )
        found += page
        if len(page) < _PAGE:
            return found
