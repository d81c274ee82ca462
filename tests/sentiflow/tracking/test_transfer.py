"""A local store moved into a server: the same by every question that MLflow answers."""

import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pytest
from mlflow.artifacts import download_artifacts
from mlflow.tracking import MlflowClient

from sentiflow.errors import ExternalError, UsageError
from sentiflow.tracking.transfer import import_store
from tests.postgres import postgres
from tests.servers import mlflow
from tests.world import Registry, World


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with postgres(tmp_path_factory.mktemp("database")) as address:
        yield address


@pytest.mark.story
def test_a_local_store_is_the_same_on_the_server(registry: World, database: str, tmp_path: Path) -> None:
    uri = registry.settings.tracking_uri
    local = MlflowClient(uri, uri)
    local.set_registered_model_alias("sample-sentiment", "champion", str(Registry.GOOD))
    location = Path(urlparse(local.get_experiment_by_name("sentiflow").artifact_location).path)
    shutil.copytree(location, registry.settings.sqlite_file.parent / location.name)  # a store as people have it
    before = _told(local, tmp_path / "before")
    asked = registry.run("predict", "A wonderful film.").stdout
    artifacts = tmp_path / "artifacts"
    server = [
        "server",
        "--backend-store-uri",
        database,
        "--artifacts-destination",
        str(artifacts),
        "--serve-artifacts",
    ]
    with mlflow([*server, "--workers", "1"], tmp_path, "/health") as at:
        typed = (
            "import",
            str(registry.settings.sqlite_file),
            "--database",
            database,
            "--artifacts",
            str(artifacts),
        )
        moved = json.loads(registry.run(*typed, "--json").stdout)
        assert (moved["rows"]["runs"], moved["rows"]["model_versions"], moved["left"]) == (3, 3, {})
        there = MlflowClient(at, at)
        assert _told(there, tmp_path / "after") == before
        assert registry.run("predict", "A wonderful film.", SENTIFLOW_TRACKING_URI=at).stdout == asked
        experiment = there.get_experiment_by_name("sentiflow")
        assert there.create_experiment("another") not in ("0", experiment.experiment_id)
        run = there.create_run(experiment.experiment_id)
        assert run.info.artifact_uri.startswith(f"{experiment.artifact_location}/")
        with pytest.raises(UsageError, match="an experiment of that name already: sentiflow"):
            import_store(registry.settings.sqlite_file, database, artifacts)


def _told(client: MlflowClient, folder: Path) -> dict[str, Any]:
    """All that a store tells of the experiment and of its model, files by their hashes."""
    experiment = client.get_experiment_by_name("sentiflow")
    runs = client.search_runs([experiment.experiment_id])
    models = client.search_logged_models([experiment.experiment_id])
    (registered,) = client.search_registered_models()
    name = registered.name
    aliases = {alias: int(of) for alias, of in client.get_registered_model(name).aliases.items()}
    return {
        "experiment": (experiment.tags, experiment.lifecycle_stage, experiment.creation_time),
        "runs": {run.info.run_id: _run(client, run, folder) for run in runs},
        "models": {model.model_id: _model(model) for model in models},
        "registered": (name, registered.creation_timestamp, aliases),
        "versions": {
            int(entry.version): _version(client, entry, folder) for entry in client.search_model_versions()
        },
    }


def _run(client: MlflowClient, run: Any, folder: Path) -> Any:
    history = {
        key: [
            (entry.step, entry.value, entry.timestamp) for entry in client.get_metric_history(run.info.run_id, key)
        ]
        for key in run.data.metrics
    }
    info = run.info
    return (
        (info.run_name, info.status, info.start_time, info.end_time, info.user_id),
        (run.data.params, run.data.tags, history),
        sorted(
            (entry.dataset.digest, entry.dataset.profile, entry.tags[0].value)
            for entry in run.inputs.dataset_inputs
        ),
        [output.model_id for output in run.outputs.model_outputs],
        _files(Path(client.download_artifacts(info.run_id, "", _made(folder / info.run_id)))),
    )


