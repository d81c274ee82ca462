"""Which registered version answers, and where its files are.

For a local store this reads SQLite itself, read-only: importing MLflow takes longer than an answer may. A test
holds it to what MLflow's own client says.
"""

import math
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlparse

from sentiment.errors import UsageError, WorldError
from sentiment.settings import Settings

CHAMPION = "champion"

_NO_SUCH_ALIAS = ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST")  # depends on the store
_ACCURACY = "test.accuracy"  # the tag that registering writes
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
class Champion:
    """The version in use.

    Attributes:
        run_id: of the training that made it; None when it was registered without one.
        accuracy: on its test split, 0 to 1, as its tag says; None without such a tag.
    """

    version: Version
    run_id: str | None
    accuracy: float | None


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
    name = choose_name(names, name)
    return _choose_version(name, read(name), number)


def find_champion(settings: Settings, name: str | None) -> Champion | None:
    """Find the champion, and nothing in its place: None when no version is in use, or no such model is there yet.

    Args:
        settings: where the store is; none is made.
        name: of the registered model; by default ``imdb-sentiment``, or the only one that there is.

    Raises:
        UsageError: no model was named, and there are several.
        WorldError: the store cannot be read.
    """
    file = settings.sqlite_file
    if file is None:
        return _champion_from_mlflow(settings, name)
    if not file.is_file():
        return None
    names = [row[0] for row in _query(file, "SELECT name FROM registered_models ORDER BY name")]
    if not names or (name and name not in names):
        return None
    return _champion_from_sqlite(file, choose_name(names, name))


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


def choose_name(names: list[str], name: str | None) -> str:
    """The registered model that is meant: the one named, else ``imdb-sentiment``, else the only one.

    Raises:
        UsageError: there is no such model.
    """
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


def _query(file: Path, sql: str, *values: str) -> list[tuple[str, ...]]:
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=5)) as connection:
            return connection.execute(sql, values).fetchall()
    except sqlite3.Error as err:
        raise WorldError(f"Cannot read the store {file}: {err}.", "Is it an MLflow store?") from err


def _from_sqlite(file: Path) -> tuple[list[str], Callable[[str], _Model]]:
    def read(name: str) -> _Model:
        rows = _query(
            file,
            "SELECT version, storage_location FROM model_versions WHERE name = ? AND current_stage != ?",
            name,
            _DELETED,
        )
        alias = _query(
            file, "SELECT version FROM registered_model_aliases WHERE name = ? AND alias = ?", name, CHAMPION
        )
        return _Model({int(row[0]): row[1] for row in rows}, int(alias[0][0]) if alias else None)

    return [row[0] for row in _query(file, "SELECT name FROM registered_models ORDER BY name")], read


def _champion_from_sqlite(file: Path, name: str) -> Champion | None:
    rows = _query(
        file,
        "SELECT v.version, v.storage_location, v.run_id, t.value FROM registered_model_aliases a "
        "JOIN model_versions v ON v.name = a.name AND v.version = a.version AND v.current_stage != ? "
        "LEFT JOIN model_version_tags t ON t.name = v.name AND t.version = v.version AND t.key = ? "
        "WHERE a.name = ? AND a.alias = ?",
        _DELETED,
        _ACCURACY,
        name,
        CHAMPION,
    )
    if not rows:
        return None
    number, location, run_id, accuracy = rows[0]
    return _champion(Version(name, int(number), CHAMPION, location), run_id, accuracy)


def _champion(version: Version, run_id: str | None, accuracy: str | None) -> Champion:
    try:
        value = float(accuracy or "nan")
    except ValueError:
        value = math.nan  # somebody's own tag of that name
    return Champion(version, run_id or None, value if 0 <= value <= 1 else None)


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
            if err.error_code not in _NO_SUCH_ALIAS:
                raise
            champion = None
        return _Model(locations, champion)

    with tracking_errors(settings.tracking_uri):
        return sorted(model.name for model in client.search_registered_models()), read


def _champion_from_mlflow(settings: Settings, name: str | None) -> Champion | None:
    from mlflow.exceptions import MlflowException  # seconds to import, so only where needed

    from tasks.tracking import connect, tracking_errors

    client = connect(settings)
    with tracking_errors(settings.tracking_uri):
        names = sorted(model.name for model in client.search_registered_models())
        if not names or (name and name not in names):
            return None
        name = choose_name(names, name)
        try:
            found = client.get_model_version_by_alias(name, CHAMPION)
        except MlflowException as err:
            if err.error_code not in _NO_SUCH_ALIAS:
                raise
            return None
        location = client.get_model_version_download_uri(name, found.version)
    return _champion(
        Version(name, int(found.version), CHAMPION, location), found.run_id, found.tags.get(_ACCURACY)
    )
