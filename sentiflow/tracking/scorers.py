"""Registered versions as scorers, without MLflow where the store is local."""

import tempfile
from pathlib import Path
from urllib.parse import urlparse

from sentiflow.errors import WorldError
from sentiflow.scoring import TextScorer
from sentiflow.settings import Settings
from sentiflow.tracking.types import Version
from sentiflow.tracking.versions import files_of


def load_scorer(settings: Settings, version: Version) -> TextScorer:
    """Load what a registered version scores with; files of a server are downloaded first.

    Raises:
        WorldError: the store or the version's files cannot be read.
    """
    if urlparse(version.location).scheme in ("", "file"):
        return _load(version, files_of(version))
    return _download(version, settings)


def _download(version: Version, settings: Settings) -> TextScorer:
    import mlflow.artifacts  # seconds to import, so only where needed

    from sentiflow.tracking.client import tracking_errors

    with tempfile.TemporaryDirectory() as folder, tracking_errors(settings.tracking_uri):
        path = mlflow.artifacts.download_artifacts(f"models:/{version.name}/{version.number}", dst_path=folder)
        return _load(version, Path(path))


def _load(version: Version, folder: Path) -> TextScorer:
    try:
        return TextScorer.load(folder / "artifacts")
    except (OSError, ValueError) as err:
        raise WorldError(
            f"Cannot load {version.name} version {version.number}: {err}.",
            "Choose another with --version, or train again.",
        ) from err
