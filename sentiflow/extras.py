"""What only some commands need: the extras of the package."""

from importlib.metadata import PackageNotFoundError, requires, version
from typing import TYPE_CHECKING

from sentiflow.errors import UsageError

if TYPE_CHECKING:
    from packaging.requirements import Requirement


def lacking(extra: str) -> str:
    """What an extra needs and is not installed, or in a version that does not fit; else nothing."""
    from packaging.requirements import Requirement

    needed = map(Requirement, requires("sentiflow") or [])
    brought = (
        each
        for each in needed
        if each.marker and each.marker.evaluate({"extra": extra}) and not each.marker.evaluate({"extra": ""})
    )
    return next((f"{each.name}{each.specifier}" for each in brought if not _fits(each)), "")


def _fits(needed: "Requirement") -> bool:
    try:
        return needed.specifier.contains(version(needed.name), prereleases=True)
    except PackageNotFoundError:
        return False


def install(extra: str) -> str:
    """The command that adds an extra."""
    return f"pip install 'sentiflow[{extra}]'"


def need(extra: str, what: str) -> None:
    """Refuse what cannot be done without an extra."""
    if missing := lacking(extra):
        raise UsageError(f"{what} needs {missing}: {install(extra)}")
