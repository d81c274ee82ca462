"""Runs of a store, read through MLflow's client."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from sentiflow.errors import UsageError
from sentiflow.output import redact
from sentiflow.runs.record import RunRecord, called
from sentiflow.settings import Settings
from sentiflow.tracking.client import connect, tracking_errors
from sentiflow.tracking.mlflow_registry import MlflowRegistry, names_of, versions_of
from sentiflow.tracking.run_files import file_of
from sentiflow.tracking.types import MISSING

_PAGE = 1_000


class MlflowRuns:
    """A ``RunStore`` over whatever store the settings name.

    Each call raises WorldError when the store fails.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings, self._client, self._uri = settings, connect(settings), settings.tracking_uri

    @property
    def registry(self) -> MlflowRegistry:
        """The registered models of the same store."""
        return MlflowRegistry(self._settings)

    def runs(self) -> list[RunRecord]:
        """All runs of the experiment, newest first."""
        with tracking_errors(self._uri):
            experiment = self._client.get_experiment_by_name(self._settings.experiment)
            if experiment is None:
                return []
            return [_record(run) for run in self._search(experiment.experiment_id, "", "DESC")]

    def names(self) -> list[tuple[str, str]]:
        """Id and name of each of them; a server gives no less than the whole runs, so it is asked once."""
        return self._names

    @cached_property
    def _names(self) -> list[tuple[str, str]]:
        return [(run.run_id, run.name) for run in self.runs()]

    def called(self, name: str, beginning: str) -> list[tuple[str, str]]:
        """Those of them with a name, or an id that begins so."""
        return called(self.names(), name, beginning)

    def record(self, run_id: str) -> RunRecord:
        """A run."""
        run = self._living(run_id)
        if run is None:
            raise UsageError(f"There is no run {run_id} in {redact(self._uri)}.")
        return _record(run)

    def children(self, run_id: str) -> list[RunRecord]:
        """The runs below a run, oldest first."""
        run = self._living(run_id)
        if run is None:
            return []
        below = f"tags.mlflow.parentRunId = '{run.info.run_id}'"
        with tracking_errors(self._uri):
            return [_record(found) for found in self._search(run.info.experiment_id, below, "ASC")]

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

    def file(self, record: RunRecord, name: str, folder: Path) -> Path | None:
        """One of a run's files."""
        return file_of(record, name, folder, self._settings)

    def versions(self) -> Mapping[str, str]:
        """Registered versions by the id of their run."""
        with tracking_errors(self._uri):
            return {
                str(version.run_id): f"{name} v{number}"
                for name in names_of(self._client)
                for number, version in versions_of(self._client, name).items()
            }

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


def _record(run: Run) -> RunRecord:
    return RunRecord(
        run_id=run.info.run_id,
        name=run.info.run_name or "",
        status=run.info.status,
        started=datetime.fromtimestamp(run.info.start_time / 1000, UTC),
        params=run.data.params,
        metrics=run.data.metrics,
        tags=run.data.tags,
        artifact_uri=run.info.artifact_uri or "",
    )
