"""An even sample of a scored input: as likely a row from its end as from its beginning, the same each time."""

from typing import cast

import numpy as np
from numpy.typing import NDArray

from sentiment.batch.source import Chunk

MOST = 5_000  # texts a run: the monitor's figures are steady with far fewer


class Sample:
    """The rows whose numbers hash lowest, of all that were added; the texts of others are not kept.

    A row's number alone decides, so that memory is bounded, the sample is even without knowing how long the input
    is, and it does not depend on how the work was shared out.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._hashes = np.empty(0, np.uint64)
        self._kept: list[tuple[int, str, float]] = []

    def add(self, chunk: Chunk, scores: NDArray[np.float64]) -> None:
        """Consider the rows of a chunk."""
        if not chunk.rows:
            return
        hashes = _hash(np.asarray(chunk.rows, np.uint64))
        below = self._hashes.max() if len(self._hashes) >= self._most else np.uint64(2**64 - 1)
        chosen = np.flatnonzero(hashes <= below)
        self._hashes = np.concatenate([self._hashes, hashes[chosen]])
        self._kept += [(chunk.rows[i], chunk.texts[i], float(scores[i])) for i in chosen.tolist()]
        if len(self._kept) > self._most:
            lowest = np.argpartition(self._hashes, self._most - 1)[: self._most]
            self._hashes = self._hashes[lowest]
            self._kept = [self._kept[i] for i in lowest.tolist()]

    def rows(self, characters: int) -> list[tuple[int, str, float]]:
        """Row number, text and score of the sample, in the order of the input.

        Args:
            characters: that all texts together may have; beyond, the sample is smaller, and as even.
        """
        order = np.argsort(self._hashes)
        ends = np.cumsum([len(self._kept[i][1]) for i in order.tolist()], dtype=np.int64)
        fitting = cast("list[int]", order[ends <= characters].tolist())
        return sorted(self._kept[i] for i in fitting)


def _hash(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Well mixed bits of whole numbers, the last step of SplitMix64: equal ones only for equal numbers."""
    mixed = (numbers + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
