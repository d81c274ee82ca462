"""The folder that relative paths are taken from: where a command was started, else the current one.

A command leaves that folder before it imports anything: Prefect, numba, MLflow, matplotlib and Python take code
and configuration from the current folder, whose files may be another user's.
"""

import os
import re
from pathlib import Path

VARIABLE = "_SENTIFLOW_FOLDER"  # has that folder, for children, too; not set where the current one is meant

ROOT = "/"  # working directory of commands and children: only the administrator can put files there

# Ends of the names of other programs' variables whose value is a path.
_PATHS = ("_HOME", "_DIR", "_PATH", "_FILE", "_BUNDLE", "_CREDENTIALS")


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
        elif name.endswith(_PATHS) and value and not value.startswith(("/", "~")) and ":" not in value:
            os.environ[name] = str(here() / value)
    os.chdir(ROOT)


def here() -> Path:
    """The folder that relative paths are taken from."""
    return Path(os.environ.get(VARIABLE) or Path.cwd())


def expanded(path: str | Path) -> Path:
    """A path with a home folder in place of ``~``, as it is if there is no such user; in a command absolute."""
    return Path(os.environ.get(VARIABLE, ""), os.path.expanduser(path))  # noqa: PTH111 - pathlib's fails then


def shortened(message: str) -> str:
    """A message in which paths below this folder are relative, as they were typed."""
    return re.sub(rf"(?<![\w/.-]){re.escape(str(here()))}/", "", message)
