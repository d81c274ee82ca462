"""A local registry, read from its SQLite file.

Read-only. A test holds it to what MLflow's own client says.
"""

from pathlib import Path
from typing import Any

from sentiflow.tracking.sqlite_store import DELETED, query
from sentiflow.tracking.types import CHAMPION, Facts


class SqliteRegistry:
    """A ``Registry`` over the file of a local store."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def names(self) -> list[str]:
        """All registered models, by the alphabet."""
        return [row[0] for row in self._query("SELECT name FROM registered_models ORDER BY name")]

    def numbers(self, name: str) -> list[int]:
        """The versions of a model that were not deleted, oldest first."""
        living = "WHERE name = ? AND current_stage != ?"
        rows = self._query(f"SELECT version FROM model_versions {living} ORDER BY version", name, DELETED)
        return [int(row[0]) for row in rows]

    def champion(self, name: str) -> int | None:
        """The version in use, or None."""
        rows = self._query(
            "SELECT version FROM registered_model_aliases WHERE name = ? AND alias = ?", name, CHAMPION
        )
        return int(rows[0][0]) if rows else None

    def facts(self, name: str, number: int) -> Facts | None:
        """What is known of a version, or None when it is not there."""
        one = "WHERE name = ? AND version = ?"
        living = f"SELECT storage_location, run_id FROM model_versions {one} AND current_stage != ?"
        rows = self._query(living, name, number, DELETED)
        tags = self._query(f"SELECT key, value FROM model_version_tags {one}", name, number)
        return Facts(rows[0][0], rows[0][1] or None, dict(tags)) if rows else None

    def _query(self, sql: str, *values: str | int) -> list[tuple[Any, ...]]:
        return query(self._file, sql, *values)
