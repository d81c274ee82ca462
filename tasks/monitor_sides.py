"""Both sides of a look for drift: the texts of late, and the reviews that a version learned from."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from sentiment import drift_figures
from sentiment.data import prepare, reviews
from sentiment.drift import Floats
from sentiment.drift_figures import Unusual
from sentiment.errors import WorldError
from sentiment.names import BUILT_IN
from sentiment.scoring import TextScorer
from sentiment.settings import Settings
from tasks.tracking import connect, tracking_errors
from tasks.versions import Version

BATCH = 2_048  # texts in memory at a time
_UNUSUAL, _CHARACTERS = 6, 600  # texts shown in the report, and of each


def measure(
    file: Path, scorer: TextScorer, reference: dict[str, Floats]
) -> tuple[dict[str, Floats], list[Unusual]]:
    """Figures of all texts, and the most unusual ones, a batch at a time."""
    parts: list[dict[str, Floats]] = []
    unusual: list[Unusual] = []
    with pq.ParquetFile(file) as table:
        for batch in table.iter_batches(BATCH):
            texts = batch["text"].to_pylist()
            parts.append(drift_figures.of_texts(texts, scorer))
            unusual += drift_figures.most_unusual(texts, parts[-1], reference, _UNUSUAL, _CHARACTERS)
            unusual = sorted(unusual, key=lambda text: -text.surprise)[:_UNUSUAL]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, unusual


def reviews_of(version: Version, settings: Settings) -> tuple[str, Path]:
    """Digest and table of the reviews that a version learned from; built-in ones that are gone are made again.

    Raises:
        WorldError: they are not on this machine.
    """
    client = connect(settings)
    with tracking_errors(settings.tracking_uri):
        tags = client.get_model_version(version.name, str(version.number)).tags
    dataset, digest = tags.get("dataset", ""), tags.get("dataset.digest", "")
    table = settings.data_dir / "datasets" / dataset / f"{digest}.parquet"
    if not reviews.is_whole(table) and dataset in BUILT_IN:
        prepare.prepare(prepare.fetch(dataset, settings), settings)
    if not reviews.is_whole(table):
        raise WorldError(
            f"The reviews that {version.name} version {version.number} learned from are not at {table}.",
            "Train again on this machine, or bring the file here.",
        )
    return digest, table
