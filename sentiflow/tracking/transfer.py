"""A local store with its artifacts, moved into the database of a server."""

import re
import shutil
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from filecmp import cmp
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from sqlalchemy import URL, Connection, MetaData, Table, create_engine, func, insert, inspect, select
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from sentiflow.errors import ExternalError, UsageError, first_line
from sentiflow.output import redact, without_secrets
from sentiflow.tracking.sqlite import other_schema
from sentiflow.tracking.types import local_path

_SERVED = "mlflow-artifacts:/"  # whatever the server that is asked keeps


@dataclass
class Moves:
    """Folders of a local store, each with its name on the server.

    Attributes:
        file: the store; its folders may have been moved together with it.
        names: by location, as the store writes it.
    """

    file: Path
    names: dict[str, str] = field(default_factory=dict)

    def add(self, location: str, name: str) -> str:
        """Plan to move a location; gives its address on the server.

        Raises:
            UsageError: its files are on no disk: a server or a cloud keeps them, and the server that imports would
                give them to all its accounts, by its own rights.
        """
        if local_path(location) is None:
            raise UsageError(
                f"The store has an experiment whose files are not on this disk, but at {location}.",
                "Delete the experiment in a copy of the store for good (mlflow gc), and import that.",
            )
        _need_plain(location)
        return _SERVED + self.names.setdefault(location.rstrip("/"), name)

    def address(self, address: str) -> str:
        """The new address of a file or folder of one of the locations.

        Raises:
            UsageError: it lies in none of them. A server would give its own files, or other people's, to all
                who ask for that run or version.
        """
        _need_plain(address)
        for location, name in sorted(self.names.items(), key=lambda item: -len(item[0])):
            if address == location or address.startswith(f"{location}/"):
                return f"{_SERVED}{name}{address.removeprefix(location)}"
        raise UsageError(
            f"The store names files at {address}, which is in no folder of its experiments.",
            "Delete that run for good (mlflow gc), or that version, in a copy of the store, and import that.",
        )

    def folder(self, location: str) -> Path | None:
        """Where a location's files are: in their place or moved with the store, but always below its folder.

        A store says freely where its files are, and what is imported can be read by every account of the server.
        """
        written, home = local_path(location), self.file.parent.resolve()
        for place in (written, home / written.name) if written else ():
            if place.is_dir() and home in place.resolve().parents:
                return place.resolve()
        return None


def _need_plain(address: str) -> None:
    """Refuse an address that leads out of the folder that it begins with."""
    if ".." in re.split(r"[^\w.]", unquote(address)):
        raise UsageError(
            f"The store names files at {address}, which leads out of its folder.", "Nothing was imported."
        )


