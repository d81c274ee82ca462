"""The whole chain, with a server that runs triggers: drifted texts, a check, its event, a training, the gate."""

import csv
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mlflow.entities.model_registry import ModelVersion
from mlflow.tracking import MlflowClient

from benchmarks import sample
from sentiflow.monitoring.log import SCORED, Entry, TextLog
from sentiflow.monitoring.sample import samples
from tests.polling import until
from tests.receiver import Receiver, receiver
from tests.servers import free_port
from tests.world import Trained, World, command, copy_world

pytestmark = [pytest.mark.story, pytest.mark.weekly, pytest.mark.timeout(900)]

MODEL = "reviews-sentiment"


@contextmanager
def scheduled(world: World, **variables: str) -> Iterator[None]:
    """``sentiflow schedule`` with a server of its own."""
    port = free_port()
    environment = world.environment(SENTIFLOW_PREFECT_PORT=str(port), **variables)
    environment.pop("PREFECT_API_URL", None)
    options = ["--dataset", "reviews", "--recipe", "tutorial", "--set", "sequence_length=80", "--set", "epochs=1"]
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


def test_after_drift_what_is_new_is_trained_on_and_else_texts_wait_for_labels(
    trained: Trained, tmp_path: Path
) -> None:
    world = copy_world(tmp_path, trained.world)
    uri = world.variables["SENTIFLOW_TRACKING_URI"]
    client = MlflowClient(uri, uri)
    write(world.root / "reviews" / "one.csv", 3)
    recipe = ["--recipe", "tutorial", "--set", "sequence_length=80"]
    done = world.run("train", "--dataset", "reviews", *recipe)
    assert done.returncode == 0, done.stderr
    client.set_registered_model_alias(MODEL, "champion", "1")
    folder = tmp_path / "log"
    log = TextLog(folder, 10_000_000)
    told = (world.root / "schedule.log").read_text

    def judged() -> list[ModelVersion]:
        versions = client.search_model_versions(f"name = '{MODEL}'")
        return [version for version in versions if "gate.against" in version.tags]

    def check(seed: int) -> None:
        texts = [
            text.replace("the ", "le ").replace("was ", "fut ") for text, *_ in sample.sample_rows(2, 300, seed)
        ]
        log.append([Entry("2026-01-01", SCORED, MODEL, 1, 0.5, text) for text in texts])
        done = world.run("trigger", "monitor", PREFECT_API_URL="")
        assert done.returncode == 0, done.stdout + done.stderr

    with (
        receiver() as got,
        scheduled(world, SENTIFLOW_PREDICTION_LOG_DIR=str(folder), SENTIFLOW_NOTIFY_URL=got.address),
    ):
        until(lambda: "Prefect UI:" in told(), told=told)
        check(7)
        until(lambda: drifts(got), told=told)
        (drawn,) = samples(MODEL, world.settings)
        write(world.root / "reviews" / "two.csv", 4)
        check(8)
        until(judged, told=told)
    first, second = drifts(got)
    assert f"Nothing new to train on. Label {drawn.title}: http://" in first and drawn.queue in first
    assert "reviews has something new to train on." in second
    assert len(drawn.texts) == 200 and len(samples(MODEL, world.settings)) == 1
    (version,) = judged()
    assert (int(version.version), version.tags["gate.against"]) == (2, "version 1")
    run = client.get_run(version.run_id)
    assert run.info.status == "FINISHED" and run.data.params["epochs"] == "1"


def write(file: Path, seed: int) -> None:
    file.parent.mkdir(exist_ok=True)
    with file.open("w", newline="") as lines:
        rows = ((text, label) for text, label, _ in sample.sample_rows(2, 400, seed))
        csv.writer(lines).writerows([("text", "label"), *rows])


def drifts(got: Receiver) -> list[str]:
    return [message["text"] for message in got.messages if message["event"] == "drifted"]
