"""Which registered version answers, and where its files are.

For a local store this reads SQLite itself, read-only: importing MLflow takes longer than an answer may. A test
holds it to what MLflow's own client says.
"""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlparse

from sentiment.errors import UsageError, WorldError
from sentiment.settings import Settings

CHAMPION = "champion"

_DELETED = "Deleted_Internal"  # how MLflow marks a deleted version in its table


@dataclass(frozen=True)
class Version:
    """A registered version.

    Attributes:
        name: of the registered model.
        number: of the version.
        why: what made it answer: champion, newest, or asked for.
        location: URI of its files.
    """

    name: str
    number: int
    why: str
    location: str


@dataclass(frozen=True)
class _Model:
    """What a registry says of one registered model: files by version, and the champion's number."""

    locations: dict[int, str]
    champion: int | None


def find_version(settings: Settings, name: str | None, number: int | None) -> Version:
    """Find the version that was asked for, else the champion, else the newest.

    Args:
        settings: where the store is.
        name: of the registered model; by default ``imdb-sentiment``, or the only one that there is.
        number: of the version.

    Raises:
        UsageError: there is no such model or version; the hint names what there is.
        WorldError: the store cannot be read.
    """
    file = settings.sqlite_file
    if file is None:
        names, read = _from_mlflow(settings)
    elif file.is_file():
        names, read = _from_sqlite(file)
    else:
        names, read = [], lambda _name: _Model({}, None)
    name = _choose_name(names, name)
    return _choose_version(name, read(name), number)


def files_of(version: Version) -> Path:
    """The folder with a version's files, if it is on this machine.

    Raises:
        WorldError: the files are elsewhere or gone.
    """
    parts = urlparse(version.location)
    folder = Path(unquote(parts.path))
    if parts.scheme not in ("", "file") or not folder.is_dir():
        raise WorldError(
            f"The files of {version.name} version {version.number} are not at {version.location}.",
            "Were they moved or deleted? Train again, or choose another with --version.",
        )
    return folder


def _choose_name(names: list[str], name: str | None) -> str:
    wanted = name or "imdb-sentiment"
    if wanted in names:
        return wanted
    if name is None and len(names) == 1:
        return names[0]
    if not names:
        raise UsageError("No model is registered yet.", "Train one first: sentiflow train")
    raise UsageError(
        f"No model is registered as {wanted}; there are: {', '.join(names)}.",
        f"Choose one, for example: --dataset {names[0].removesuffix('-sentiment')}",
    )


def _choose_version(name: str, model: _Model, number: int | None) -> Version:
    if not model.locations:
        raise UsageError(f"{name} has no version.", "Train one first: sentiflow train")
    if number is not None and number not in model.locations:
        there = ", ".join(map(str, sorted(model.locations)[-10:]))
        raise UsageError(f"{name} has no version {number}.", f"The latest versions are: {there}.")
    if number is not None:
        return Version(name, number, "asked for", model.locations[number])
    if model.champion is not None:
        return Version(name, model.champion, CHAMPION, model.locations[model.champion])
    newest = max(model.locations)
    return Version(name, newest, "newest, no champion yet", model.locations[newest])


def _from_sqlite(file: Path) -> tuple[list[str], Callable[[str], _Model]]:
    def query(sql: str, *values: str) -> list[tuple[str, ...]]:
        try:
            with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=5)) as connection:
                return connection.execute(sql, values).fetchall()
        except sqlite3.Error as err:
            raise WorldError(f"Cannot read the store {file}: {err}.", "Is it an MLflow store?") from err

    def read(name: str) -> _Model:
        rows = query(
            "SELECT version, storage_location FROM model_versions WHERE name = ? AND current_stage != ?",
            name,
            _DELETED,
        )
        alias = query("SELECT version FROM registered_model_aliases WHERE name = ? AND alias = ?", name, CHAMPION)
        return _Model({int(row[0]): row[1] for row in rows}, int(alias[0][0]) if alias else None)

    return [row[0] for row in query("SELECT name FROM registered_models ORDER BY name")], read


def _from_mlflow(settings: Settings) -> tuple[list[str], Callable[[str], _Model]]:
    from mlflow.exceptions import MlflowException  # seconds to import, so only where needed

    from tasks.tracking import connect, tracking_errors

    client = connect(settings)

    def read(name: str) -> _Model:
        with tracking_errors(settings.tracking_uri):
            versions = client.search_model_versions(f"name = '{name}'")
            locations = {int(v.version): client.get_model_version_download_uri(name, v.version) for v in versions}
        try:
            champion = int(client.get_model_version_by_alias(name, CHAMPION).version)
        except MlflowException as err:
            if err.error_code not in ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST"):
                raise
            champion = None
        return _Model(locations, champion)

    with tracking_errors(settings.tracking_uri):
        return sorted(model.name for model in client.search_registered_models()), read
