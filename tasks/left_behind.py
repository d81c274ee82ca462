"""Flow runs whose process was killed together with the schedule that watched over it."""

import logging
from collections.abc import Sequence
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas import filters
from prefect.client.schemas.objects import FlowRun, StateType

from tasks import flow_runs

logger = logging.getLogger(__name__)

_BEGUN = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]


def close_left_behind(client: SyncPrefectClient, deployment_ids: Sequence[UUID]) -> list[FlowRun]:
    """Mark runs of these deployments as crashed that say they run: their process ended with its schedule.

    A crashed run frees its place at once; otherwise the next one waits for minutes.

    Returns:
        The runs that were closed.
    """
    begun = client.read_flow_runs(
        flow_run_filter=filters.FlowRunFilter(
            deployment_id=filters.FlowRunFilterDeploymentId(any_=list(deployment_ids)),
            state=filters.FlowRunFilterState(type=filters.FlowRunFilterStateType(any_=_BEGUN)),
        )
    )
    for run in begun:
        flow_runs.crash(client, run, "Its process was killed; closed by the next `sentiflow schedule`.", logger)
    return begun
