"""A text as the network reads it: word by word, with the score after each."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .forward import Network
from .sequences import pad
from .vocabulary import OUT_OF_VOCABULARY, START, Vocabulary, tokenize

READ, RARE, UNKNOWN, CUT = "read", "rare", "unknown", "cut"


@dataclass(frozen=True)
class Word:
    """One word of a text.

    Attributes:
        text: as the tokeniser made it.
        fate: ``read``; ``rare`` (read as the one id that all rare words share); ``unknown`` (left out, as no
            review of the dataset held it); ``cut`` (left out, as it stands before the last words that are read).
        score: after the word, 0 to 1.
        change: what it added to the score; 0 when it was left out.
    """

    text: str
    fate: str
    score: float
    change: float


@dataclass(frozen=True)
class Reading:
    """How a score came about.

    Attributes:
        start: score before the first word: padding and start marker have been read.
        score: after the last word; the text's score.
        words: in the order of the text; ``start`` and their changes add up to ``score``.
    """

    start: float
    score: float
    words: tuple[Word, ...]

    @property
    def strongest(self) -> float:
        """The largest change that any word made, without its sign."""
        return max((abs(word.change) for word in self.words), default=0.0)


def read(network: Network, vocabulary: Vocabulary, length: int, text: str) -> Reading:
    """Read a text as ``Network.score`` does, and keep the score after each word.

    Args:
        network: what reads.
        vocabulary: every word that has a rank.
        length: ids read, the last ones.
        text: raw.
    """
    words = tokenize(text)
    ids = [vocabulary.id_of(word) for word in words]  # None where there is none
    known = [START, *(i for i in ids if i is not None)]
    row = pad([known], length, len(network.weights.embedding))[0]
    steps = network.score_steps(row)  # (length + 1,)
    unread = max(len(known) - length, 0)  # ids cut in front, the start marker first
    first = length - len(known) + unread  # the step at which the first kept id is read
    if unread == 0:
        first += 1  # the marker itself
    return Reading(float(steps[first]), float(steps[-1]), _words(words, ids, row, steps, first, unread))


def _words(
    words: Sequence[str],
    ids: Sequence[int | None],
    row: NDArray[np.int32],
    steps: NDArray[np.float64],
    step: int,
    unread: int,
) -> tuple[Word, ...]:
    """Each word with its fate; ``step`` is that of the first id kept, ``unread`` counts the marker, too."""
    left = max(unread - 1, 0)
    told = []
    for word, i in zip(words, ids, strict=True):
        before = float(steps[step])
        if i is None:
            told.append(Word(word, UNKNOWN, before, 0.0))
        elif left:
            left -= 1
            told.append(Word(word, CUT, before, 0.0))
        else:
            fate = RARE if row[step] == OUT_OF_VOCABULARY else READ
            step += 1
            told.append(Word(word, fate, float(steps[step]), float(steps[step]) - before))
    return tuple(told)
