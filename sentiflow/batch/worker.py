"""A process that scores what it is sent: first a scorer, then lists of texts, each answered by their scores.

    python -P -m sentiflow.batch.worker DESCRIPTOR

It imports numpy, pyarrow and the scoring package only, and ends with the process that started it.
"""

import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sentiflow.data.rows import strings
from sentiflow.scoring import START, OwnNetwork, TextScorer
from sentiflow.scoring.vocabulary import FIRST_WORD, limit, spaced

Ids = NDArray[np.int32]
Scores = NDArray[np.float64]


class BulkScorer:
    """Scores as ``TextScorer.score`` does, many texts in less time; sent to other processes as it is.

    Word by word in Python, ids of texts take twice as long as the network itself. Shapes: n texts, w words of all
    of them, k known words.
    """

    def __init__(self, scorer: TextScorer) -> None:
        self._network, self._ngrams = scorer.network, scorer.ngrams
        # The empty word becomes a space, which no text gives as a word: what stands between two spaces is no word.
        self._words = strings([word.encode() or b" " for word in scorer.vocabulary.words])
        self._apart, self._size = scorer.vocabulary.apart, scorer.weights.size
        self._length = scorer.sequence_length

    def score(self, texts: Sequence[str]) -> Scores:
        """Score texts from 0 to 1 in this thread alone; shape (n,)."""
        known, ends = self._known(texts)
        padded = self._padded(known, ends)
        if self._ngrams is None or isinstance(self._network, OwnNetwork):
            return self._network.score(padded, threads=1)
        whole = np.split(known, ends[1:-1]) if len(texts) else []
        return self._ngrams.scores(self._network.log_odds(padded, threads=1), whole)

    def encode(self, texts: Sequence[str]) -> Ids:
        """Padded ids, shape (n, length); the same as ``pad`` makes of what ``Vocabulary.encode`` gives."""
        return self._padded(*self._known(texts))

    def _known(self, texts: Sequence[str]) -> tuple[Ids, NDArray[np.int64]]:
        """Ids of all known words, (k,), and where those of each text begin and end, (n + 1,)."""
        split = pc.split_pattern(strings([spaced(text, apart=self._apart).encode() for text in texts]), " ")
        found = pc.index_in(split.flatten(), self._words)  # (w,), null for an unknown word
        ids = np.asarray(np.from_dlpack(found.drop_null()), np.int32) + FIRST_WORD  # (k,)
        known = np.from_dlpack(found.is_valid().cast(pa.int8()))  # (w,)
        return ids, np.concatenate([[0], np.cumsum(known)])[np.from_dlpack(split.offsets)]

    def _padded(self, ids: Ids, ends: NDArray[np.int64]) -> Ids:
        counts = np.diff(ends)  # (n,)
        row = np.repeat(np.arange(len(counts)), counts)  # (k,)
        column = self._length - ends[1:][row] + np.arange(len(row))  # (k,)
        kept = column >= 0
        rows = np.zeros((len(counts), self._length), np.int32)
        rows[row[kept], column[kept]] = limit(ids, self._size)[kept]
        short = np.flatnonzero(counts < self._length)
        rows[short, self._length - 1 - counts[short]] = START
        return rows


def serve(connection: "Connection[Any, Any]") -> None:
    """Answer until the other side is gone."""
    try:
        scorer = connection.recv()
        while True:
            connection.send(scorer.score(connection.recv()))
    except (EOFError, OSError):  # gone, perhaps in the middle of a message
        return


if __name__ == "__main__":
    with Connection(int(sys.argv[1])) as _connection:
        serve(_connection)
