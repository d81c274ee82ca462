"""What the loop that runs deployments starts, and how it ends when its server is gone; stories tell the rest."""

import subprocess
import sys
from uuid import uuid4

import pytest
from prefect.client.schemas.responses import FlowRunResponse

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
