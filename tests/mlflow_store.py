"""A store read through MLflow's own client: what the product's readers are compared with."""

from collections.abc import Iterator
from datetime import UTC, datetime

from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from sentiflow.errors import UsageError
from sentiflow.promotion.history import TAG, Event
from sentiflow.redaction import redact
from sentiflow.runs.record import RunRecord
from sentiflow.settings import Settings
from sentiflow.store.client import connect, record_of, tracking_errors
from sentiflow.store.types import CHAMPION, MISSING, RegisteredModel, VersionRecord

_PAGE = 1_000


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


class MlflowStore:
    """The reading half of a ``Store``, by MLflow's client."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._client, self._uri = settings, connect(settings), settings.tracking_uri

    def runs(self) -> list[RunRecord]:
        """All runs of the experiment, newest first."""
        with tracking_errors(self._uri):
            experiment = self._client.get_experiment_by_name(self._settings.experiment)
            if experiment is None:
                return []
            return [record_of(run) for run in self._search(experiment.experiment_id, "", "DESC")]

    def called(self, name: str, beginning: str) -> list[RunRecord]:
        """Those of them with a name, or an id that begins so."""
        return [run for run in self.runs() if run.name == name or (beginning and run.run_id.startswith(beginning))]

    def record(self, run_id: str) -> RunRecord:
        """A run."""
        run = self._living(run_id)
        if run is None:
            raise UsageError(f"There is no run {run_id} in {redact(self._uri)}.")
        return record_of(run)

    def children(self, run_id: str) -> list[RunRecord]:
        """The runs below a run, oldest first."""
        run = self._living(run_id)
        if run is None:
            return []
        below = f"tags.mlflow.parentRunId = '{run.info.run_id}'"
        with tracking_errors(self._uri):
            return [record_of(found) for found in self._search(run.info.experiment_id, below, "ASC")]

    def history(self, run_id: str) -> dict[str, list[tuple[int, float]]]:
        """Metrics logged per epoch."""
        run = self._living(run_id)
        points: dict[str, list[tuple[int, float]]] = {}
        with tracking_errors(self._uri):
            for name in sorted(run.data.metrics if run else ()):
                entries = self._client.get_metric_history(run_id, name)
                entries = sorted(entries, key=lambda entry: (entry.step, entry.timestamp))
                points[name] = [(entry.step, entry.value) for entry in entries]
        return {name: line for name, line in points.items() if line and line[-1][0] > 0}

    def models(self) -> list[str]:
        return sorted(model.name for model in self._client.search_registered_models())

    def model(self, name: str) -> RegisteredModel | None:
        try:
            found = self._client.get_registered_model(name)
        except MlflowException:
            return None
        return RegisteredModel({alias: int(number) for alias, number in found.aliases.items()}, found.tags)

    def versions(self, name: str) -> list[VersionRecord]:
        return [_version(version) for version in versions_of(self._client, name).values()]

    def version(self, name: str, number: int) -> VersionRecord | None:
        try:
            return _version(self._client.get_model_version(name, str(number)))
        except MlflowException:
            return None

    def versions_by_run(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for own in (False, True):  # the run's own last
            for name in self.models():
                for number, version in versions_of(self._client, name).items():
                    made = version.tags.get("registered_by") == version.run_id
                    copied = version.source.startswith("models:/") and version.source.count("/") > 1
                    if version.run_id and (made and not copied) == own:
                        found[version.run_id] = f"{name}/{number}"
        return found

    def _living(self, run_id: str) -> Run | None:
        with tracking_errors(self._uri):
            try:
                run = self._client.get_run(run_id)
            except MlflowException as err:
                if err.error_code not in MISSING:
                    raise
                return None
        return run if run.info.lifecycle_stage == "active" else None

    def _search(self, experiment: str, filter_string: str, order: str) -> Iterator[Run]:
        token: str | None = None
        while token is None or token:
            page = self._client.search_runs(
                [experiment],
                filter_string,
                order_by=[f"attributes.start_time {order}"],
                max_results=_PAGE,
                page_token=token,
            )
            yield from page
            token = page.token or ""


def _version(version: ModelVersion) -> VersionRecord:
    made = datetime.fromtimestamp(version.creation_timestamp / 1000, UTC)
    return VersionRecord(int(version.version), made, version.run_id or None, version.tags)
