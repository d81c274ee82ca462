"""The world of the tests: stores and folders of their own, one Prefect server, no network."""

import gc
import os
import pickle
import shutil
import socket
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest
from filelock import FileLock

from sentiflow import signals
from sentiflow.settings import PREFIX, Settings
from sentiflow.training.recipes import load_recipe
from tests import servers
from tests.world import Trained, World, copy_world, make_world

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from prefect.client.orchestration import SyncPrefectClient

    from sentiflow.data.reviews import Reviews
    from sentiflow.scoring import Vocabulary

Made = TypeVar("Made")

MIRROR = {name: os.environ.get(name, "") for name in (
    "SENTIFLOW_IMDB_URL", "SENTIFLOW_IMDB_SHA256", "SENTIFLOW_WORD_INDEX_URL", "SENTIFLOW_WORD_INDEX_SHA256",
)}  # fmt: skip

# What the command line sets for itself; the tests call flows directly, too.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # a dead server is dead at once
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL", "0.5")  # seconds, of 5


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files first whose tests may take longest, so that no process is left with one at the end."""
    longest: dict[Path, float] = {}
    for item in items:
        if limit := item.get_closest_marker("timeout"):
            longest[item.path] = max(limit.args[0], longest.get(item.path, 0))
    items.sort(key=lambda item: -longest.get(item.path, 0))


@pytest.fixture(autouse=True, scope="session")
def _no_network() -> Iterator[None]:
    """Refuse every connection that leaves this machine."""
    connect_for_real = socket.socket.connect

    def connect_at_home(self: socket.socket, address: object) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and isinstance(address, tuple):
            host = str(address[0])
            if not (host.startswith("127.") or host in ("::1", "localhost")):
                raise OSError(101, f"the tests have no network (asked for {host})")
        connect_for_real(self, address)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", connect_at_home)
        yield


@pytest.fixture(autouse=True, scope="session")
def _own_settings() -> Iterator[None]:
    """Hide the settings of whoever runs the tests; each test makes its own world."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(PREFIX)]:
            patch.delenv(name)
        yield


@pytest.fixture(autouse=True, scope="session")
def _no_listening_to_signals() -> Iterator[None]:
    """A flow of a deployment listens: a minute after a test's signal, it would end the process of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(signals, "listen", lambda: None)
        yield


@pytest.fixture(autouse=True)
def _no_store_of_another_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow's client names its store in the environment, for whichever process is started later."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(scope="session")
def imdb_settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings with the mirror of the real reviews that the environment names."""
    if not all(MIRROR.values()):
        pytest.skip("needs the real reviews: set SENTIFLOW_IMDB_URL, SENTIFLOW_WORD_INDEX_URL and their SHA256s")
    fields = {name.removeprefix(PREFIX).lower(): value for name, value in MIRROR.items()}
    return Settings(data_dir=tmp_path_factory.mktemp("imdb"), **fields)


@pytest.fixture
def without_gc() -> Iterator[None]:
    """No garbage of other tests is collected within a deep recursion, which fails their finalizers."""
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def unreachable_imdb(monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings name a mirror at which nobody answers."""
    monkeypatch.setenv("SENTIFLOW_IMDB_URL", "http://127.0.0.1:9/imdb.npz")
    monkeypatch.setenv("SENTIFLOW_IMDB_SHA256", "0" * 64)
    monkeypatch.setenv("SENTIFLOW_DOWNLOAD_RETRIES", "0")


@pytest.fixture(scope="session")
def imdb(imdb_settings: Settings) -> "tuple[Reviews, Vocabulary]":
    """The real reviews, prepared."""
    from sentiflow.data import prepare, reviews

    prepared = prepare.prepare(prepare.fetch("imdb", imdb_settings), imdb_settings)
    return reviews.read(prepared.table), reviews.read_vocabulary(prepared.table)


@pytest.fixture(scope="session")
def migrated_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow database, migrated once (seconds) and copied for each test (milliseconds)."""
    from sentiflow.store.client import connect

    file = tmp_path_factory.mktemp("store") / "mlflow.db"
    connect(Settings(tracking_uri=f"sqlite:///{file}"))
    return file


@pytest.fixture
def world(tmp_path: Path, migrated_store: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A store and a data folder of this test's own, in the environment, too."""
    made = make_world(tmp_path, migrated_store)
    made.enter(monkeypatch)
    return made


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One Prefect server with an empty database for all flows that run in this process."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with (
        servers.prefect(tmp_path_factory.mktemp("prefect")) as address,
        temporary_settings({PREFECT_API_URL: address}),
    ):
        yield
        APILogWorker.drain_all()  # else they try to reach the server for a minute
        EventsWorker.drain_all()


@pytest.fixture(scope="module")  # its event loop stands in the way of others
def browser() -> "Iterator[Browser]":
    from tests.browsers import chromium

    with chromium() as launched:
        yield launched


@pytest.fixture
def client(prefect_server: None) -> "Iterator[SyncPrefectClient]":
    """A client of that server; the deployments and work pools that a test makes go with it."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        yield client
        for each in client.read_deployments():
            client.delete_resource_owned_automations(f"prefect.deployment.{each.id}")
            client.delete_deployment(each.id)
        for pool in client.read_work_pools():
            client.delete_work_pool(pool.name)


@pytest.fixture
def three_at_a_time(client: "SyncPrefectClient", monkeypatch: pytest.MonkeyPatch) -> None:
    """That client as with a server whose ``PREFECT_SERVER_API_DEFAULT_LIMIT`` is 3, not 200."""
    for name in ("read_artifacts", "read_flow_runs", "read_logs", "read_task_runs"):
        monkeypatch.setattr(client, name, partial(getattr(client, name), limit=3))


def _made_once(folders: pytest.TempPathFactory, name: str, make: Callable[[Path], Made]) -> Made:
    """What the first of the processes that run the tests makes in a folder, for all of them."""
    shared = folders.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    kept = shared / f"{name}.pickle"
    with FileLock(shared / f"{name}.lock"):
        if not kept.exists():
            shutil.rmtree(shared / name, ignore_errors=True)  # of one that failed
            kept.write_bytes(pickle.dumps(make(shared / name)))
        made: Made = pickle.loads(kept.read_bytes())
    return made


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, migrated_store: Path, prefect_server: None) -> Trained:
    """The sample, trained once for all tests that only look."""
    from flows.train import train

    def make(root: Path) -> Trained:
        world = make_world(root, migrated_store)
        with pytest.MonkeyPatch.context() as patch:
            world.enter(patch)
            return Trained(world, train(load_recipe("tutorial", ["sequence_length=80"]), "sample", 4))

    return _made_once(tmp_path_factory, "trained", make)


@pytest.fixture(scope="session")
def three_versions(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> World:
    """A store with three versions of the sample's model, see ``Registry``; nobody is champion."""
    from flows.train import train

    def make(root: Path) -> World:
        world = copy_world(root, trained.world)
        with pytest.MonkeyPatch.context() as patch:
            world.enter(patch)
            train(load_recipe("tutorial", ["sequence_length=80", "epochs=1", "learning_rate=0.0001"]), "sample", 4)
            train(load_recipe("tutorial", ["sequence_length=80", "mask_zero=true"]), "sample", 5)
        return world

    return _made_once(tmp_path_factory, "registry", make)


@pytest.fixture
def registry(tmp_path: Path, three_versions: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A copy of that store for one test, in the environment, too."""
    made = copy_world(tmp_path, three_versions)
    made.enter(monkeypatch)
    return made
