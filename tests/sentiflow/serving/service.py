"""A service as a user starts it, and registries to start it on."""

import re
import resource
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import httpx
from mlflow.tracking import MlflowClient
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from sentiflow.scoring import TextScorer
from sentiflow.serving.metrics import Metrics
from tests.polling import until
from tests.world import Trained, World, command, make_world

MODEL = "sample-sentiment"
HARD_LIMIT = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
TEXTS = [
    "The acting was dull and wooden.",
    "The direction was touching and at times rewarding.",
    "Nobody here knows any of it: zyzzyva qwertz!",
]


@dataclass
class Running:
    """A service that answers."""

    process: "subprocess.Popen[str]"
    address: str
    lines: list[str] = field(default_factory=list)

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.address, timeout=60, trust_env=False, **options)

    @property
    def host_and_port(self) -> tuple[str, int]:
        parts = urlparse(self.address)
        return str(parts.hostname), int(parts.port or 0)


@contextmanager
def running(world: World, *options: str, descriptors: int = 1_024, **variables: str) -> Iterator[Running]:
    """``sentiflow serve`` on a free port, until the block ends; with so many descriptors of files at its start."""
    limit = partial(resource.setrlimit, resource.RLIMIT_NOFILE, (descriptors, HARD_LIMIT))
    environment = world.environment(SENTIFLOW_SERVE_POLL="0.2", **variables)
    process = subprocess.Popen(
        [command(), "serve", "--port", "0", *options],
        env=environment, cwd=world.root, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        preexec_fn=limit,
    )  # fmt: skip
    lines: list[str] = []
    told = threading.Event()
    reader = threading.Thread(target=_read, args=(process, lines, told))
    reader.start()
    try:
        assert told.wait(120), lines
        found = re.search(r"http://[^\s,]+", "\n".join(lines))
        assert found, lines
        made = Running(process, found[0], lines)
        with made.client() as http:  # it answers before it has read the registry, if that takes long
            until(lambda: "has not checked the registry" not in http.get("/readyz").text)
        yield made
    finally:
        process.terminate()
        try:
            process.wait(30)
        finally:
            process.kill()
            reader.join()


def _read(process: "subprocess.Popen[str]", lines: list[str], told: threading.Event) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        lines.append(line)
        if "answers at http" in line:
            told.set()
    told.set()


def copied(trained: Trained, root: Path) -> tuple[World, MlflowClient]:
    """A registry of this test's own, with the trained version as number 1 and no champion."""
    world = make_world(root, trained.world.root / "mlruns" / "mlflow.db")
    uri = world.variables["SENTIFLOW_TRACKING_URI"]
    return world, MlflowClient(uri, uri)


def promote(client: MlflowClient, number: int) -> None:
    client.set_registered_model_alias(MODEL, "champion", str(number))


def files(client: MlflowClient, number: int) -> Path:
    location = client.get_model_version_download_uri(MODEL, str(number))
    return Path(unquote(urlparse(location).path))


def scorer_of(client: MlflowClient, number: int) -> TextScorer:
    """The second route to a score: the version's files and no service."""
    return TextScorer.load(files(client, number) / "artifacts")


def add_opposite(client: MlflowClient, folder: Path) -> int:
    """Register a version that says the opposite of version 1: its last layer with the other sign."""
    shutil.copytree(files(client, 1), folder)
    scorer = scorer_of(client, 1)
    weights = replace(
        scorer.weights, dense_kernel=-scorer.weights.dense_kernel, dense_bias=-scorer.weights.dense_bias
    )
    replace(scorer, weights=weights).save(folder / "artifacts")
    version = client.create_model_version(MODEL, folder.as_uri(), tags={"test.accuracy": "0.25"})
    return int(version.version)


def figure(http: httpx.Client, name: str, /, **labels: str) -> float:
    """A figure of the service's metrics; 0 where there is none yet."""
    return figures(http.get("/metrics").text).get(_named(name, labels), 0.0)


def figures(text: str) -> dict[str, float]:
    """All figures of metrics, each by its name and labels: ``sentiflow_champion_failures_total stage=load``."""
    families = text_string_to_metric_families(text)
    return {_named(each.name, each.labels): each.value for family in families for each in family.samples}


def shown(metrics: Metrics) -> dict[str, float]:
    """All figures, without a service."""
    return figures(generate_latest(metrics.registry).decode())


def _named(name: str, labels: Mapping[str, str]) -> str:
    return " ".join([name, *(f"{key}={value}" for key, value in sorted(labels.items()))])


def exchange(running: Running, sent: bytes, seconds: float = 10) -> bytes:
    """The beginning of the answer to raw bytes."""
    with socket.create_connection(running.host_and_port, timeout=seconds) as connection:
        connection.sendall(sent)
        return connection.recv(65_536)