def _model(model: Any) -> Any:
    metrics = sorted((metric.key, metric.value, metric.dataset_digest) for metric in model.metrics or [])
    return model.name, model.source_run_id, model.status, model.tags, model.params, metrics


def _version(client: MlflowClient, entry: Any, folder: Path) -> Any:
    # Not by `models:/`: MLflow asks its global registry for that, whatever address it is given.
    files = download_artifacts(
        client.get_model_version_download_uri(entry.name, entry.version),
        dst_path=_made(folder / f"version-{entry.version}"),
        tracking_uri=client.tracking_uri,
    )
    return entry.run_id, entry.model_id, entry.status, entry.creation_timestamp, entry.tags, _files(Path(files))


def _made(folder: Path) -> str:
    folder.mkdir(parents=True)
    return str(folder)


def _files(folder: Path) -> dict[str, str]:
    found = [path for path in folder.rglob("*") if path.is_file()]
    assert found
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


@pytest.fixture
def target(tmp_path: Path, migrated_store: Path) -> str:
    """An empty store that a server could stand on."""
    return f"sqlite:///{shutil.copyfile(migrated_store, tmp_path / 'server.db')}"


def test_a_store_with_an_open_run_is_not_imported(world: World, target: str, tmp_path: Path) -> None:
    client = MlflowClient(world.settings.tracking_uri)
    client.create_run(client.create_experiment("sentiflow"), run_name="night-train")
    with pytest.raises(UsageError, match="Still running in the local store: night-train"):
        import_store(world.root / "mlruns" / "mlflow.db", target, tmp_path / "artifacts")
    assert [entry.name for entry in MlflowClient(target).search_experiments()] == ["Default"]


@pytest.fixture
def store(world: World) -> "Store":
    return Store(world.root / "mlruns")


class Store:
    """A store with a run, a model and a version, each with a file, beside a secret that is none of its own."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "mlflow.db"
        self.artifacts = folder / "artifacts"
        self.secret = folder.parent / "secret"
        self.secret.mkdir()
        (self.secret / "password").write_text("S3CRET")
        client = MlflowClient(f"sqlite:///{self.file}", f"sqlite:///{self.file}")
        made = client.create_experiment("mine", artifact_location=self.artifacts.as_uri())
        self.run = client.create_run(made).info.run_id
        client.log_text(self.run, "as it was", "note.txt")
        client.set_terminated(self.run)
        self.model = client.create_logged_model(made, name="mine", source_run_id=self.run).model_id
        client.create_registered_model("mine")
        client.create_model_version("mine", client.get_run(self.run).info.artifact_uri, self.run)

    def write(self, table: str, column: str, value: object) -> None:
        """Change the newest row of a table as its owner can."""
        with sqlite3.connect(self.file) as database:
            newest = f"rowid = (SELECT max(rowid) FROM {table})"
            database.execute(f"UPDATE {table} SET {column} = ? WHERE {newest}", (value,))  # noqa: S608

    def need_refused(self, target: str, why: str) -> None:
        """Assert that the import ends with a reason, leaves no row, and nothing of the secret."""
        served = self.file.parent.parent / "served"
        served.mkdir()
        with pytest.raises(UsageError, match=why):
            import_store(self.file, target, served)
        assert [entry.name for entry in MlflowClient(target).search_experiments()] == ["Default"]
        assert not [path for path in served.rglob("*") if path.is_file() and "S3CRET" in path.read_text()]


def test_files_of_the_store_itself_are_imported(store: Store, target: str, tmp_path: Path) -> None:
    moved = import_store(store.file, target, tmp_path / "served")
    assert (moved.files, moved.rows["runs"], moved.rows["model_versions"]) == (1, 1, 1)


def test_a_store_in_a_folder_of_any_name_is_imported_and_left_alone(
    store: Store, target: str, tmp_path: Path
) -> None:
    folder = store.file.parent.rename(tmp_path / "100% of #1?")
    before = sorted(path.name for path in tmp_path.iterdir())
    assert import_store(folder / store.file.name, target, tmp_path / "served").rows["runs"] == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*before, "served"])


def test_a_prompt_is_imported_as_it_is(store: Store, target: str, tmp_path: Path) -> None:
    """Red if a prompt's address, which is none of a folder, keeps a whole store out."""
    MlflowClient(*[f"sqlite:///{store.file}"] * 2).register_prompt("greeting", "Hello {{name}}")
    import_store(store.file, target, tmp_path / "served")
    assert MlflowClient(target, target).get_prompt_version("greeting", "1").template == "Hello {{name}}"


