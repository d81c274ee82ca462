"""A drift check against the store: the version in use and the reviews that it was trained and tested on."""

from pathlib import Path

import numpy as np

from sentiflow.data import prepare, reviews
from sentiflow.errors import ExternalError
from sentiflow.monitoring import drift
from sentiflow.monitoring.check import DriftCheck, RecentTexts, measure
from sentiflow.monitoring.drift import UNKNOWN, DriftLimits, Floats
from sentiflow.monitoring.report import DriftResult
from sentiflow.names import BUILT_IN
from sentiflow.settings import Settings
from sentiflow.tracking.store import open_store
from sentiflow.tracking.types import Version
from sentiflow.tracking.versions import find_version, load_scorer

_REFERENCE, _RECENT = "reference.npz", "recent.npz"


def compare_with_reviews(check: DriftCheck, texts: RecentTexts) -> DriftResult:
    """Measure texts and reviews in the same way, with the version in use, and compare them.

    Written: the features of both sides in the work folder.

    Raises:
        ExternalError: the store fails, or the reviews are not on this machine.
    """
    settings = check.settings
    version = find_version(settings, check.model, None)
    scorer = load_scorer(settings, version)
    digest, table = training_reviews(version, settings)
    reference = drift.features_of_reviews(reviews.read(table), scorer)
    recent, unusual = measure(texts.file, scorer, reference)
    np.savez(check.work / _REFERENCE, **reference)  # type: ignore[arg-type]
    np.savez(check.work / _RECENT, **recent)  # type: ignore[arg-type]
    limits = DriftLimits(settings.monitor_psi, settings.monitor_alpha)
    features = drift.compare(reference, recent, limits)
    facts = _facts(version, digest, texts) | {
        "unknown words": f"{recent[UNKNOWN].mean():.2%} of a text on average are in no training review, against "
        f"{reference[UNKNOWN].mean():.2%} of a training review in no other one",
    }
    return DriftResult(check.model, version.number, digest, features, limits, facts, unusual)


def read_features(check: DriftCheck) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """The features that ``compare_with_reviews`` wrote: reference and recent."""
    return _read(check.work / _REFERENCE), _read(check.work / _RECENT)


def training_reviews(version: Version, settings: Settings) -> tuple[str, Path]:
    """Digest and table of the reviews that a version was trained on; missing ones of a built-in dataset are made.

    Raises:
        ExternalError: they are not on this machine.
    """
    found = open_store(settings).version(version.name, version.number)
    tags = {} if found is None else found.tags
    dataset, digest = tags.get("dataset", ""), tags.get("dataset.digest", "")
    table = reviews.table_path(settings.data_dir, dataset, digest)
    if not reviews.is_whole(table) and dataset in BUILT_IN:
        prepare.prepare(prepare.fetch(dataset, settings), settings)
    if not reviews.is_whole(table):
        raise ExternalError(
            f"The reviews that {version.name} version {version.number} was trained on are not at {table}.",
            "Train again on this machine, or copy the file there.",
        )
    return digest, table


def _facts(version: Version, digest: str, texts: RecentTexts) -> dict[str, str]:
    sources = " and ".join(f"{count:,} {source}" for source, count in sorted(texts.sources.items()))
    return {
        "model": f"{version.name} version {version.number} ({version.why})",
        "dataset digest": digest,
        "texts": f"{texts.distinct:,} different ones, {texts.repeated:,} repeated; {sources}",
        "from": texts.first,
        "until": texts.last,
    }


def _read(file: Path) -> dict[str, Floats]:
    with np.load(file, allow_pickle=False) as arrays:
        return dict(arrays)
