"""The locks: older releases of pip find in them all that they ask for."""

import re
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.world import ROOT

LOCKS = sorted(ROOT.glob("requirements*.lock"))


def pins(lock: Path) -> dict[str, Requirement]:
    """What a lock pins for this Python and machine, by name."""
    pinned = [Requirement(line) for line in re.findall(r"^(\w.*?)(?: \\)?$", lock.read_text(), re.M)]
    return {each.name: each for each in pinned if each.marker is None or each.marker.evaluate()}


def asked_with_extras(pin: Requirement) -> list[Requirement]:
    """What a locked package, with its extras, needs with an extra; nothing where that version is not installed."""
    try:
        installed = distribution(pin.name)
    except PackageNotFoundError:
        return []
    needed = map(Requirement, installed.requires or [] if installed.version in pin.specifier else [])
    extras = ["", *pin.extras]
    return [
        each
        for each in needed
        if each.extras and (each.marker is None or any(each.marker.evaluate({"extra": extra}) for extra in extras))
    ]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_what_a_locked_package_needs_with_an_extra_is_locked_with_that_extra(lock: Path) -> None:
    """Red if `httpx[http2]` were locked as `httpx`: pip 23.2 asks the index for it, without a hash."""
    pinned = pins(lock)
    missing = {
        f"{name} needs {each}"
        for name, pin in pinned.items()
        for each in asked_with_extras(pin)
        if not each.extras <= pinned[canonicalize_name(each.name)].extras
    }
    assert missing == set()


def test_the_installed_packages_are_those_of_the_lock_and_ask_for_extras() -> None:
    """Else the test above would compare nothing."""
    assert {each.name for each in asked_with_extras(pins(ROOT / "requirements.lock")["prefect"])} >= {"httpx"}
