"""The SQLite file of a local MLflow store, read without MLflow: importing it takes longer than an answer may."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from sentiment.errors import WorldError

DELETED = "Deleted_Internal"  # how MLflow marks a deleted version in its table


def query(file: Path, sql: str, *values: str | int) -> list[tuple[Any, ...]]:
    """Ask the file, which is opened for reading only.

    Raises:
        WorldError: it cannot be read, or is no store.
    """
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=5)) as connection:
            return connection.execute(sql, values).fetchall()
    except sqlite3.Error as err:
        raise WorldError(f"Cannot read the store {file}: {err}.", "Is it an MLflow store?") from err
