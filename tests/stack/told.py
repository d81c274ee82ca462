"""What a store of MLflow tells, as plain values that can be compared."""

import hashlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

from mlflow.artifacts import download_artifacts
from mlflow.tracking import MlflowClient


def told_of(client: MlflowClient, folder: Path, without: Collection[str] = ()) -> dict[str, Any]:
    """All of the experiment and of its model but some runs, files by their hashes."""
    experiment = client.get_experiment_by_name("sentiflow")
    runs = [run for run in client.search_runs([experiment.experiment_id]) if run.info.run_id not in without]
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
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}
