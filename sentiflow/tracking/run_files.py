"""Files of a run: in place where they lie on this machine, else fetched from its store."""

from pathlib import Path
from urllib.parse import unquote, urlparse

from sentiflow.runs.record import RunRecord
from sentiflow.settings import Settings


def file_of(record: RunRecord, name: str, folder: Path, settings: Settings) -> Path | None:
    """Path of one of a run's files, or None when the run has no such file.

    Args:
        record: of the run.
        name: of the file, below the run's artifacts.
        folder: where a copy is put if the file lies elsewhere.
        settings: of the store.

    Raises:
        WorldError: the store does not answer.
    """
    parts = urlparse(record.artifact_uri)
    if parts.scheme in ("", "file"):
        path = Path(unquote(parts.path)) / name
        if path.is_file():
            return path
        if settings.sqlite_file is not None:
            return None
    return _fetched(record, name, folder, settings)


def _fetched(record: RunRecord, name: str, folder: Path, settings: Settings) -> Path | None:
    from sentiflow.tracking.client import connect, tracking_errors  # seconds to import, so only where needed

    client = connect(settings)
    parent = str(Path(name).parent)
    with tracking_errors(settings.tracking_uri):
        there = client.list_artifacts(record.run_id, None if parent == "." else parent)
        if name not in {entry.path for entry in there}:
            return None
        place = folder / record.run_id
        place.mkdir(parents=True, exist_ok=True)
        return Path(client.download_artifacts(record.run_id, name, str(place)))
