"""A local store moved into a server: the same by every question that MLflow answers."""

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlparse

import pytest
from mlflow.tracking import MlflowClient

from tests.postgres import postgres
from tests.servers import mlflow
from tests.stack.told import told_of
from tests.world import ROOT, Registry, World


def imported(file: Path, database: str, served: Path) -> "subprocess.CompletedProcess[str]":
    served.mkdir(exist_ok=True)
    command = [sys.executable, ROOT / "stack" / "import_store.py", file, database, served]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with postgres(tmp_path_factory.mktemp("database")) as address:
        yield address.replace("postgresql:", "postgresql+psycopg:")


@pytest.mark.story
def test_a_local_store_is_the_same_on_the_server(registry: World, database: str, tmp_path: Path) -> None:
    uri, file = registry.settings.tracking_uri, registry.settings.sqlite_file
    assert file is not None
    local = MlflowClient(uri, uri)
    local.set_registered_model_alias("sample-sentiment", "champion", str(Registry.GOOD))
    location = Path(urlparse(local.get_experiment_by_name("sentiflow").artifact_location).path)
    shutil.copytree(location, file.parent / location.name)  # a store as people have it
    before = told_of(local, tmp_path / "before")
    asked = registry.run("predict", "A wonderful film.").stdout
    served = tmp_path / "artifacts"
    options = ["--backend-store-uri", database, "--artifacts-destination", str(served), "--serve-artifacts"]
    with mlflow(["server", *options, "--workers", "1"], tmp_path, "/health") as at:
        done = imported(file, database, served)
        assert (done.returncode, "3 runs, 3 model_versions" in done.stdout) == (0, True), done.stderr
        there = MlflowClient(at, at)
        assert told_of(there, tmp_path / "after") == before
        assert registry.run("predict", "A wonderful film.", SENTIFLOW_TRACKING_URI=at).stdout == asked
        experiment = there.get_experiment_by_name("sentiflow")
        assert there.create_experiment("another") not in ("0", experiment.experiment_id)
        run = there.create_run(experiment.experiment_id)
        assert run.info.artifact_uri.startswith(f"{experiment.artifact_location}/")
        again = imported(file, database, served)
        assert (again.returncode, "already exists" in again.stderr) == (1, True), again.stderr


class Store:
    """A store with a run, a model and a version, each with a file, beside a secret that is none of its own."""

    def __init__(self, folder: Path, empty: Path) -> None:
        self.file = folder / "mlflow.db"
        self.artifacts = folder / "artifacts"
        self.secret = folder.parent / "secret"
        self.secret.mkdir()
        (self.secret / "password").write_text("S3CRET")
        self.client = MlflowClient(f"sqlite:///{self.file}", f"sqlite:///{self.file}")
        made = self.client.create_experiment("mine", artifact_location=self.artifacts.as_uri())
        self.run = self.client.create_run(made).info.run_id
        self.client.log_text(self.run, "as it was", "note.txt")
        self.client.set_terminated(self.run)
        self.model = self.client.create_logged_model(made, name="mine", source_run_id=self.run).model_id
        self.client.create_registered_model("mine")
        self.client.create_model_version("mine", self.client.get_run(self.run).info.artifact_uri, self.run)
        self.target = f"sqlite:///{shutil.copyfile(empty, folder.parent / 'server.db')}"
        self.served = folder.parent / "served"

    def write(self, table: str, column: str, value: object) -> None:
        """Change the newest row of a table as its owner can."""
        with sqlite3.connect(self.file) as database:
            newest = f"rowid = (SELECT max(rowid) FROM {table})"
            database.execute(f"UPDATE {table} SET {column} = ? WHERE {newest}", (value,))  # noqa: S608

    def need_refused(self, why: str) -> None:
        """Assert that the import ends with a reason, leaves no row, and nothing of the secret."""
        done = imported(self.file, self.target, self.served)
        assert (done.returncode, why in done.stderr, "Traceback" in done.stderr) == (1, True, False), done.stderr
        assert [entry.name for entry in MlflowClient(self.target).search_experiments()] == ["Default"]
        assert not [path for path in self.served.rglob("*") if path.is_file() and "S3CRET" in path.read_text()]


