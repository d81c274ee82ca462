"""A registry behind an MLflow server, read over HTTP without MLflow's client."""

from collections.abc import Mapping
from typing import Any

from sentiflow.tracking.server_api import ServerApi
from sentiflow.tracking.types import CHAMPION, MISSING, Facts

_PAGE = 1_000


class ServerRegistry:
    """A ``Registry`` over a server."""

    def __init__(self, api: ServerApi) -> None:
        self._api = api

    def names(self) -> list[str]:
        """All registered models, by the alphabet."""
        models = self._api.pages("registered-models/search", "registered_models", max_results=_PAGE)
        return sorted(model["name"] for model in models)

    def numbers(self, name: str) -> list[int]:
        """The versions of a model that were not deleted, oldest first."""
        return sorted(int(version["version"]) for version in self._versions(f"name = '{name}'"))

    def champion(self, name: str) -> int | None:
        """The version in use, or None."""
        found = self._api.find("registered-models/alias", name=name, alias=CHAMPION)
        return None if found is None else int(found["model_version"]["version"])

    def facts(self, name: str, number: int) -> Facts | None:
        """What is known of a version, or None when it is not there."""
        asked: dict[str, str | int] = {"name": name, "version": number}
        version = self._api.find("model-versions/get", MISSING, **asked)
        place = self._api.find("model-versions/get-download-uri", MISSING, **asked)
        if version is None or place is None:
            return None
        found = version["model_version"]
        tags = {tag["key"]: tag.get("value", "") for tag in found.get("tags", ())}
        return Facts(place["artifact_uri"], found.get("run_id") or None, tags)

    def by_run(self) -> Mapping[str, str]:
        """Registered versions by the id of their run, like ``imdb-sentiment v3``; the newest of several."""
        found = sorted(self._versions(""), key=lambda version: (version["name"], int(version["version"])))
        return {one["run_id"]: f"{one['name']} v{one['version']}" for one in found if one.get("run_id")}

    def _versions(self, condition: str) -> list[dict[str, Any]]:
        asked = {"filter": condition} if condition else {}
        return list(self._api.pages("model-versions/search", "model_versions", max_results=_PAGE, **asked))
