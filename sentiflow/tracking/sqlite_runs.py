"""Runs of a local store, read from its SQLite file.

Read-only. A test holds it to what MLflow's own client says.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from math import nan
from pathlib import Path
from typing import Any

from sentiflow.errors import UsageError
from sentiflow.output import redact
from sentiflow.runs.record import RunRecord, called
from sentiflow.settings import Settings
from sentiflow.tracking.run_files import file_of
from sentiflow.tracking.sqlite_registry import SqliteRegistry
from sentiflow.tracking.sqlite_store import DELETED, query

_RUN = "SELECT run_uuid, name, status, start_time, artifact_uri FROM runs r WHERE lifecycle_stage = 'active' AND "
_OURS = "experiment_id IN (SELECT experiment_id FROM experiments WHERE name = ?)"
_NEWEST = " ORDER BY start_time DESC, run_uuid"
_CHILD = "run_uuid IN (SELECT run_uuid FROM tags WHERE key = 'mlflow.parentRunId' AND value = ?)"
_OLDEST = " ORDER BY start_time, run_uuid"


class SqliteRuns:
    """A ``RunStore`` over the file of a local store; empty before there is one."""

    def __init__(self, settings: Settings, file: Path) -> None:
        self._settings, self._file = settings, file

    @property
    def registry(self) -> SqliteRegistry | None:
        """The registered models of the same store, or None before there is a store."""
        return SqliteRegistry(self._file) if self._file.is_file() else None

    def runs(self) -> list[RunRecord]:
        """All runs of the experiment, newest first."""
        return self._records(_OURS, self._settings.experiment, _NEWEST)

    def names(self) -> list[tuple[str, str]]:
        """Id and name of each of them."""
        return [(row[0], row[1] or "") for row in self._query(_RUN + _OURS + _NEWEST, self._settings.experiment)]

    def called(self, name: str, beginning: str) -> list[tuple[str, str]]:
        """Those of them with a name, or an id that begins so."""
        return called(self.names(), name, beginning)

    def record(self, run_id: str) -> RunRecord:
        """A run."""
        found = self._records("run_uuid = ?", run_id, "")
        if not found:
            raise UsageError(f"There is no run {run_id} in {redact(self._settings.tracking_uri)}.")
        return found[0]

    def children(self, run_id: str) -> list[RunRecord]:
        """The runs below a run, oldest first."""
        return self._records(_CHILD, run_id, _OLDEST)

    def history(self, run_id: str) -> dict[str, list[tuple[int, float]]]:
        """Metrics logged per epoch."""
        points: dict[str, list[tuple[int, float]]] = {}
        sql = "SELECT key, step, value, is_nan FROM metrics WHERE run_uuid = ? ORDER BY key, step, timestamp"
        for key, step, value, is_nan in self._query(sql, run_id):
            points.setdefault(key, []).append((step, nan if is_nan else value))
        return {key: line for key, line in points.items() if line[-1][0] > 0}

    def file(self, record: RunRecord, name: str, folder: Path) -> Path | None:
        """One of a run's files."""
        return file_of(record, name, folder, self._settings)

    def versions(self) -> Mapping[str, str]:
        """Registered versions by the id of their run."""
        sql = "SELECT run_id, name, version FROM model_versions WHERE current_stage != ? ORDER BY name, version"
        return {run: f"{name} v{number}" for run, name, number in self._query(sql, DELETED)}

    def _records(self, condition: str, value: str, order: str) -> list[RunRecord]:
        """Runs under a condition, with all that is known of them."""
        rows = self._query(_RUN + condition + order, value)
        below = f"FROM {{}} JOIN runs r USING (run_uuid) WHERE r.lifecycle_stage = 'active' AND r.{condition}"
        params = self._by_run(f"SELECT run_uuid, key, value, 0 {below.format('params')}", value)
        metrics = self._by_run(f"SELECT run_uuid, key, value, is_nan {below.format('latest_metrics')}", value)
        tags = self._by_run(f"SELECT run_uuid, key, value, 0 {below.format('tags')}", value)
        return [
            RunRecord(
                run_id, name or "", status, datetime.fromtimestamp(started / 1000, UTC),
                params.get(run_id, {}), metrics.get(run_id, {}), tags.get(run_id, {}), place or "",
            )
            for run_id, name, status, started, place in rows
        ]  # fmt: skip

    def _by_run(self, sql: str, value: str) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for run_id, key, content, is_nan in self._query(sql, value):
            found.setdefault(run_id, {})[key] = nan if is_nan else content
        return found

    def _query(self, sql: str, *values: str) -> list[tuple[Any, ...]]:
        return query(self._file, sql, *values) if self._file.is_file() else []
