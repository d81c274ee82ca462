"""A Prefect server that goes away in the middle of a training."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sentiflow.tracking.client import connect
from tests.servers import free_port, wait_for
from tests.world import World, command


@contextmanager
def prefect(world: World) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """A Prefect server of its own; gives the address of its API."""
    port, log = free_port(), world.root / "prefect.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [Path(sys.executable).with_name("prefect"), "--no-prompt", "server", "start", "--port", str(port)],
            env=world.environment(PREFECT_API_URL=""), stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
        try:
            wait_for(f"http://127.0.0.1:{port}/api/health", process, log, seconds=180)
            yield f"http://127.0.0.1:{port}/api", process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.mark.story
@pytest.mark.timeout(600)
def test_a_training_whose_prefect_server_is_killed_ends_within_seconds_and_says_what_is_registered(
    world: World,
) -> None:
    with prefect(world) as (address, server):
        training = subprocess.Popen(
            [command(), "train", "--dataset", "sample", "--set", "epochs=4", "--set", "sequence_length=40"],
            env=world.environment(PREFECT_API_URL=address), cwd=world.root,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        said, registered_at = [], 0.0
        try:
            assert training.stderr is not None
            for line in training.stderr:
                said.append(line)
                if "epoch 1/" in line:
                    os.killpg(server.pid, signal.SIGKILL)
                if "registered sample-sentiment version 1" in line:
                    registered_at = time.monotonic()
            code = training.wait(30)
        finally:
            training.kill()
    text = "".join(said)
    assert code == 3, text
    assert registered_at and time.monotonic() - registered_at < 100  # by Prefect's own settings it is 277 s
    assert "Registered before the failure: sample-sentiment version 1" in text
    assert "Error: The Prefect server does not answer: " in text
    assert not [word for word in ("EventsWorker", "Error logging to API", "Traceback") if word in text]
    (run,) = connect(world.settings).search_runs(["1"])
    assert run.data.tags["end"].startswith("The Prefect server does not answer: ")
