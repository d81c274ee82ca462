"""A local store whose folder was moved or copied: MLflow's rows name the place in which it was made."""

import logging
import sqlite3
from contextlib import closing
from pathlib import Path

from sentiflow.errors import ExternalError
from sentiflow.locks import brief_lock
from sentiflow.settings import Settings
from sentiflow.store.records import local_path
from sentiflow.store.sqlite import PATIENCE, find_move

LOGGER = logging.getLogger(__name__)

_ADDRESSES = (
    ("experiments", "artifact_location", ""),
    ("runs", "artifact_uri", ""),
    ("logged_models", "artifact_location", ""),
    ("model_versions", "storage_location", ""),
    ("model_versions", "source", ""),
    ("trace_tags", "value", "AND key = 'mlflow.artifactLocation'"),
)


def settle(settings: Settings, file: Path) -> None:
    """Make a store at home where it is now, so that nothing is written to where it was."""
    if find_move(settings, file) is None:
        return
    with brief_lock(file.with_name(f".{file.name}.lock"), f"A change of {file.name} by another process"):
        move = find_move(settings, file)
        if move is None:  # another process was quicker
            return
        try:
            with closing(sqlite3.connect(file, timeout=PATIENCE)) as database, database:
                for table, column, more in _ADDRESSES:
                    database.execute(
                        f"UPDATE {table} SET {column} = :new || substr({column}, length(:old) + 1)"
                        f" WHERE substr({column} || '/', 1, length(:old) + 1) = :old || '/' {more}",
                        {"old": move.old, "new": move.new},
                    )
        except sqlite3.Error as err:
            problem = f"The store {file} was moved here, and cannot be written to: {err}."
            raise ExternalError(problem, "Let nobody else use it for a moment, and run again.") from err
    told = "The store was moved or copied: its files are in %s from now on, and no longer in %s."
    LOGGER.warning(told, settings.artifacts, local_path(move.old))
