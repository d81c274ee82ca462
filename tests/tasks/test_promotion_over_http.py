"""Promotion through a real MLflow server, its artifacts proxied."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.train import train
from sentiment.recipes import load_recipe
from sentiment.settings import load_settings
from tasks import promotion
from tasks.champion import champion_of, history_of
from tasks.tracking import connect
from tasks.weigh import weigh
from tests.world import World

NAME = "sample-sentiment"
QUICK = ["epochs=1", "sequence_length=80"]


@pytest.fixture
def server(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a server over this test's own store; the settings lead there."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)),
            *("--workers", "1", "--backend-store-uri", world.settings.tracking_uri),
            *("--artifacts-destination", str(world.root / "served")),
        ],
        env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{address}/health", process)
        monkeypatch.setenv("SENTIFLOW_TRACKING_URI", address)
        yield address
    finally:
        process.terminate()
        process.wait()


def wait_for(url: str, process: "subprocess.Popen[bytes]", seconds: float = 90) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise TimeoutError(url)


def test_two_versions_are_trained_weighed_promoted_and_rolled_back(server: str, prefect_server: None) -> None:
    settings = load_settings()
    for seed in (1, 2):
        train(load_recipe("seed", QUICK), "sample", seed)
    for version in (1, 2):
        weighed = weigh(NAME, version, settings)
        verdict = promotion.decide(weighed, force=True, reason="over http")
        promotion.carry_out(weighed, verdict, settings)
    client = connect(settings)
    assert champion_of(client, NAME) == 2
    promotion.rollback(NAME, "back", settings)
    events, champion = history_of(NAME, settings)
    assert champion == champion_of(client, NAME) == 1
    assert [(event.kind, event.version, event.replaced) for event in events] == [
        ("promotion", 1, None), ("promotion", 2, 1), ("rollback", 1, 2),
    ]  # fmt: skip
    location = client.get_model_version_download_uri(NAME, "1")
    assert location.startswith("mlflow-artifacts:") and not Path(location).exists()
