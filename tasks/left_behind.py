"""Flow runs whose process was killed together with what watched over it."""

import logging
import os
import re
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas import filters
from prefect.client.schemas.objects import FlowRun, StateType

from tasks import flow_runs

logger = logging.getLogger(__name__)

_BEGUN = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
_ID = re.compile(r"PREFECT__FLOW_RUN_ID=([0-9a-f-]{36})")
_END_SECONDS = 30  # as long as Prefect's runner gives


def close_left_behind(
    client: SyncPrefectClient, deployment_ids: Sequence[UUID]
) -> tuple[list[FlowRun], list[FlowRun]]:
    """Mark runs of these deployments as crashed that say they run, and have no process on this machine.

    A crashed run frees its place at once; otherwise the next one waits for minutes.

    Returns:
        The runs that were closed, and those that go on, in processes of a schedule that was killed.
    """
    alive = processes()
    begun = _begun(client, deployment_ids)
    dead = [run for run in begun if run.id not in alive]
    for run in dead:
        flow_runs.crash(client, run, "Its process was killed; closed by the next `sentiflow schedule`.", logger)
    return dead, [run for run in begun if run.id in alive]


def end_processes(client: SyncPrefectClient, deployment_ids: Sequence[UUID]) -> None:
    """End the processes that run these deployments and that nobody watches over: their server is about to go."""
    runs = {run.id for run in _begun(client, deployment_ids)}
    mine = {process for run, all_of_it in processes().items() if run in runs for process in all_of_it}
    for number in (signal.SIGTERM, signal.SIGKILL):
        for process in mine:
            try:
                os.kill(process, number)
            except ProcessLookupError:
                continue
        until = time.monotonic() + _END_SECONDS
        while mine and time.monotonic() < until:
            mine &= {process for all_of_it in processes().values() for process in all_of_it}
            time.sleep(0.2)


def processes() -> dict[UUID, set[int]]:
    """Which processes here run which flow run: Prefect starts one with its id, and children inherit that."""
    texts = _environments() if Path("/proc/self/environ").exists() else _listing()
    found: dict[UUID, set[int]] = {}
    for process, text in texts.items():
        if told := _ID.search(text):
            found.setdefault(UUID(told[1]), set()).add(process)
    return found


def _environments() -> dict[int, str]:
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            found[int(folder.name)] = (folder / "environ").read_bytes().decode(errors="replace")
        except OSError:  # it has ended, or belongs to somebody else
            continue
    return found


def _listing() -> dict[int, str]:
    """The same where there is no /proc, as on macOS."""
    done = subprocess.run(["ps", "-axEww", "-o", "pid=,command="], capture_output=True, text=True, check=True)
    rows = (line.split(maxsplit=1) for line in done.stdout.splitlines())
    return {int(row[0]): row[1] for row in rows if len(row) == 2}


def _begun(client: SyncPrefectClient, deployment_ids: Sequence[UUID]) -> list[FlowRun]:
    return client.read_flow_runs(
        flow_run_filter=filters.FlowRunFilter(
            deployment_id=filters.FlowRunFilterDeploymentId(any_=list(deployment_ids)),
            state=filters.FlowRunFilterState(type=filters.FlowRunFilterStateType(any_=_BEGUN)),
        )
    )
