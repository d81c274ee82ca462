"""Figures of a dataset, without a run."""

from sentiment.data import prepare, reviews
from sentiment.data.describe import QUANTILES, DatasetFacts, describe
from sentiment.data.prepare import Prepared
from sentiment.recipes import TrainConfig
from sentiment.settings import Settings
from tasks.console import progress_bar

__all__ = ["QUANTILES", "DatasetFacts", "inspect_dataset"]


def inspect_dataset(dataset: str, config: TrainConfig, settings: Settings) -> tuple[Prepared, DatasetFacts]:
    """Fetch and prepare a dataset if it is not here yet, and describe it as a recipe would see it.

    Raises:
        UsageError, WorldError: as ``prepare.fetch`` and ``prepare.prepare``.
    """
    prepared = prepare.prepare(prepare.fetch(dataset, settings, progress_bar), settings)
    content, words = reviews.read(prepared.table), reviews.read_vocabulary(prepared.table)
    return prepared, describe(content, words, config)
