"""What the loop that runs deployments starts, and how it ends when its server is gone; stories tell the rest."""

import asyncio
import gc
import signal
import ssl
import subprocess
import sys
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.responses import FlowRunResponse

from sentiflow.orchestration import due_runs
from sentiflow.orchestration.deployments import Deployment, apply
from sentiflow.orchestration.due_runs import to_start
from tests.servers import free_port
from tests.world import World

PATIENCE_OF_NONE = """\
from flows.cli.console import exit_code, report
from sentiflow.orchestration import due_runs
due_runs._PATIENCE_SECONDS = 0.0
try:
    due_runs.run_until_signal([], lambda: print("asked to end"))
except Exception as err:
    report(err, debug=False)
    raise SystemExit(exit_code(err))
"""


def test_a_slot_waits_for_the_run_before_and_what_is_asked_for_waits_for_the_limit_alone() -> None:
    score, train = uuid4(), uuid4()
    slots, asked = (
        {each: FlowRunResponse.model_construct(deployment_id=each, auto_scheduled=auto) for each in (score, train)}
        for auto in (True, False)
    )
    limits = {score: None, train: 1}
    assert to_start([slots[score], slots[train]], limits, {}) == [score, train]
    assert to_start([slots[score], slots[train]], limits, {score: 1, train: 1}) == []
    assert to_start([asked[score], asked[train]], limits, {score: 3, train: 1}) == [score]


def test_certificates_of_runs_that_have_ended_do_not_stay_in_memory(
    client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment = apply(client, Deployment("flows.promote.promote", "Promotes.", {}, None)).id
    started, stop = 0, asyncio.Event()

    def next_one(_due: object, _limits: object, running: dict[UUID, int]) -> list[UUID]:
        nonlocal started
        if running:
            return []
        if started == 6:
            stop.set()
            return []
        started += 1
        return [deployment]

    def contexts() -> int:
        # Not by `isinstance`, which asks a weak reference's proxy, whose object may be gone.
        return sum(issubclass(type(each), ssl.SSLContext) for each in gc.get_objects())

    monkeypatch.setattr(due_runs, "_POLL_SECONDS", 0.1)
    monkeypatch.setattr(due_runs, "to_start", next_one)
    gc.collect()
    before, handler = contexts(), signal.getsignal(signal.SIGTERM)
    gc.disable()  # else it may free them by chance
    try:
        asyncio.run(due_runs._poll(client, {deployment: None}, {}, stop))
        left = contexts() - before
    finally:
        gc.enable()
        gc.collect()  # here, not in a test that counts what others left open
        signal.signal(signal.SIGTERM, handler)  # each runner of Prefect sets its own
    assert left <= 2, "those of the last run, which the loop still knows"


@pytest.mark.story
def test_a_server_that_is_gone_ends_it_as_a_failed_world(world: World) -> None:
    address = f"http://127.0.0.1:{free_port()}/api"
    done = subprocess.run(
        [sys.executable, "-c", PATIENCE_OF_NONE],
        env=world.environment(PREFECT_API_URL=address, PREFECT_CLIENT_MAX_RETRIES="0"),
        cwd=world.root, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (done.returncode, "The Prefect server does not answer" in done.stderr) == (3, True), done.stderr
    assert "Traceback" not in done.stderr and done.stdout == ""
