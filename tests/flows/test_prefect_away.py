"""A Prefect server that goes away in the middle of a training."""

import os
import signal
import subprocess
import time

import pytest

from sentiflow.store.client import connect
from tests import servers
from tests.world import World, command


@pytest.mark.story
@pytest.mark.weekly
@pytest.mark.timeout(600)
def test_a_training_whose_prefect_server_is_killed_ends_within_seconds_and_says_what_is_registered(
    world: World,
) -> None:
    with servers.prefect(world.root) as address:
        (server,) = world.processes()
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
                    os.kill(server, signal.SIGKILL)
                if "registered sample-sentiment version 1" in line:
                    registered_at = time.monotonic()
            code = training.wait(30)
        finally:
            training.kill()
    text = "".join(said)
    assert code == 3, text
    assert registered_at and time.monotonic() - registered_at < 100  # by Prefect's own settings it is 277 s
    assert "Error: The Prefect server does not answer: " in text
    assert not [word for word in ("EventsWorker", "Error logging to API", "Traceback") if word in text]
    (run,) = connect(world.settings).search_runs(["1"])
    assert run.data.tags["end"].startswith("The Prefect server does not answer: ")
