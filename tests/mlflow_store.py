"""What MLflow's own client says of a registered model."""

from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from sentiflow.promotion.history import TAG, Event
from sentiflow.store.records import CHAMPION, MISSING


def events_of(client: MlflowClient, name: str) -> list[Event]:
    tags = client.get_registered_model(name).tags
    return [Event.from_json(tags[key]) for key in sorted(tags) if TAG.fullmatch(key)]


def champion_of(client: MlflowClient, name: str) -> int | None:
    try:
        return int(client.get_model_version_by_alias(name, CHAMPION).version)
    except MlflowException as err:
        if err.error_code not in MISSING:
            raise
        return None


def versions_of(client: MlflowClient, name: str) -> dict[int, ModelVersion]:
    found = {int(version.version): version for version in client.search_model_versions(f"name = '{name}'")}
    return dict(sorted(found.items()))
