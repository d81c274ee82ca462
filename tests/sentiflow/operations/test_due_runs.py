"""How the loop that runs deployments ends when its server is gone; stories tell the rest."""

import subprocess
import sys

import pytest

from tests.servers import free_port
from tests.world import World

PROGRAM = """\
from flows.cli.messages import exit_code, report
from sentiflow.operations.due_runs import run_until_signal
try:
    run_until_signal([], lambda: print("asked to end"))
except Exception as err:
    report(err, debug=False)
    raise SystemExit(exit_code(err))
"""


@pytest.mark.story
def test_a_server_that_is_gone_ends_it_as_a_failed_world(world: World) -> None:
    address = f"http://127.0.0.1:{free_port()}/api"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=world.environment(PREFECT_API_URL=address, PREFECT_CLIENT_MAX_RETRIES="0"),
        cwd=world.root, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (done.returncode, "The Prefect server does not answer" in done.stderr) == (3, True), done.stderr
    assert "Traceback" not in done.stderr and "asked to end" not in done.stdout
