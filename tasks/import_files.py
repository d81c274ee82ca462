"""Where a local store's files go in a server's folder of artifacts."""

import shutil
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
        """Plan to move a location; gives its address on the server. What lies in a cloud's storage stays there.

        Raises:
            UsageError: a server keeps it; where, only that server knows.
        """
        if location.startswith(_SERVED):
            raise UsageError(
                f"The store has an experiment whose files a server keeps, at {location}.",
                "Move that server's database and files instead, or delete the experiment for good: mlflow gc.",
            )
        if urlparse(location).scheme not in ("", "file"):
            return location
        return _SERVED + self.names.setdefault(location.rstrip("/"), name)

    def address(self, address: str) -> str:
        """The new address of a file or folder; unchanged when it lies in none of the locations."""
        for location, name in sorted(self.names.items(), key=lambda item: -len(item[0])):
            if address == location or address.startswith(f"{location}/"):
                return f"{_SERVED}{name}{address.removeprefix(location)}"
        return address

    @property
    def absent(self) -> list[str]:
        """The locations whose files are nowhere."""
        return [location for location in self.names if self.folder(location) is None]

    def folder(self, location: str) -> Path | None:
        """Where a location's files are now: in their place, or beside the store; None when there are none."""
        written = Path(unquote(urlparse(location).path))
        places = (written, self.file.parent / written.name)
        return next((place for place in places if place.is_dir()), None)


def copy_all(moves: Moves, artifacts: Path) -> tuple[int, int]:
    """Copy all that is planned; gives the number of files and their bytes.

    Raises:
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
        partial = goal.with_name(f".{name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(folder, partial)
        partial.rename(goal)
        copied = [path.stat().st_size for path in goal.rglob("*") if path.is_file()]
        files, size = files + len(copied), size + sum(copied)
    return files, size
