"""The registered model under MLflow's own server."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from sentiment.scoring import TextScorer
from tasks.scorers import load_scorer
from tasks.versions import find_version
from tests.world import Trained

TEXTS = ["The acting was dull and wooden.", "The direction was touching and at times rewarding.", "", "zyzzyva 😀"]


@pytest.fixture(scope="module")
def address(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """``mlflow models serve`` on the registered version, from a folder that is not the project's."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    programs = Path(sys.executable).parent
    model = trained.result.model
    process = subprocess.Popen(
        [programs / "mlflow", "models", "serve", "--env-manager", "local", "--port", str(port),
         "--model-uri", f"models:/{model.name}/{model.version}"],
        env={
            **os.environ,
            "MLFLOW_TRACKING_URI": trained.world.variables["SENTIFLOW_TRACKING_URI"],
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",  # it calls uvicorn by its name
        },
        cwd=tmp_path_factory.mktemp("elsewhere"), start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait(f"http://127.0.0.1:{port}/ping", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # the command starts the server as a child
        process.wait()


def wait(address: str, process: "subprocess.Popen[bytes]", seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while True:
        assert process.poll() is None and time.monotonic() < until, "the server did not start"
        try:
            if httpx.get(address, trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.2)


def scorer_of(trained: Trained) -> TextScorer:
    settings = trained.world.settings
    return load_scorer(settings, find_version(settings, trained.result.model.name, 1))


def test_mlflows_own_server_gives_the_scores_that_the_scorer_gives(address: str, trained: Trained) -> None:
    scores = scorer_of(trained).score(TEXTS)
    body = {"dataframe_split": {"columns": ["text"], "data": [[text] for text in TEXTS]}}
    response = httpx.post(f"{address}/invocations", json=body, trust_env=False)
    assert response.status_code == 200, response.text
    predictions = response.json()["predictions"]
    assert [one["score"] for one in predictions] == pytest.approx(scores.tolist(), abs=1e-12)
    assert [one["label"] for one in predictions] == ["positive" if score > 0.5 else "negative" for score in scores]
