"""A local store moved into a server: the same by every question that MLflow answers."""

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow.artifacts import download_artifacts
from mlflow.tracking import MlflowClient

from sentiment.errors import UsageError
from tasks.import_store import import_store
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
    with mlflow(
        [*server, "--workers", "1"], tmp_path, "/health", MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false"
    ) as at:
        moved = import_store(registry.settings.sqlite_file, database, artifacts)
        assert (moved.rows["runs"], moved.rows["model_versions"], moved.left) == (3, 3, {})
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


def test_files_that_a_server_keeps_are_not_lost_silently(world: World, target: str, tmp_path: Path) -> None:
    MlflowClient(world.settings.tracking_uri).create_experiment("served", artifact_location="mlflow-artifacts:/7")
    with pytest.raises(UsageError, match="a server keeps, at mlflow-artifacts:/7"):
        import_store(world.root / "mlruns" / "mlflow.db", target, tmp_path / "artifacts")
    assert [entry.name for entry in MlflowClient(target).search_experiments()] == ["Default"]


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
    with pytest.raises(UsageError, match=r"artifacts of the store are not at file:.*/another-disk/files"):
        import_store(world.root / "mlruns" / "mlflow.db", target, tmp_path / "served")
    assert [entry.name for entry in MlflowClient(target).search_experiments()] == ["Default"]


def test_a_database_that_is_no_store_is_told(world: World, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no MLflow store"):
        import_store(world.root / "mlruns" / "mlflow.db", f"sqlite:///{tmp_path}/empty.db", tmp_path / "served")
