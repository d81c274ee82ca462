"""Copies a local store into an MLflow server: ``make import STORE=mlruns``.

    import_store.py MLFLOW_DB DATABASE ARTIFACTS

Runs, models, versions and aliases keep their ids and times; experiments get new numbers. Rows are written in one
transaction, files into a new folder of the server's artifacts. Everybody with an account can read what is
imported: files are taken of one folder beside the store alone, and no row may name others.
"""

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sqlalchemy import URL, Connection, MetaData, Table, create_engine, func, select, text
from sqlalchemy.exc import IntegrityError

# What training, tracking and the registry write; traces and the like are left out.
TABLES = (
    "experiments", "experiment_tags", "runs", "params", "tags", "metrics", "latest_metrics",
    "datasets", "inputs", "input_tags",
    "logged_models", "logged_model_params", "logged_model_metrics", "logged_model_tags",
    "registered_models", "registered_model_tags", "registered_model_aliases",
    "model_versions", "model_version_tags",
)  # fmt: skip
ADDRESSES = ("artifact_uri", "artifact_location", "storage_location", "source")
# What MLflow writes in place of an address: names, and texts for prompts and for versions that were deleted.
NO_PLACES = ("models:/", "runs:/", "dummy-source", "prompt-template", "REDACTED-SOURCE-PATH")


@dataclass(frozen=True)
class Move:
    """Where things go: by how much the numbers of experiments grow, and from which folder to which."""

    shift: int
    old: str
    new: str


def main(file: Path, database: str, artifacts: Path) -> str:
    """Import a store; gives what was done, or ends with the reason why nothing was."""
    local = URL.create("sqlite", database=file.as_uri(), query={"mode": "ro", "uri": "true"})
    try:
        with create_engine(local).connect() as old, create_engine(database).begin() as new:
            _check(old, new)
            known = MetaData()
            known.reflect(new, only=TABLES)
            shift = new.scalar(text("SELECT max(experiment_id) FROM experiments"))
            move = Move(shift, _root(old), f"imported-{shift}")
            tables = [table for table in known.sorted_tables if table.name in TABLES]
            counts = {table.name: _copy(old, new, table, move) for table in tables}
            files = _copy_files(file.parent, Path(move.old).name, artifacts / move.new)
    except IntegrityError as err:
        sys.exit(f"The server has it already, or something of that name: {err.orig}")
    shown = ", ".join(f"{counts[name]} {name}" for name in ("experiments", "runs", "model_versions"))
    return f"Imported {shown}, {files} files."


def _check(old: Connection, new: Connection) -> None:
    schemas = [each.scalar(text("SELECT version_num FROM alembic_version")) for each in (old, new)]
    if schemas[0] != schemas[1]:
        sys.exit(f"The stores are of different MLflow releases (schemas {schemas}): mlflow db upgrade ADDRESS")
    is_open = "FROM runs WHERE status = 'RUNNING' AND lifecycle_stage = 'active'"
    if names := list(old.scalars(text(f"SELECT name {is_open}"))):
        sys.exit(
            f"Still running in the local store: {', '.join(names)}. sentiflow housekeeping closes killed runs."
        )


def _root(old: Connection) -> str:
    """The folder of all experiments that have runs, as the store writes it."""
    used = "SELECT DISTINCT artifact_location FROM experiments JOIN runs USING (experiment_id)"
    places = list(old.scalars(text(used))) or list(old.scalars(text("SELECT artifact_location FROM experiments")))
    for place in places:
        parts = urlsplit(place)
        if parts.scheme not in ("", "file") or parts.netloc:
            sys.exit(f"The store has an experiment whose files are not on this disk, but at {place}.")
    return os.path.commonprefix([f"{place}/" for place in places]).rpartition("/")[0]


def _copy(old: Connection, new: Connection, table: Table, move: Move) -> int:
    """Copy the rows of a table; numbers that PostgreSQL gives go on after the highest one."""
    count = 0
    for batch in old.execute(select(table)).mappings().partitions(2_000):
        rows = [_moved(dict(row), table.name, move) for row in batch]
        if table.name.startswith("experiment"):  # the one that every store has from the start stays the server's
            rows = [row for row in rows if row["experiment_id"]]
        if rows:
            new.execute(table.insert(), rows)
        count += len(rows)
    number = table.autoincrement_column
    if number is not None and new.dialect.name == "postgresql":
        highest = select(func.max(number)).scalar_subquery()
        new.execute(select(func.setval(func.pg_get_serial_sequence(table.name, number.name), highest)))
    return count


def _moved(row: dict, table: str, move: Move) -> dict:
    """A row with its experiment's number on the server, and the addresses that its files have there."""
    for column in ADDRESSES:
        address = row.get(column)
        if not address or address.startswith(NO_PLACES):
            continue
        rest = address.removeprefix(move.old)
        if (rest and rest[0] != "/") or rest == address or ".." in unquote(rest):
            if table != "experiments":
                sys.exit(f"The store names files at {address}, which are not in its folder {move.old}.")
            rest = f"/{row['experiment_id']}"  # it has no runs
        row[column] = f"mlflow-artifacts:/{move.new}{rest}"
    if row.get("experiment_id"):
        row["experiment_id"] += move.shift
    return row


def _copy_files(home: Path, name: str, goal: Path) -> int:
    folder = home / unquote(name)
    found = [folder, *folder.rglob("*")]
    if folder in (home, home / "..") or not folder.is_dir():
        sys.exit(f"The store's artifacts have to be beside it, in the folder {name}.")
    for path in found:
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            sys.exit(f"{path} is a link or a device: only files and folders are imported.")
    if goal.exists():
        sys.exit(f"{goal} is there already. Remove it, if no experiment has its files there.")
    shutil.copytree(folder, goal)
    return sum(path.is_file() for path in found)


if __name__ == "__main__":
    print(main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])))  # noqa: T201
