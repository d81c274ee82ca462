"""What a round of housekeeping did, could not do, and left alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from mlflow.exceptions import MlflowException
from prefect.exceptions import PrefectException

from sentiment.errors import SentiflowError


@dataclass
class Care:
    """The account of one step, or of all of them.

    Attributes:
        closed: runs that a killed process left open.
        removed: what was deleted.
        left: what looks like work but was left alone, and why.
        failures: what could not be done.
        freed: bytes.
    """

    closed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    freed: int = 0

    @contextmanager
    def attempt(self, what: str) -> Iterator[None]:
        """Note a failure of the world and go on: one thing that cannot be done keeps nothing else from it."""
        try:
            yield
        except (SentiflowError, OSError, MlflowException, httpx.HTTPError, PrefectException) as err:
            reason = err.args[0] if isinstance(err, SentiflowError) else err
            self.failures.append(f"{what}: {(str(reason).splitlines() or [type(err).__name__])[0][:300]}")

    def add(self, other: "Care") -> None:
        """Take over the account of another step."""
        self.closed += other.closed
        self.removed += other.removed
        self.left += other.left
        self.failures += other.failures
        self.freed += other.freed

    def lines(self) -> list[str]:
        """The account for people; one line when there was nothing to do."""
        titles = {"Closed": self.closed, "Removed": self.removed, "Left alone": self.left, "Failed": self.failures}
        told = [f"{title}: {line}" for title, lines in titles.items() for line in lines]
        if self.removed:
            told.append(f"Freed {in_words(self.freed)}")
        return told or ["Nothing to do: no run was left open, nothing is old enough to go."]

    def markdown(self) -> str:
        """The same as a list for Prefect's page."""
        return "\n".join(f"- {line}" for line in self.lines())


def in_words(size: int) -> str:
    """Bytes for people.

    Example:
        >>> in_words(999), in_words(12_345_678)
        ('999 bytes', '12.3 MB')
    """
    return f"{size} bytes" if size < 1_000 else f"{size / 1e6:,.1f} MB"


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files of a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files if not file.is_dir())
