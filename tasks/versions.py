"""Which registered version answers, and where its files are."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlparse

from sentiment.errors import UsageError, WorldError
from sentiment.settings import Settings

CHAMPION = "champion"
MISSING = ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST")  # MLflow's codes for what is not there, by store

NO_MODEL = "No model is registered yet.", "Train one first: sentiflow train"

ACCURACY = "test.accuracy"  # the tag that registering writes


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
class Facts:
    """What a registry says of one version: URI of its files, run and tags."""

    location: str
    run_id: str | None
    tags: Mapping[str, str]


class Registry(Protocol):
    """A place to look versions up; every call raises WorldError when it cannot be read."""

    def names(self) -> list[str]:
        """All registered models, by the alphabet."""

    def numbers(self, name: str) -> list[int]:
        """The versions of a model that were not deleted, oldest first."""

    def champion(self, name: str) -> int | None:
        """The version in use, or None."""

    def facts(self, name: str, number: int) -> Facts | None:
        """What is known of a version, or None when it is not there."""


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
        from tasks.mlflow_registry import MlflowRegistry  # seconds to import, so only where needed

        return MlflowRegistry(settings)
    from tasks.sqlite_registry import SqliteRegistry

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
        raise UsageError(*NO_MODEL)
    raise UsageError(
        f"No model is registered as {wanted}; there are: {', '.join(names)}.",
        f"Choose one, for example: --dataset {names[0].removesuffix('-sentiment')}",
    )


def need_number(numbers: list[int], name: str, number: int) -> int:
    """One of a model's versions.

    Raises:
        UsageError: it is not there; the hint names those that are.
    """
    if number not in numbers:
        there = ", ".join(map(str, numbers[-10:]))
        raise UsageError(f"{name} has no version {number}.", f"The latest versions are: {there}.")
    return number


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


def fraction(text: str | None) -> float | None:
    """A tag's number from 0 to 1; None for anything else that somebody may have written there."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 <= value <= 1 else None
