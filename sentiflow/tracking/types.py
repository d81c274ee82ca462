"""What both readers of a tracking store and the client have in common: records, protocol, names."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from sentiflow.errors import UsageError

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


def fraction(text: str | None) -> float | None:
    """A tag's number from 0 to 1; None for anything else that somebody may have written there."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 <= value <= 1 else None
