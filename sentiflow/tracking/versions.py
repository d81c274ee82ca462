"""Which registered version answers, and where its files are."""

from pathlib import Path
from urllib.parse import unquote, urlparse

from sentiflow.errors import UsageError, WorldError
from sentiflow.settings import Settings
from sentiflow.tracking.types import (
    ACCURACY,
    CHAMPION,
    NO_MODEL,
    Champion,
    Registry,
    Version,
    choose_name,
    fraction,
    need_number,
)


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
    registry = registry_of(settings)
    if registry is None:
        raise UsageError(*NO_MODEL)
    return _choose_version(registry, choose_name(registry.names(), name), number)


def find_champion(settings: Settings, name: str | None) -> Champion | None:
    """Find the champion, and nothing in its place: None when no version is in use, or no such model is there yet.

    Args:
        settings: where the store is; none is made.
        name: of the registered model; by default ``imdb-sentiment``, or the only one that there is.

    Raises:
        UsageError: no model was named, and there are several.
        WorldError: the store cannot be read.
    """
    registry = registry_of(settings)
    return None if registry is None else champion_in(registry, name)


def champion_in(registry: Registry, name: str | None) -> Champion | None:
    """Find the champion in a registry; see ``find_champion``."""
    names = registry.names()
    if not names or (name and name not in names):
        return None
    name = choose_name(names, name)
    number = registry.champion(name)
    facts = None if number is None else registry.facts(name, number)
    if number is None or facts is None:  # none, or deleted a moment ago
        return None
    return Champion(
        Version(name, number, CHAMPION, facts.location), facts.run_id, fraction(facts.tags.get(ACCURACY))
    )


def registry_of(settings: Settings) -> Registry | None:
    """The registry of the settings: a local one is read without MLflow, and None before there is one."""
    file = settings.sqlite_file
    if file is None:
        from sentiflow.tracking.mlflow_registry import MlflowRegistry  # seconds to import, so only where needed

        return MlflowRegistry(settings)
    from sentiflow.tracking.sqlite_registry import SqliteRegistry

    return SqliteRegistry(file) if file.is_file() else None


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


def _choose_version(registry: Registry, name: str, number: int | None) -> Version:
    numbers = registry.numbers(name)
    if not numbers:
        raise UsageError(f"{name} has no version.", "Train one first: sentiflow train")
    if number is not None:
        chosen, why = need_number(numbers, name, number), "asked for"
    elif (champion := registry.champion(name)) is not None:
        chosen, why = champion, CHAMPION
    else:
        chosen, why = numbers[-1], "newest, no champion yet"
    facts = registry.facts(name, chosen)
    if facts is None:
        raise WorldError(f"{name} version {chosen} was deleted a moment ago.", "Try again.")
    return Version(name, chosen, why, facts.location)
