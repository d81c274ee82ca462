"""Scoring by a Dask cluster's workers: the chunks of one table on several machines."""

from collections.abc import Sequence
from typing import Any

from sentiflow.batch.pipeline import Scores
from sentiflow.batch.words import BulkScorer
from sentiflow.cluster import dask_client, threads_of
from sentiflow.errors import WorldError
from sentiflow.scoring import TextScorer
from sentiflow.settings import Settings


class DaskWorkers:
    """The cluster, from entering the context until leaving it; takes the place of ``sentiflow.batch.Workers``.

    Each worker gets the scorer once, and chunks of texts as they come; what it computes is the same code in one
    thread, so that the scores are the same.

    Attributes:
        number: how many chunks are scored at a time, known in the context.
    """

    number = 1

    def __init__(self, settings: Settings, scorer: TextScorer, wanted: int | None) -> None:
        self._settings, self._scorer, self._wanted = settings, scorer, wanted

    def __enter__(self) -> "DaskWorkers":
        """Connect, and send the scorer to every worker.

        Raises:
            UsageError, WorldError: see ``dask_client``.
        """
        self._client = dask_client(self._settings)
        there = threads_of(self._client)
        self.number = min(self._wanted or there, there)
        self._sent = self._client.scatter(BulkScorer(self._scorer), broadcast=True, hash=False)
        return self

    def __exit__(self, *_error: object) -> None:
        self._client.close()

    def score(self, texts: Sequence[str]) -> "_Waiting":
        """Scores of some texts, once a worker has got to them."""
        return _Waiting(self._client.submit(_score, self._sent, texts, pure=False))


class _Waiting:
    """Scores that a worker is to give."""

    def __init__(self, future: Any) -> None:
        self._future = future

    def result(self) -> Scores:
        """Wait for them.

        Raises:
            WorldError: the cluster lost them.
        """
        from distributed import CancelledError, KilledWorker

        try:
            scores: Scores = self._future.result()
        except (KilledWorker, CancelledError, OSError) as err:
            raise WorldError(
                f"The Dask cluster lost a part: {str(err).splitlines()[0] if str(err) else type(err).__name__}",
                "What is finished is kept: run the same command again once its workers are well.",
            ) from err
        return scores


def _score(scorer: BulkScorer, texts: Sequence[str]) -> Scores:
    return scorer.score(texts)