def copy_all(moves: Moves, artifacts: Path) -> tuple[int, int]:
    """Copy all that is planned; gives the number of files and their bytes.

    Raises:
        UsageError: among the files is a link, or something else that is neither file nor folder.
        ExternalError: a folder of that name is there already, with other files.
        OSError: a file cannot be read or written.
    """
    files = size = 0
    for location, name in moves.names.items():
        folder, goal = moves.folder(location), artifacts / name
        if folder is None:
            continue
        sizes = _sizes(folder)  # of all, before one is copied
        if not goal.exists():
            partial = goal.with_name(f".{name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            shutil.copytree(folder, partial, symlinks=True)
            partial.rename(goal)
        elif not _equal(folder, goal):  # else an import copied it, and was killed before it wrote the rows
            raise ExternalError(f"{goal} exists already, with other files.", "Remove it, if nothing needs it.")
        files, size = files + len(sizes), size + sum(sizes)
    return files, size


def _equal(one: Path, other: Path) -> bool:
    """Whether two folders hold the same files."""
    names = [{path.relative_to(root) for path in root.rglob("*") if path.is_file()} for root in (one, other)]
    return names[0] == names[1] and all(cmp(one / name, other / name, shallow=False) for name in names[0])


def _sizes(folder: Path) -> list[int]:
    """Bytes of each file below a folder.

    Raises:
        UsageError: there is anything but files and folders: a link could lead to any file that this user can read.
    """
    found = {path: path.lstat() for path in folder.rglob("*")}
    for path, about in found.items():
        if not (stat.S_ISDIR(about.st_mode) or stat.S_ISREG(about.st_mode)):
            what = "a link" if path.is_symlink() else "neither a file nor a folder"
            raise UsageError(
                f"{path} is {what}: only files and folders are imported.",
                "Put the file itself in its place, or remove it.",
            )
    return [about.st_size for about in found.values() if stat.S_ISREG(about.st_mode)]


# What training, tracking and the registry write. The rest of MLflow's tables (traces and the
# like) is not moved; a message names what it holds.
_MOVED = (
    "experiments", "experiment_tags", "runs", "params", "tags", "metrics", "latest_metrics",
    "datasets", "inputs", "input_tags",
    "logged_models", "logged_model_params", "logged_model_metrics", "logged_model_tags",
    "registered_models", "registered_model_tags", "registered_model_aliases",
    "model_versions", "model_version_tags",
)  # fmt: skip
_OWN = {"alembic_version", "workspaces", "scheduler_leases", "job_locks", "jobs"}  # each database has its own
_ADDRESSES = ("artifact_uri", "artifact_location", "storage_location", "source")
_BY_NAME = ("models:/", "runs:/")  # such a source says what a version is of; its files are at storage_location
# What MLflow writes in place of an address: nothing, for a prompt, and for a version that was deleted.
_NOWHERE = ("", None, "dummy-source", "prompt-template", "REDACTED-SOURCE-PATH")
_DEFAULT = "Default"  # the experiment that every store has from the start
_ROWS = 2_000  # a statement
_START = "Start the server once, so that it makes its tables and its first experiment."


@dataclass(frozen=True)
class Imported:
    """What was moved.

    Attributes:
        left: rows by table of what is not moved: traces and the like.
    """

    rows: Mapping[str, int]
    files: int
    megabytes: float
    left: Mapping[str, int]


def import_store(file: Path, database: str, artifacts: Path) -> Imported:
    """Copy every experiment, run and registered model of a local store, an SQLite file, into a server's.

    Nothing may write to the file meanwhile. Written: rows in one transaction of the database, the server's own
    backend store; files below the server's folder of artifacts, one folder an experiment. What fails leaves no
    row, and at most a folder that nothing names.

    Raises:
        UsageError: a run is still open, the server has an experiment or a model of a name already, or the two
            databases are of different MLflow versions; or the store names files that are not its own, or has
            links among them.
        ExternalError: a database or a file cannot be read or written.
    """
    if not file.is_file():
        raise UsageError(f"There is no store {file}.", "Name the mlflow.db of a local store.")
    # So made, as the path may hold any character.
    local = URL.create("sqlite", database=file.as_uri(), query={"mode": "ro", "uri": "true"})
    try:
        with create_engine(local).connect() as source, create_engine(database).begin() as target:
            return _copy(source, target, file, artifacts)
    except IntegrityError as err:
        raise ExternalError(
            f"{redact(database)} refuses a row: {redact(first_line(str(err.orig)))}.",
            "Nothing was imported. Is some of it there already, or was the local store changed by hand?",
        ) from without_secrets(err)
    except (SQLAlchemyError, ImportError) as err:
        raise ExternalError(
            f"Cannot import into {redact(database)}: {redact(first_line(err))}", "Nothing was imported."
        ) from without_secrets(err)


def _copy(source: Connection, target: Connection, file: Path, artifacts: Path) -> Imported:
    tables = _tables(source, target, file)
    _need_ended(source, tables["runs"])
    _need_new(source, target, tables)
    experiments, moves = _open_experiments(source, target, tables["experiments"], file)
    rows = {"experiments": len(experiments)}
    for table in tables.values():
        if table.name != "experiments":
            rows[table.name] = _copy_rows(source, target, table, experiments, moves)
    _need_files(source, tables["runs"], tables["logged_models"], moves)
    files, size = copy_all(moves, artifacts)
    return Imported(rows, files, size / 1e6, _left(source))


def _need_files(source: Connection, runs: Table, models: Table, moves: Moves) -> None:
    """Check that nothing which was imported has its files in a folder that was not found."""
    for location in [each for each in moves.names if moves.folder(each) is None]:
        for column in (runs.c.artifact_uri, models.c.artifact_location):
            if source.scalar(select(column).where(column.startswith(f"{location}/", autoescape=True)).limit(1)):
                raise UsageError(
                    f"The artifacts of the store, at {location}, are not in the folder of the store.",
                    f"Put that folder itself (no link), named {Path(location).name}, beside {moves.file.name}, "
                    "and import again.",
                )


def _tables(source: Connection, target: Connection, file: Path) -> dict[str, Table]:
    """The tables to copy, those first that others refer to."""
    versions = [_schema(connection) for connection in (source, target)]
    if versions[0] != versions[1]:
        both = f"The two databases are of different MLflow versions (schemas {versions[0]} and {versions[1]})."
        hint = "Back the older one up, then: mlflow db upgrade ADDRESS"
        raise UsageError(*other_schema(file) or (both, hint))
    known = MetaData()
    known.reflect(target, only=_MOVED)
    return {table.name: table for table in known.sorted_tables if table.name in _MOVED}


def _schema(connection: Connection) -> str:
    if not inspect(connection).has_table("alembic_version"):
        raise UsageError(
            f"{redact(str(connection.engine.url))} is not an MLflow store.",
            "Start the server once, so that it makes one.",
        )
    return str(connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one())


def _need_ended(source: Connection, runs: Table) -> None:
    open_runs = source.scalars(
        select(runs.c.name).where(runs.c.status == "RUNNING", runs.c.lifecycle_stage == "active")
    ).all()
    if open_runs:
        raise UsageError(
            f"Still running in the local store: {', '.join(map(str, open_runs[:5]))}.",
            "Wait for them; what was killed, `sentiflow housekeeping` closes. Delete others in MLflow's UI.",
        )


def _need_new(source: Connection, target: Connection, tables: Mapping[str, Table]) -> None:
    for table, what in ((tables["experiments"], "an experiment"), (tables["registered_models"], "a model")):
        names = [set(connection.scalars(select(table.c.name))) for connection in (source, target)]
        both = sorted((names[0] & names[1]) - {_DEFAULT})
        if both:
            raise UsageError(
                f"The server has {what} of that name already: {', '.join(both)}.",
                "Import into a fresh server, or rename it in the local store's UI first.",
            )


def _open_experiments(
    source: Connection, target: Connection, table: Table, file: Path
) -> tuple[dict[int, int], Moves]:
    """Make the experiments; gives their new numbers by the old ones, and where their files go."""
    numbers: dict[int, int] = {}
    moves = Moves(file)
    for row in source.execute(select(table)).mappings():
        values = dict(row)
        old, location = values.pop("experiment_id"), values["artifact_location"]
        if values["name"] == _DEFAULT:
            wanted = select(table.c.experiment_id).where(table.c.name == _DEFAULT)
            if (number := target.execute(wanted).scalar()) is None:
                where = redact(str(target.engine.url))
                raise UsageError(f"No server has used {where} yet.", _START)
            numbers[old] = number
            moves.add(location, "imported-default")
            continue
        made = insert(table).values(values).returning(table.c.experiment_id)
        numbers[old] = target.execute(made).scalar_one()
        moved = moves.add(location, str(numbers[old]))
        target.execute(table.update().where(table.c.experiment_id == numbers[old]).values(artifact_location=moved))
    return numbers, moves


def _copy_rows(
    source: Connection, target: Connection, table: Table, experiments: Mapping[int, int], moves: Moves
) -> int:
    count, there = 0, set()
    if table.name == "experiment_tags":  # of the experiment that both have: the server's tags stay
        there = {(number, key) for number, key in target.execute(select(table.c.experiment_id, table.c.key))}
    for batch in source.execute(select(table)).mappings().partitions(_ROWS):
        moved = [_moved(row, experiments, moves) for row in batch]
        if new := [row for row in moved if (row.get("experiment_id"), row.get("key")) not in there]:
            target.execute(insert(table), new)
        count += len(new)
    return count


def _moved(row: Any, experiments: Mapping[int, int], moves: Moves) -> dict[str, Any]:
    values = dict(row)
    if values.get("experiment_id") is not None:
        values["experiment_id"] = experiments[values["experiment_id"]]
    source = str(values.get("source") or "")
    if source and not values["storage_location"]:
        values["storage_location"] = source
    for column in _ADDRESSES:
        by_name = column == "source" and source.startswith(_BY_NAME)
        if values.get(column) not in _NOWHERE and not by_name:
            values[column] = moves.address(str(values[column]))
    return values


def _left(source: Connection) -> dict[str, int]:
    known = MetaData()
    known.reflect(source)
    counts = {
        name: source.execute(select(func.count()).select_from(table)).scalar_one()
        for name, table in known.tables.items()
        if name not in _MOVED and name not in _OWN
    }
    return {name: count for name, count in counts.items() if count}
