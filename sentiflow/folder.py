"""The folder that relative paths are taken from: where a command was started, else the current one.

A command leaves that folder before it imports anything: Prefect, numba, MLflow, matplotlib and Python take code
and configuration from the current folder, whose files may be another user's.
"""

import os
import re
from pathlib import Path

VARIABLE = "_SENTIFLOW_FOLDER"  # has that folder, for children, too; not set where the current one is meant

ROOT = "/"  # working directory of commands and children: only the administrator can put files there

# Variables of other programs whose value is a path. Those that hold several, with colons, are left.
_PLACES = re.compile(r"(HOME|DIR|PATH|(?<!PRO)FILE|FOLDER|BUNDLE|_CERT|__KEY|_APPLICATION_CREDENTIALS)$")
_typed: dict[str, str] = {}  # what the user typed for a path


def leave() -> None:
    """Change to the root folder, for children, too; none of them imports from its current folder."""
    try:
        folder = str(Path.cwd())
    except OSError:  # it was removed
        folder = os.environ.get("PWD", ROOT)
    if folder != ROOT or VARIABLE not in os.environ:  # else this is a child of a command
        os.environ[VARIABLE] = folder
    os.environ["PYTHONSAFEPATH"] = "1"
    for name, value in os.environ.items():  # what other programs read means what it meant
        if name == "PYTHONPATH":
            os.environ[name] = os.pathsep.join(str(here() / each) for each in value.split(os.pathsep) if each)
        elif _PLACES.search(name) and value and not value.startswith(("/", "~")) and ":" not in value:
            os.environ[name] = str(here() / value)
    os.chdir(ROOT)


def here() -> Path:
    """The folder that relative paths are taken from."""
    return Path(os.environ.get(VARIABLE) or Path.cwd())


def expanded(path: str | Path) -> Path:
    """A path with a home folder in place of ``~``, as it is if there is no such user; in a command absolute."""
    return Path(os.environ.get(VARIABLE, ""), os.path.expanduser(path))  # noqa: PTH111 - pathlib's fails then


def typed(text: str) -> Path:
    """A path of the command line; ``as_typed`` shows it as it was typed."""
    path = expanded(text)
    _typed[str(path)] = text
    return path


def as_typed(message: str) -> str:
    """A message with the paths of the command line as they were typed."""
    for path in sorted(_typed, key=len, reverse=True):
        message = re.sub(rf"(?<![\w/.-]){re.escape(path)}", _typed[path].replace("\\", r"\\"), message)
    return message
