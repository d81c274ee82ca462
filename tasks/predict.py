"""Scores of texts by a registered version."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlparse

from sentiment.errors import WorldError
from sentiment.scoring import TextScorer, is_positive
from sentiment.settings import Settings
from tasks.versions import Version, files_of, find_version

Prediction = tuple[str, float]  # label, score


def predict(
    settings: Settings, texts: Sequence[str], name: str | None, number: int | None
) -> tuple[Version, list[Prediction]]:
    """Label and score texts by the version asked for, else the champion, else the newest.

    Raises:
        UsageError: there is no such version.
        WorldError: the store or the version's files cannot be read.
    """
    version = find_version(settings, name, number)
    if urlparse(version.location).scheme in ("", "file"):
        scorer = _load(version, files_of(version))
    else:
        scorer = _download(version, settings)
    scores = scorer.score(texts)
    labels = ["positive" if positive else "negative" for positive in is_positive(scores)]
    return version, list(zip(labels, scores.tolist(), strict=True))


def _download(version: Version, settings: Settings) -> TextScorer:
    import mlflow.artifacts  # seconds to import, so only where needed

    from tasks.tracking import tracking_errors

    with tempfile.TemporaryDirectory() as folder, tracking_errors(settings.tracking_uri):
        path = mlflow.artifacts.download_artifacts(f"models:/{version.name}/{version.number}", dst_path=folder)
        return _load(version, Path(path))


def _load(version: Version, folder: Path) -> TextScorer:
    try:
        return TextScorer.load(folder / "artifacts")
    except (OSError, ValueError, KeyError) as err:
        raise WorldError(
            f"Cannot load {version.name} version {version.number}: {err}.",
            "Choose another with --version, or train again.",
        ) from err
