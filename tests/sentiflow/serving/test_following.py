"""The champion changes, breaks, goes and comes back under a running service."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import httpx
import numpy as np
import pytest
from mlflow.tracking import MlflowClient
from prometheus_client import generate_latest

from sentiflow.serving import champion
from sentiflow.serving.champion import Watcher
from sentiflow.serving.metrics import Metrics
from sentiflow.store.find import Champion
from sentiflow.store.records import CHAMPION, Version
from tests.polling import until
from tests.sentiflow.serving import service
from tests.sentiflow.serving.service import MODEL, Running
from tests.servers import mlflow
from tests.world import Trained, World

SOON = 3.0  # seconds within which a change must be seen


@dataclass(frozen=True)
class Registry:
    """A registry with version 1, its opposite as version 2, and a service on it."""

    world: World
    client: MlflowClient
    running: Running
    http: httpx.Client
    folder: Path

    def answering(self) -> int | None:
        response = self.http.get("/model")
        return int(response.json()["version"]) if response.status_code == 200 else None

    def failures(self, stage: str) -> float:
        name = f'sentiflow_champion_failures_total{{stage="{stage}"}} '
        line = next(line for line in self.http.get("/metrics").text.splitlines() if line.startswith(name))
        return float(line.split()[-1])


@pytest.fixture
def registry(trained: Trained, tmp_path: Path) -> Iterator[Registry]:
    world, client = service.copied(trained, tmp_path / "world")
    folder = tmp_path / "opposite"
    assert service.add_opposite(client, folder) == 2
    service.promote(client, 1)
    with service.running(world, "--dataset", "sample") as running, running.client() as http:
        yield Registry(world, client, running, http, folder)


def test_a_champion_that_cannot_be_loaded_leaves_the_old_one_answering_until_it_is_mended(
    registry: Registry,
) -> None:
    weights = registry.folder / "artifacts" / "weights.npz"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    service.promote(registry.client, 2)
    until(lambda: registry.http.get("/readyz").json()["problem"] != "")
    ready = registry.http.get("/readyz")
    assert (ready.status_code, ready.json()["model"]["version"]) == (200, 1)
    assert "version 2" in ready.json()["problem"] and "version 1 goes on" in ready.json()["problem"]
    assert str(registry.folder) not in ready.text  # places are for the log
    assert registry.failures("load") >= 1
    assert registry.http.post("/predict", json={"text": "good"}).headers["x-model-version"] == "1"
    weights.write_bytes(whole)
    until(lambda: registry.answering() == 2)
    assert registry.http.get("/readyz").json()["problem"] == ""
    assert len([line for line in registry.running.lines if "cannot be loaded" in line]) == 1


def test_without_the_alias_requests_get_503_with_a_sentence_until_it_is_back(registry: Registry) -> None:
    registry.client.delete_registered_model_alias(MODEL, "champion")
    until(lambda: registry.http.get("/readyz").status_code == 503, seconds=SOON)
    for refused in (
        registry.http.post("/predict", json={"text": "good"}),
        registry.http.post("/explain", json={"text": "good"}),
        registry.http.get("/model"),
    ):
        assert refused.status_code == 503
        assert "sentiflow promote --dataset sample" in refused.json()["detail"]
        assert int(refused.headers["retry-after"]) >= 1
    assert registry.http.get("/healthz").status_code == 200
    service.promote(registry.client, 2)
    until(lambda: registry.answering() == 2, seconds=SOON)


def test_a_model_that_is_registered_meanwhile_takes_no_ones_place(trained: Trained, tmp_path: Path) -> None:
    """Without a name the only model is followed; of several it would be imdb's, which has no champion yet."""
    world, client = service.copied(trained, tmp_path / "world")
    service.promote(client, 1)
    watcher = Watcher(world.settings, None, Metrics())
    before = watcher.find()
    client.create_registered_model("imdb-sentiment")
    assert before is not None and watcher.find() == before