def test_a_version_that_was_deleted_keeps_its_number_and_nothing_out(
    store: Store, target: str, tmp_path: Path
) -> None:
    """MLflow keeps the row, with a text in place of its address."""
    client = MlflowClient(f"sqlite:///{store.file}", f"sqlite:///{store.file}")
    files = client.get_run(store.run).info.artifact_uri
    client.create_model_version("mine", files, store.run)
    client.delete_model_version("mine", "2")
    import_store(store.file, target, tmp_path / "served")
    there = MlflowClient(target, target)
    assert [entry.version for entry in there.search_model_versions("name = 'mine'")] == [1]
    assert there.create_model_version("mine", "mlflow-artifacts:/1/x", store.run).version == 3


def test_an_open_run_that_was_deleted_is_no_open_run(store: Store, target: str, tmp_path: Path) -> None:
    client = MlflowClient(f"sqlite:///{store.file}")
    client.delete_run(client.create_run("1", run_name="of a notebook").info.run_id)
    assert import_store(store.file, target, tmp_path / "served").rows["runs"] == 2


def test_tags_of_the_experiment_that_every_store_has_stay_the_servers(
    store: Store, target: str, tmp_path: Path
) -> None:
    for uri, value in ((f"sqlite:///{store.file}", "ours"), (target, "theirs")):
        MlflowClient(uri).set_experiment_tag("0", "kind", value)
    MlflowClient(f"sqlite:///{store.file}").set_experiment_tag("0", "more", "ours")
    moved = import_store(store.file, target, tmp_path / "served")
    assert MlflowClient(target).get_experiment("0").tags == {"kind": "theirs", "more": "ours"}
    assert moved.rows["experiment_tags"] == 1


def test_files_that_are_there_already_are_taken_if_they_are_equal(
    store: Store, target: str, tmp_path: Path
) -> None:
    served = tmp_path / "served" / "1"
    shutil.copytree(store.artifacts, served)  # as an import that was killed before the rows leaves them
    (note,) = served.rglob("note.txt")
    for other in ("as it is", "as it waS"):
        note.write_text(other)
        with pytest.raises(ExternalError, match="exists already, with other files"):
            import_store(store.file, target, tmp_path / "served")
    note.write_text("as it was")
    assert import_store(store.file, target, tmp_path / "served").rows["runs"] == 1


PLACES = [("runs", "artifact_uri"), ("logged_models", "artifact_location"), ("model_versions", "source")]
ADDRESSES = [
    "file://{secret}", "{secret}", "file:{secret}", "FILE://{secret}", "file://localhost{secret}", "secret",
    "{artifacts}/../../secret", "{artifacts}/%2e%2e/%2e%2e/secret", "{artifacts}x", "file:///", "/",
    "mlflow-artifacts:/1/another", "s3://bucket/of/the/server", "http://10.0.0.1/",
]  # fmt: skip


@pytest.mark.parametrize(
    ("table", "column", "address"),
    [
        *[(*place, "file://{secret}") for place in PLACES],
        *[("model_versions", "storage_location", address) for address in ADDRESSES],
    ],
)
def test_an_address_outside_of_the_stores_own_folders_is_refused(
    store: Store, target: str, table: str, column: str, address: str
) -> None:
    """Red if it is imported as it is: the server then gives its own files to whoever asks for that version."""
    store.write(table, column, address.format(secret=store.secret, artifacts=store.artifacts.as_uri()))
    store.need_refused(target, "names files at")


