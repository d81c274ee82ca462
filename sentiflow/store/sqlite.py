"""The SQLite file of a local MLflow store, read without MLflow: importing it takes longer than an answer may.

Read-only. A test compares it with what MLflow's own client says.
"""

import logging
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from math import nan
from pathlib import Path
from shlex import quote
from typing import Any

from sentiflow.errors import ExternalError
from sentiflow.run.record import PARENT_RUN, RunRecord
from sentiflow.settings import Settings
from sentiflow.store.records import (
    RegisteredModel,
    VersionRecord,
    local_path,
    need_number,
    no_run,
    renamed,
    time_of,
    unreadable,
)

LOGGER = logging.getLogger(__name__)

_DELETED = "Deleted_Internal"  # how MLflow marks a deleted version in its table

PATIENCE = 20.0  # seconds that a locked database is waited for, as MLflow's own connections do

# What `alembic_version` holds in the stores of releases of MLflow; tests read one of each.
REVISIONS = {
    "da6fb0208061": "3.13",
    "b7e4c1a90f23": "3.14",
    "6f8d9c3b2a1e": "3.15",
    "b7e2c1a4d9f3": "3.16",
    "dc11669786a5": "3.17",
    "f4a9b2c7d1e6": "3.18",
}

DAMAGED = "It is damaged, or never was a store: restore a backup of it, or set SENTIFLOW_TRACKING_URI to another."


def is_damaged(reason: str) -> bool:
    """Whether this is what SQLite says of a damaged file, or of one that never was a database."""
    return "disk image is malformed" in reason or "file is not a database" in reason


def locked_error(store: str) -> ExternalError:
    """The error for a database that stayed locked."""
    problem = f"Another process has held the store {store} locked for more than {PATIENCE:.0f} s."
    return ExternalError(problem, "Wait for that process to end, or stop it, and run again.")


def query(file: Path, sql: str, *values: str | int) -> list[tuple[Any, ...]]:
    address = f"{file.as_uri()}?mode=rw"  # what a killed process left half-written is undone first
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=PATIENCE)) as connection:
            return connection.execute(sql, values).fetchall()
    except sqlite3.Error as err:
        code = getattr(err, "sqlite_errorcode", 0)
        if code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise locked_error(str(file)) from err
        # A table or a column is missing.
        other = other_schema(file) if code == sqlite3.SQLITE_ERROR and sql != _REVISIONS else None
        unknown = DAMAGED if is_damaged(str(err)) else "Is it an MLflow store?"
        raise ExternalError(*(other or (f"Cannot read the store {file}: {err}.", unknown))) from err


# Prefect and Optuna have such a table, too; the condition is met wherever there is a table of experiments.
_REVISIONS = "SELECT version_num FROM alembic_version WHERE (SELECT count(*) FROM experiments) >= 0"


def installed_release() -> str | None:
    """The minor release of MLflow that writes here; None where stores are only read."""
    try:
        return version("mlflow").rpartition(".")[0]
    except PackageNotFoundError:
        return None


def other_schema(file: Path) -> tuple[str, str] | None:
    """The error message for a store that another MLflow made, and its hint; None for one of the installed."""
    found = " and ".join(str(row[0]) for row in query(file, _REVISIONS))
    release, ours = REVISIONS.get(found), installed_release()
    if release and ours in (release, None):
        return None
    *rest, last = REVISIONS.values()
    known = f"revision {found or 'none'}; this Sentiflow knows MLflow {', '.join(rest)} and {last}"
    return (
        f"The store {file} is of another MLflow ({release or known}){f'; installed is {ours}' if ours else ''}.",
        f"An older one: back it up, then: mlflow db upgrade {quote(f'sqlite:///{file}')}\n"
        "A newer one: use the installation with that MLflow, or restore a backup from before it.",
    )


@cache
def _warn_of_schema(file: Path) -> None:
    """Say once a process that a store which can be read was made by another MLflow."""
    if other := other_schema(file):
        LOGGER.warning("%s It can be read, but not written to.", other[0])