@pytest.mark.story
@pytest.mark.parametrize("behind_a_server", [False, True])
def test_of_several_models_one_has_to_be_named(world: World, behind_a_server: bool) -> None:
    """Red if a service behind an MLflow server answered 503 for ever in place of its start's refusal."""
    uri = world.settings.tracking_uri
    for name in ("one", "two"):
        MlflowClient(uri, uri).create_registered_model(f"{name}-sentiment")
    with ExitStack() as opened:
        if behind_a_server:
            arguments = ["server", "--workers", "1", "--backend-store-uri", uri]
            uri = opened.enter_context(mlflow(arguments, world.root, "/health"))
            MlflowClient(uri, uri).search_registered_models()  # the first request opens the store
        refused = world.run("serve", "--port", "0", SENTIFLOW_TRACKING_URI=uri)
    assert refused.returncode == 2 and "--dataset one" in refused.stderr, refused.stderr
    with service.running(world, "--dataset", "one") as running, running.client() as http:
        assert "No version of one-sentiment is in use yet" in http.get("/readyz").json()["problem"]


@pytest.mark.parametrize(
    ("score", "explained", "served"),
    [
        (0.0, 0.0, True),
        (1.0, 1.0, True),
        (0.5, 0.5 + 9e-10, True),
        (0.5, 0.5 + 2e-9, False),
        (1.5, 1.5, False),
        (-0.5, -0.5, False),
        (float("nan"), float("nan"), False),
    ],
)
def test_a_version_is_served_if_its_score_is_a_probability_and_the_sum_of_its_words(
    score: float, explained: float, served: bool, monkeypatch: pytest.MonkeyPatch, world: World
) -> None:
    scorer = SimpleNamespace(
        score=lambda texts, threads: np.full(len(texts), score if threads == 1 else np.nan),
        explain=lambda _: SimpleNamespace(score=explained),
        label_names=("negative", "positive"),
        explains=True,
    )
    monkeypatch.setattr(champion, "load_scorer", lambda *_: scorer)
    found = Champion(Version(MODEL, 1, CHAMPION), None, None)
    metrics = Metrics()
    watcher = Watcher(world.settings, MODEL, metrics)
    watcher._load(found)
    assert (watcher.state.loaded is not None, watcher.checked.is_set()) == (served, served)
    assert f"sentiflow_champion_loads_total {float(served)}".encode() in generate_latest(metrics.registry)


def test_a_fault_of_the_service_itself_does_not_end_the_watching(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Such as metrics that cannot be written."""
    world, client = service.copied(trained, tmp_path / "world")
    watcher = Watcher(world.settings.model_copy(update={"serve_poll": 0.01}), MODEL, Metrics())
    failed = threading.Event()

    def fail(*_: object) -> None:
        failed.set()
        raise OSError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(watcher, "_set", fail)
        watcher.start()
        assert failed.wait(10)
    service.promote(client, 1)
    until(lambda: watcher.state.loaded is not None)
    watcher.stop()
    assert "A check of the registry failed" in caplog.text and "no room" in caplog.text


def test_a_service_started_before_there_is_a_store_waits_for_it_and_makes_none(
    trained: Trained, tmp_path: Path
) -> None:
    world = World(tmp_path / "world")
    world.root.mkdir()
    with service.running(world, "--dataset", "sample") as running, running.client() as http:
        refused = http.post("/predict", json={"text": "good"})
        assert (refused.status_code, "sentiflow train" in refused.json()["detail"]) == (503, True)
        assert http.get("/readyz").status_code == 503
        assert http.get("/").status_code == 200
        assert not (world.root / "mlruns").exists()
        _, client = service.copied(trained, tmp_path / "made elsewhere")
        service.promote(client, 1)
        shutil.copytree(tmp_path / "made elsewhere" / "mlruns", world.root / "mlruns")
        until(lambda: http.get("/readyz").status_code == 200, seconds=SOON)
        assert http.post("/predict", json={"text": "good"}).status_code == 200


def test_a_store_that_is_gone_or_empty_for_a_while_takes_nothing_out_of_service(
    registry: Registry, migrated_store: Path
) -> None:
    service.promote(registry.client, 1)
    until(lambda: registry.answering() == 1)
    store = registry.world.root / "mlruns" / "mlflow.db"
    for emptied in (False, True):
        away = store.rename(store.with_suffix(".away"))
        if emptied:
            shutil.copy(migrated_store, store)
        until(lambda: "goes on answering" in registry.http.get("/readyz").json()["problem"])
        assert registry.http.post("/predict", json={"text": "good"}).status_code == 200
        away.rename(store)
        until(lambda: registry.http.get("/readyz").json()["problem"] == "")
