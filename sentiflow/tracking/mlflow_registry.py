"""A registry, read through MLflow's client."""

from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from sentiflow.settings import Settings
from sentiflow.tracking.client import connect, tracking_errors
from sentiflow.tracking.types import CHAMPION, MISSING, Facts

_PAGE = 1_000


class MlflowRegistry:
    """A ``Registry`` over whatever store the settings name.

    Each call raises WorldError when the store fails.
    """

    def __init__(self, settings: Settings) -> None:
        self._client, self._uri = connect(settings), settings.tracking_uri

    def names(self) -> list[str]:
        """All registered models, by the alphabet."""
        with tracking_errors(self._uri):
            return names_of(self._client)

    def numbers(self, name: str) -> list[int]:
        """The versions of a model that were not deleted, oldest first."""
        with tracking_errors(self._uri):
            return list(versions_of(self._client, name))

    def champion(self, name: str) -> int | None:
        """The version in use, or None."""
        with tracking_errors(self._uri):
            return champion_of(self._client, name)

    def facts(self, name: str, number: int) -> Facts | None:
        """What is known of a version, or None when it is not there."""
        with tracking_errors(self._uri):
            try:
                found = self._client.get_model_version(name, str(number))
                location = self._client.get_model_version_download_uri(name, str(number))
            except MlflowException as err:
                if err.error_code not in MISSING:
                    raise
                return None
        return Facts(location, found.run_id or None, found.tags)


def names_of(client: MlflowClient) -> list[str]:
    """All registered models, by the alphabet."""
    found = client.search_registered_models(max_results=_PAGE)
    names = [model.name for model in found]
    while found.token:
        found = client.search_registered_models(max_results=_PAGE, page_token=found.token)
        names += [model.name for model in found]
    return sorted(names)


def champion_of(client: MlflowClient, name: str) -> int | None:
    """The champion's version, or None when there is none."""
    try:
        return int(client.get_model_version_by_alias(name, CHAMPION).version)
    except MlflowException as err:
        if err.error_code not in MISSING:
            raise
        return None


def versions_of(client: MlflowClient, name: str) -> dict[int, ModelVersion]:
    """All versions that were not deleted, by number, oldest first."""
    found = client.search_model_versions(f"name = '{name}'", max_results=_PAGE)
    everything = list(found)
    while found.token:
        found = client.search_model_versions(f"name = '{name}'", max_results=_PAGE, page_token=found.token)
        everything += found
    return {int(version.version): version for version in sorted(everything, key=lambda v: int(v.version))}
