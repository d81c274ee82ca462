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
from sentiflow.scoring import START, TextScorer
from sentiflow.scoring.vocabulary import FILTERED, FIRST_WORD, limit

Ids = NDArray[np.int32]
Scores = NDArray[np.float64]

# Filter characters are ASCII, so that in UTF-8 no part of another character equals one.
_TO_SPACE = bytes.maketrans(FILTERED.encode(), b" " * len(FILTERED))


class BulkScorer:
    """Scores as ``TextScorer.score`` does, many texts in less time; sent to other processes as it is.

    Word by word in Python, ids of texts take twice as long as the network itself. Shapes: n texts, w words of all
    of them, k known words.
    """

    def __init__(self, scorer: TextScorer) -> None:
        self._network = scorer.network
        # The empty word becomes a space, which no text gives as a word: what stands between two spaces is no word.
        self._words = strings([word.encode() or b" " for word in scorer.vocabulary.words])
        self._size = scorer.weights.size
        self._length = scorer.sequence_length

    def score(self, texts: Sequence[str]) -> Scores:
        """Score texts from 0 to 1 in this thread alone; shape (n,)."""
        return self._network.score(self.encode(texts), threads=1)

    def encode(self, texts: Sequence[str]) -> Ids:
        """Padded ids, shape (n, length); the same as ``pad`` makes of what ``Vocabulary.encode`` gives."""
        split = pc.split_pattern(strings([text.lower().encode().translate(_TO_SPACE) for text in texts]), " ")
        found = pc.index_in(split.flatten(), self._words)  # (w,), null for an unknown word
        ids = limit(np.asarray(np.from_dlpack(found.drop_null()), np.int32) + FIRST_WORD, self._size)  # (k,)
        known = np.from_dlpack(found.is_valid().cast(pa.int8()))  # (w,)
        ends = np.concatenate([[0], np.cumsum(known)])[np.from_dlpack(split.offsets)]  # (n + 1,), in known words
        counts = np.diff(ends)  # (n,)
        row = np.repeat(np.arange(len(texts)), counts)  # (k,)
        column = self._length - ends[1:][row] + np.arange(len(row))  # (k,)
        kept = column >= 0
        rows = np.zeros((len(texts), self._length), np.int32)
        rows[row[kept], column[kept]] = ids[kept]
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
