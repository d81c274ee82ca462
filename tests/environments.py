"""Python environments with some of the packages of the one that runs the tests, linked: no network is needed."""

import re
import venv
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

from tests.world import ROOT


def linked_environment(folder: Path, packages: set[str]) -> Path:
    """Make an environment of these packages, and of the commands that they bring; gives its Python."""
    venv.create(folder, symlinks=True)
    python, (site,) = folder / "bin" / "python", folder.glob("lib/python*/site-packages")
    for name in packages:
        try:
            found = distribution(name)
        except PackageNotFoundError:  # of another platform or version of Python
            continue
        for part in {file.parts[0] for file in found.files or () if file.parts[0] not in ("..", "__pycache__")}:
            if not (site / part).exists():
                (site / part).symlink_to(str(found.locate_file(part)))
        for entry in found.entry_points.select(group="console_scripts"):
            script = folder / "bin" / entry.name
            script.write_text(f"#!{python}\nfrom {entry.module} import {entry.attr}\n{entry.attr}()\n")
            script.chmod(0o755)
    return python


def locked_packages() -> set[str]:
    """The project and what `make setup` installs for it."""
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    return {"sentiflow", *re.findall(r"^([\w.-]+)(?:\[.*?\])?==", lock, re.MULTILINE)}


def with_requirements(*names: str) -> set[str]:
    """These packages and all that they need."""
    found: set[str] = set()
    todo = [Requirement(name) for name in names]
    while todo:
        wanted = todo.pop()
        if wanted.name not in found:
            found.add(wanted.name)
            todo += _needed(wanted)
    return found


def _needed(wanted: Requirement) -> Iterator[Requirement]:
    for each in map(Requirement, distribution(wanted.name).requires or ()):
        if each.marker is None or any(each.marker.evaluate({"extra": extra}) for extra in ("", *wanted.extras)):
            yield each
