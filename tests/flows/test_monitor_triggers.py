"""The whole chain, with a server that runs triggers: drifted texts, a check, its event, a training, the gate."""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mlflow.entities.model_registry import ModelVersion
from mlflow.tracking import MlflowClient

from benchmarks import sample
from sentiflow.monitoring import SCORED, Entry, TextLog
from tests.servers import free_port
from tests.world import Trained, World, command, copy_world

pytestmark = [pytest.mark.story, pytest.mark.weekly, pytest.mark.timeout(900)]

MODEL = "sample-sentiment"


@contextmanager
def scheduled(world: World, **variables: str) -> Iterator[None]:
    """``sentiflow schedule`` with a server of its own."""
    port = free_port()
    environment = world.environment(SENTIFLOW_PREFECT_PORT=str(port), **variables)
    environment.pop("PREFECT_API_URL", None)
    options = ["--dataset", "sample", "--recipe", "tutorial", "--set", "sequence_length=80", "--set", "epochs=1"]
    with (world.root / "schedule.log").open("w") as log:
        process = subprocess.Popen(
            [command(), "schedule", "--train", "off", "--housekeeping", "off", *options],
            env=environment, cwd=world.root, stdout=log, stderr=log,
        )  # fmt: skip
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(60)
            finally:
                process.kill()


def wait(holds: Callable[[], object], world: World, seconds: float = 150) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, (world.root / "schedule.log").read_text()[-5_000:]
        time.sleep(0.3)


def is_up(world: World) -> bool:
    return "Prefect UI:" in (world.root / "schedule.log").read_text()


def test_drift_starts_a_training_whose_version_meets_the_gate(trained: Trained, tmp_path: Path) -> None:
    world = copy_world(tmp_path, trained.world)
    uri = world.variables["SENTIFLOW_TRACKING_URI"]
    client = MlflowClient(uri, uri)
    client.set_registered_model_alias(MODEL, "champion", "1")
    rows = sample.sample_rows(2, 300, 7)
    texts = [text.replace("the ", "le ").replace("was ", "fut ") for text, *_ in rows]
    folder = tmp_path / "log"
    TextLog(folder, 10_000_000).append([Entry("2026-01-01", SCORED, MODEL, 1, 0.5, text) for text in texts])

    def judged() -> list[ModelVersion]:
        versions = client.search_model_versions(f"name = '{MODEL}'")
        return [version for version in versions if "gate.against" in version.tags]

    with scheduled(world, SENTIFLOW_PREDICTION_LOG_DIR=str(folder)):
        wait(lambda: is_up(world), world)
        done = world.run("trigger", "monitor", PREFECT_API_URL="")
        assert done.returncode == 0, done.stdout + done.stderr
        wait(judged, world)
    (version,) = judged()
    assert (int(version.version), version.tags["gate.against"]) == (2, "version 1")
    run = client.get_run(version.run_id)
    assert run.info.status == "FINISHED" and run.data.params["epochs"] == "1"
