"""Everything that a stack keeps, as plain values that can be compared."""

import hashlib
from pathlib import Path
from typing import Any

from mlflow.entities import ViewType
from mlflow.tracking import MlflowClient
from prefect.client.orchestration import SyncPrefectClient

Values = dict[str, Any]


def of_mlflow(client: MlflowClient) -> Values:
    """Runs with every value of every metric, models, versions and aliases, by the API."""
    experiments = client.search_experiments(view_type=ViewType.ALL)
    ids = [experiment.experiment_id for experiment in experiments]
    runs = client.search_runs(ids, run_view_type=ViewType.ALL, max_results=1_000)
    models = client.search_logged_models(ids)
    registered = [client.get_registered_model(found.name) for found in client.search_registered_models()]
    return {
        "experiments": {found.experiment_id: dict(found) for found in experiments},
        "runs": {run.info.run_id: _run(client, run) for run in runs},
        "models": {model.model_id: model.to_dictionary() for model in models},
        "registered": {
            found.name: {"aliases": found.aliases, "tags": found.tags, "created": found.creation_timestamp}
            for found in registered
        },
        "versions": {
            (found.name, found.version): dict(found) | {"aliases": None}
            for found in client.search_model_versions(max_results=1_000)
        },
    }


def _run(client: MlflowClient, run: Any) -> Values:
    return {
        "info": dict(run.info),
        "params": run.data.params,
        "tags": run.data.tags,
        "metrics": {
            key: [
                (each.step, each.timestamp, each.value) for each in client.get_metric_history(run.info.run_id, key)
            ]
            for key in run.data.metrics
        },
        "artifacts": sorted(file.path for file in client.list_artifacts(run.info.run_id)),
        "dataset": [each.dataset.digest for each in run.inputs.dataset_inputs],
    }


def of_prefect(client: SyncPrefectClient) -> Values:
    """Ended flow runs with their parameters and states, and the deployments with what starts them."""
    return {
        "flow runs": {
            run.id: (
                run.name,
                run.state_name,
                run.state and run.state.timestamp,
                run.parameters,
                run.deployment_id,
            )
            for run in client.read_flow_runs(limit=200)
            if run.state and run.state.is_final()
        },
        "deployments": {
            found.id: (found.flow_id, found.paused, [(each.slug, each.active) for each in found.schedules])
            for found in client.read_deployments()
        },
    }


def of_files(folder: Path) -> Values:
    """The digest of every file."""
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.rglob("*")
        if file.is_file()
    }