_RUN = "SELECT run_uuid, name, status, start_time, artifact_uri FROM runs r WHERE lifecycle_stage = 'active' AND "
_OURS = "experiment_id IN (SELECT experiment_id FROM experiments WHERE name = ?)"
_NEWEST = " ORDER BY start_time DESC, run_uuid"
_FIRST = 200  # runs that are read before the rest is
_LATEST = (
    f"run_uuid IN (SELECT run_uuid FROM runs WHERE lifecycle_stage = 'active' AND {_OURS}{_NEWEST} LIMIT {_FIRST})"
)
_CALLED = f"{_OURS} AND (name = ? OR run_uuid LIKE ?)"
_CHILD = f"run_uuid IN (SELECT run_uuid FROM tags WHERE key = '{PARENT_RUN}' AND value = ?)"  # noqa: S608
_OLDEST = " ORDER BY start_time, run_uuid"


@dataclass(frozen=True)
class Move:
    """The address of the artifacts' folder as the rows have it, and as it is now."""

    old: str
    new: str

    def place(self, address: str) -> str:
        """Where files that a row names are now."""
        rest = address.removeprefix(self.old)
        return address if rest == address or rest[:1] not in ("", "/") else self.new + rest


def find_move(settings: Settings, file: Path) -> Move | None:
    """The move that the rows do not know of: runs of the experiment have their files beside the database."""
    found = query(file, "SELECT artifact_location FROM experiments WHERE name = ?", settings.experiment)
    old = local_path(found[0][0]) if found else None
    new = settings.artifacts
    if old is None or new is None or old == new or not new.is_dir() or (old.exists() and old.samefile(new)):
        return None
    location = str(found[0][0])
    rows = "SELECT run_uuid FROM runs JOIN experiments USING (experiment_id) WHERE artifact_location = ?"
    runs = query(file, rows, location)
    moved = not runs or any((new / run).is_dir() for (run,) in runs)
    return Move(location, new.as_uri()) if moved else None