@pytest.fixture
def store(world: World, migrated_store: Path) -> Store:
    return Store(world.root / "mlruns", migrated_store)


def test_a_moved_store_with_a_prompt_and_a_deleted_version_is_imported(store: Store, tmp_path: Path) -> None:
    """Red if what is no address, or a folder in another place than a row says, keeps a whole store out."""
    store.client.register_prompt("greeting", "Hello {{name}}")
    store.client.create_model_version("mine", store.client.get_run(store.run).info.artifact_uri, store.run)
    store.client.delete_model_version("mine", "2")
    for thread in threading.enumerate():
        if thread.name.startswith("link_prompt"):
            thread.join()  # MLflow writes on behind the call
    folder = store.file.parent.rename(tmp_path / "100% of #1?")
    done = imported(folder / store.file.name, store.target, store.served)
    assert (done.returncode, "1 runs" in done.stdout) == (0, True), done.stderr
    there = MlflowClient(store.target, store.target)
    assert there.get_prompt_version("greeting", "1").template == "Hello {{name}}"
    assert there.create_model_version("mine", "mlflow-artifacts:/1/x", store.run).version == 3
    address = there.get_run(store.run).info.artifact_uri
    assert address == f"mlflow-artifacts:/imported-0/{store.run}/artifacts"
    assert (store.served / address.removeprefix("mlflow-artifacts:/") / "note.txt").read_text() == "as it was"


def test_a_store_with_an_open_run_is_not_imported(store: Store) -> None:
    store.client.create_run("1", run_name="night-train")
    store.need_refused("Still running in the local store: night-train")


@pytest.mark.parametrize(
    ("table", "column", "address"),
    [
        ("runs", "artifact_uri", "file://{secret}"),
        ("logged_models", "artifact_location", "{secret}"),
        ("model_versions", "source", "mlflow-artifacts:/1/another"),
        ("model_versions", "storage_location", "{artifacts}/%2e%2e/secret"),
        ("model_versions", "storage_location", "{artifacts}x"),
    ],
)
def test_an_address_outside_of_the_stores_own_folder_is_refused(
    store: Store, table: str, column: str, address: str
) -> None:
    """Red if it is imported as it is: the server then gives its own files to whoever asks for that version."""
    store.write(table, column, address.format(secret=store.secret, artifacts=store.artifacts.as_uri()))
    store.need_refused("names files at")


@pytest.mark.parametrize("place", ["file://{secret}", "file://{store}/..", "/", "s3://bucket/7"])
def test_an_experiment_whose_folder_is_not_beside_the_store_is_refused(store: Store, place: str) -> None:
    location = place.format(secret=store.secret, store=store.file.parent)
    store.write("experiments", "artifact_location", location)
    for table, column in (("runs", "artifact_uri"), ("logged_models", "artifact_location"),
                          ("model_versions", "source"), ("model_versions", "storage_location")):  # fmt: skip
        store.write(table, column, f"{location}/{store.run}")
    store.need_refused("not on this disk" if place.startswith("s3") else "")


@pytest.mark.parametrize("where", ["file", "folder", "whole", "pipe"])
def test_links_and_devices_among_the_files_are_refused(store: Store, where: str) -> None:
    """Red if a link is followed: it may lead to /proc/self/environ, with the database's password."""
    place = store.artifacts / store.run / "artifacts" / "deep"
    place.mkdir()
    if where == "pipe":
        os.mkfifo(place / "pipe")
    elif where == "whole":
        store.artifacts.rename(store.secret / "artifacts")
        store.artifacts.symlink_to(store.secret / "artifacts")
    else:
        (place / "link").symlink_to(store.secret / "password" if where == "file" else store.secret)
    store.need_refused("is a link or a device")