def test_a_version_that_says_by_another_name_alone_where_its_files_are_is_refused(
    store: Store, target: str
) -> None:
    store.write("model_versions", "source", "models:/secret-sentiment/1")
    store.write("model_versions", "storage_location", None)
    store.need_refused(target, "names files at models:/secret-sentiment/1")


@pytest.mark.parametrize(
    "place", ["file://{secret}", "{secret}", "file://{store}", "file://{store}/artifacts/../../secret", "/", ""]
)
def test_an_experiment_whose_folder_is_not_the_stores_is_refused(store: Store, target: str, place: str) -> None:
    """Red if any folder of the importing machine is copied, other experiments' or the store's own among them."""
    location = place.format(secret=store.secret, store=store.file.parent)
    (store.secret / store.run).mkdir()
    store.write("experiments", "artifact_location", location)
    for table, column in [*PLACES, ("model_versions", "storage_location")]:
        store.write(table, column, f"{location}/{store.run}")
    store.need_refused(target, "are not in the folder of the store|leads out of its folder")


@pytest.mark.parametrize("place", ["mlflow-artifacts:/7", "s3://bucket/7", "https://10.0.0.1/7"])
def test_an_experiment_whose_files_are_on_no_disk_is_refused(store: Store, target: str, place: str) -> None:
    store.write("experiments", "artifact_location", place)
    store.need_refused(target, f"not on this disk, but at {place}")


@pytest.mark.parametrize("where", ["file", "folder", "whole", "dangling", "inside", "pipe"])
def test_links_and_devices_among_the_files_are_refused(store: Store, target: str, where: str) -> None:
    """Red if a link is followed: it may lead to /proc/self/environ, with the database's password."""
    place = store.artifacts / store.run / "artifacts" / "deep"
    place.mkdir()
    if where == "pipe":
        os.mkfifo(place / "pipe")
    elif where == "whole":
        store.artifacts.rename(store.secret / "artifacts")
        store.artifacts.symlink_to(store.secret / "artifacts")
    else:
        leads = {"file": store.secret / "password", "folder": store.secret, "dangling": store.secret / "none"}
        (place / "link").symlink_to(leads.get(where, place))
    store.need_refused(target, "is a link|neither a file nor a folder|not in the folder of the store")


def test_a_store_moved_with_its_files_is_imported_from_its_new_place(
    world: World, target: str, tmp_path: Path
) -> None:
    old = tmp_path / "gone" / "artifacts"
    client = MlflowClient(world.settings.tracking_uri)
    run = client.create_run(client.create_experiment("mine", artifact_location=old.as_uri()))
    client.log_text(run.info.run_id, "as it was", "note.txt")
    client.set_terminated(run.info.run_id)
    old.rename(world.root / "mlruns" / "artifacts")
    moved = import_store(world.root / "mlruns" / "mlflow.db", target, tmp_path / "served")
    assert moved.files == 1
    address = MlflowClient(target).get_run(run.info.run_id).info.artifact_uri
    assert address == f"mlflow-artifacts:/1/{run.info.run_id}/artifacts"
    assert (
        tmp_path / "served" / address.removeprefix("mlflow-artifacts:/") / "note.txt"
    ).read_text() == "as it was"


def test_a_run_whose_files_are_nowhere_is_not_imported(world: World, target: str, tmp_path: Path) -> None:
    client = MlflowClient(world.settings.tracking_uri)
    gone = (tmp_path / "another-disk" / "files").as_uri()
    client.set_terminated(client.create_run(client.create_experiment("mine", artifact_location=gone)).info.run_id)
    with pytest.raises(UsageError, match=r"artifacts of the store, at file:.*/another-disk/files, are not in"):
        import_store(world.root / "mlruns" / "mlflow.db", target, tmp_path / "served")
    assert [entry.name for entry in MlflowClient(target).search_experiments()] == ["Default"]


def test_a_database_that_is_no_store_is_told(world: World, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not an MLflow store"):
        import_store(world.root / "mlruns" / "mlflow.db", f"sqlite:///{tmp_path}/empty.db", tmp_path / "served")