class SqliteStore:
    """A ``Store`` over the file of a local store; empty before there is one."""

    def __init__(self, settings: Settings, file: Path) -> None:
        self._settings, self._file = settings, file

    def runs(self) -> list[RunRecord]:
        return self._records(_OURS, _NEWEST, self._settings.experiment)

    def newest(self, enough: Callable[[Sequence[RunRecord]], bool]) -> tuple[list[RunRecord], bool]:
        found = self._records(_LATEST, _NEWEST, self._settings.experiment)
        return (found, False) if len(found) == _FIRST and enough(found) else (self.runs(), True)

    def called(self, name: str, beginning: str) -> list[RunRecord]:
        begun = f"{beginning}%" if beginning else ""
        return self._records(_CALLED, _NEWEST, self._settings.experiment, name, begun)

    def record(self, run_id: str) -> RunRecord:
        found = self._records("run_uuid = ?", "", run_id)
        if not found:
            raise no_run(run_id, self._settings.tracking_uri)
        return found[0]

    def children(self, run_id: str) -> list[RunRecord]:
        return self._records(_CHILD, _OLDEST, run_id)

    def history(self, run_id: str) -> dict[str, list[tuple[int, float]]]:
        points: dict[str, list[tuple[int, float]]] = {}
        sql = "SELECT key, step, value, is_nan FROM metrics WHERE run_uuid = ? ORDER BY key, step, timestamp"
        for key, step, value, is_nan in self._query(sql, run_id):
            points.setdefault(key, []).append((step, nan if is_nan else value))
        return {key: line for key, line in points.items() if line[-1][0] > 0}

    def file(self, record: RunRecord, name: str, folder: Path) -> Path | None:  # noqa: ARG002 - all are in place
        place = self._place(record.artifact_uri)
        if place is None:
            raise unreadable(f"The files of {record.name}", record.artifact_uri)
        return place / name if (place / name).is_file() else None

    def run_names(self, run_ids: list[str]) -> dict[str, str]:
        marks = ", ".join("?" * len(run_ids))
        sql = f"SELECT run_uuid, name FROM runs WHERE lifecycle_stage = 'active' AND run_uuid IN ({marks})"
        return {run_id: name or "" for run_id, name in self._query(sql, *run_ids)}

    def models(self) -> list[str]:
        # MLflow keeps prompts beside them.
        prompts = "SELECT name FROM registered_model_tags WHERE key = 'mlflow.prompt.is_prompt'"
        sql = f"SELECT name FROM registered_models WHERE name NOT IN ({prompts}) ORDER BY name"
        return [row[0] for row in self._query(sql)]

    def model(self, name: str) -> RegisteredModel | None:
        if not self._query("SELECT 1 FROM registered_models WHERE name = ?", name):
            return None
        aliases = self._query("SELECT alias, version FROM registered_model_aliases WHERE name = ?", name)
        tags = self._query("SELECT key, value FROM registered_model_tags WHERE name = ?", name)
        return RegisteredModel({alias: int(number) for alias, number in aliases}, dict(tags))

    def versions(self, name: str) -> list[VersionRecord]:
        return self._versions("name = ?", name)

    def version(self, name: str, number: int) -> VersionRecord | None:
        found = self._versions("name = ? AND version = ?", name, number)
        return found[0] if found else None

    def versions_by_run(self) -> Mapping[str, str]:
        sql = (
            "SELECT run_id, name, version FROM model_versions WHERE current_stage != ?"
            " ORDER BY creation_time DESC, name DESC, version DESC"
        )
        return {run: f"{name}/{number}" for run, name, number in self._query(sql, _DELETED) if run}

    def version_files(self, name: str, number: int, folder: Path) -> Path:  # noqa: ARG002 - all are in place
        sql = "SELECT version, coalesce(storage_location, source) FROM model_versions WHERE name = ?"
        places = dict(self._query(sql, name))
        location = str(places[need_number(places, name, number)])
        place = self._place(location)
        if place is None:
            raise unreadable(f"The files of {name} version {number}", location)
        return place

    def _place(self, address: str) -> Path | None:
        """Where files are now: whoever only reads a store that was moved leaves its rows as they are."""
        move = find_move(self._settings, self._file)
        return local_path(move.place(address) if move else address)

    def _versions(self, condition: str, *values: str | int) -> list[VersionRecord]:
        sql = f"SELECT version, creation_time, run_id FROM model_versions WHERE {condition} AND current_stage != ?"
        rows = self._query(f"{sql} ORDER BY version", *values, _DELETED)
        tags = self._by_owner(f"SELECT version, key, value, 0 FROM model_version_tags WHERE {condition}", *values)
        return [
            VersionRecord(int(number), time_of(made), run_id or None, renamed(tags.get(number, {})))
            for number, made, run_id in rows
        ]

    def _records(self, condition: str, order: str, *values: str) -> list[RunRecord]:
        rows = self._query(_RUN + condition + order, *values)
        below = f"FROM {{}} JOIN runs r USING (run_uuid) WHERE r.lifecycle_stage = 'active' AND r.{condition}"
        params = self._by_owner(f"SELECT run_uuid, key, value, 0 {below.format('params')}", *values)
        metrics = self._by_owner(f"SELECT run_uuid, key, value, is_nan {below.format('latest_metrics')}", *values)
        tags = self._by_owner(f"SELECT run_uuid, key, value, 0 {below.format('tags')}", *values)
        return [
            RunRecord(
                run_id, name or "", status, time_of(started),
                params.get(run_id, {}), metrics.get(run_id, {}), renamed(tags.get(run_id, {})), place or "",
            )
            for run_id, name, status, started, place in rows
        ]  # fmt: skip

    def _by_owner(self, sql: str, *values: str | int) -> dict[Any, dict[str, Any]]:
        """Values by key, of each run or version."""
        found: dict[Any, dict[str, Any]] = {}
        for owner, key, content, is_nan in self._query(sql, *values):
            found.setdefault(owner, {})[key] = nan if is_nan else content
        return found

    def _query(self, sql: str, *values: str | int) -> list[tuple[Any, ...]]:
        if not self._file.is_file():
            return []
        found = query(self._file, sql, *values)
        _warn_of_schema(self._file)
        return found
