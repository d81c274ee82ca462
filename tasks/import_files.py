"""Where a local store's files go in a server's folder of artifacts."""

import os
import re
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlparse

from sentiment.errors import UsageError, WorldError

_SERVED = "mlflow-artifacts:/"  # whatever the server that is asked keeps


@dataclass
class Moves:
    """Folders of a local store, each with its name on the server.

    Attributes:
        file: the store; its folders may have been moved together with it.
        names: by location, as the store writes it.
    """

    file: Path
    names: dict[str, str] = field(default_factory=dict)

    def add(self, location: str, name: str) -> str:
        """Plan to move a location; gives its address on the server.

        Raises:
            UsageError: its files are on no disk: a server or a cloud keeps them, and the server that imports would
                give them to all its accounts, by its own rights.
        """
        if urlparse(location).scheme not in ("", "file"):
            raise UsageError(
                f"The store has an experiment whose files are not on this disk, but at {location}.",
                "Delete the experiment from the local store for good (mlflow gc), or move its server as a whole.",
            )
        _need_plain(location)
        return _SERVED + self.names.setdefault(location.rstrip("/"), name)

    def address(self, address: str) -> str:
        """The new address of a file or folder of one of the locations.

        Raises:
            UsageError: it lies in none of them. A server would give its own files, or other people's, to whoever
                asks for that run or version.
        """
        _need_plain(address)
        for location, name in sorted(self.names.items(), key=lambda item: -len(item[0])):
            if address == location or address.startswith(f"{location}/"):
                return f"{_SERVED}{name}{address.removeprefix(location)}"
        raise UsageError(
            f"The store names files at {address}, which is in no folder of its experiments.",
            "Delete that run or version from the local store for good (mlflow gc), then import again.",
        )

    @property
    def absent(self) -> list[str]:
        """The locations whose files are not beside the store."""
        return [location for location in self.names if self.folder(location) is None]

    def folder(self, location: str) -> Path | None:
        """Where a location's files are: in their place or moved with the store, but always below its folder.

        A store says freely where its files are, and what is imported can be read by every account of the server.
        """
        written, home = Path(unquote(urlparse(location).path)), self.file.parent.resolve()
        for place in (written, home / written.name):
            if place.is_dir() and home in place.resolve().parents:
                return place.resolve()
        return None


def _need_plain(address: str) -> None:
    """Refuse an address that leads out of the folder that it begins with."""
    if ".." in re.split(r"[^\w.]", unquote(address)):
        raise UsageError(
            f"The store names files at {address}, which leads out of its folder.", "Nothing was imported."
        )


def copy_all(moves: Moves, artifacts: Path) -> tuple[int, int]:
    """Copy all that is planned; gives the number of files and their bytes.

    Raises:
        UsageError: among the files is a link, or something else that is neither file nor folder.
        WorldError: a folder of that name is there already.
        OSError: a file cannot be read or written.
    """
    files = size = 0
    for location, name in moves.names.items():
        folder, goal = moves.folder(location), artifacts / name
        if folder is None:
            continue
        if goal.exists():
            raise WorldError(
                f"{goal} is there already.", "Is it left of an import that failed? Look, and remove it."
            )
        found = [entry.stat(follow_symlinks=False) for entry in _entries(folder)]  # all, before one is copied
        partial = goal.with_name(f".{name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(folder, partial, symlinks=True)
        partial.rename(goal)
        sizes = [each.st_size for each in found if stat.S_ISREG(each.st_mode)]
        files, size = files + len(sizes), size + sum(sizes)
    return files, size


def _entries(folder: Path) -> Iterator["os.DirEntry[str]"]:
    """All files and folders below a folder.

    Raises:
        UsageError: one is neither: a link could lead to any file that whoever imports can read.
    """
    with os.scandir(folder) as found:
        for entry in found:
            is_folder = entry.is_dir(follow_symlinks=False)
            if not is_folder and not entry.is_file(follow_symlinks=False):
                what = "a link" if entry.is_symlink() else "neither a file nor a folder"
                raise UsageError(
                    f"{entry.path} is {what}: only files and folders are imported.",
                    "Put the file itself in its place, or remove it.",
                )
            yield entry
            if is_folder:
                yield from _entries(Path(entry.path))
