"""``sentiflow import``."""

from pathlib import Path
from urllib.parse import unquote, urlparse

from sentiflow.console import Console
from sentiflow.errors import UsageError
from sentiflow.tracking.transfer import import_store

_TOLD = {"experiments": "experiments", "runs": "runs", "logged_models": "models", "model_versions": "versions"}


def run(store: Path, database: str, artifacts: str) -> None:
    """Move a local store into a server, and say what was moved."""
    parts = urlparse(artifacts)
    if parts.scheme not in ("", "file"):
        raise UsageError(
            f"Artifacts can be moved into a folder only, not to {artifacts}.", "Copy them there by its own tools."
        )
    moved = import_store(store.absolute(), database, Path(unquote(parts.path)))
    console = Console()
    counts = ", ".join(f"{moved.rows[table]} {name}" for table, name in _TOLD.items())
    console.print(f"Imported {counts}; {moved.files:,} files, {moved.megabytes:,.1f} MB.", soft_wrap=True)
    for table, rows in moved.left.items():
        console.print(f"Not imported: {rows} rows of {table}.", soft_wrap=True)
