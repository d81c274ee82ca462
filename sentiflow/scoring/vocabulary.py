"""Words and ids, by the rules that the IMDB dataset was made with, and reviews of many lengths as one matrix."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

PAD = 0
START = 1
OUT_OF_VOCABULARY = 2
FIRST_WORD = 4  # rank 1; id 3 is never used, as in `keras.datasets.imdb`
OFFSET = FIRST_WORD - 1

FILTERED = '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n\r'  # Keras's, and the carriage return of Windows's lines
_TO_SPACE = str.maketrans(FILTERED, " " * len(FILTERED))


def tokenize(text: str) -> list[str]:
    """Split a text into words: lower case, the filtered characters to spaces, split on the space alone.

    Other white space stays inside words, because the dataset's own words hold some.

    Example:
        >>> tokenize("Well-made; I don't regret it!")
        ['well', 'made', 'i', "don't", 'regret', 'it']
    """
    return [word for word in text.lower().translate(_TO_SPACE).split(" ") if word]


class Vocabulary:
    """Words by frequency rank; the id of the word with rank r (1 is the most frequent) is r + 3."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = tuple(words)
        self._ids = {word: rank + FIRST_WORD for rank, word in enumerate(self.words)}
        if len(self._ids) != len(self.words):
            raise ValueError("a vocabulary must not hold a word twice")

    def __len__(self) -> int:
        return len(self.words)

    def encode(self, text: str) -> list[int]:
        """Turn a text into ids: the start marker, then a word each; words without a rank are dropped."""
        ids = self._ids
        return [START, *(ids[word] for word in tokenize(text) if word in ids)]

    def knows(self, text: str) -> bool:
        """Whether any word of a text has an id; if none has, its score is that of an empty text."""
        return not self._ids.keys().isdisjoint(tokenize(text))

    def id_of(self, word: str) -> int | None:
        """The id of one word as ``tokenize`` made it, or None when it has no rank."""
        return self._ids.get(word)

    def decode(self, ids: Iterable[int], unknown: str = "?") -> str:
        """Turn ids into words; padding vanishes, the start marker and unknown ids become ``unknown``.

        With ``unknown=""`` these vanish too, and ``encode`` gives the ids of known words back.
        """
        words = (self._word(int(i), unknown) for i in ids if i != PAD)
        return " ".join(word for word in words if word)

    def _word(self, i: int, unknown: str) -> str:
        rank = i - FIRST_WORD
        return self.words[rank] if 0 <= rank < len(self.words) else unknown


def limit(ids: NDArray[np.int32], vocabulary_size: int) -> NDArray[np.int32]:
    """Replace ids of rare words: a vocabulary of 10,000 keeps the ids below 10,000, ranks 1 to 9,996."""
    return np.where(ids < vocabulary_size, ids, np.int32(OUT_OF_VOCABULARY))


def pad(
    reviews: Sequence[Sequence[int] | NDArray[np.int32]], length: int, vocabulary_size: int
) -> NDArray[np.int32]:
    """Stack reviews in rows of ``length`` ids: padded in front with 0, cut in front (the end is kept).

    Ids from ``vocabulary_size`` on become 2, out of vocabulary; shape (reviews, length).

    Example:
        >>> pad([[1, 5], [1, 4, 5, 6]], 3, 6).tolist()
        [[0, 1, 5], [4, 5, 2]]
    """
    rows = np.full((len(reviews), length), PAD, dtype=np.int32)
    kept = [np.asarray(review[-length:], dtype=np.int32) for review in reviews]
    if kept:
        pads = length - np.array([len(ids) for ids in kept])
        rows[np.arange(length) >= pads[:, np.newaxis]] = limit(np.concatenate(kept), vocabulary_size)
    return rows


def first_words(ids: NDArray[np.int32]) -> NDArray[np.int64]:
    """The step at which the padding in front of each row ends; the row's length where nothing else follows.

    Example:
        >>> first_words(np.array([[0, 0, 1], [1, 0, 5], [0, 0, 0]])).tolist()
        [2, 0, 3]
    """
    words = ids != PAD
    first: NDArray[np.int64] = np.where(words.any(axis=1), words.argmax(axis=1), ids.shape[1])
    return first


def pads_in_front(ids: NDArray[np.int32]) -> NDArray[np.int32]:
    """Move zeros between or behind words to the front: the same to a network that skips zeros wherever they are.

    Example:
        >>> pads_in_front(np.array([[0, 1, 0, 5, 0]])).tolist()
        [[0, 0, 0, 1, 5]]
    """
    words = ids != PAD
    if words.sum() == ids.size - first_words(ids).sum():
        return ids
    return np.take_along_axis(ids, np.argsort(words, axis=1, kind="stable"), axis=1)


def reversed_words(ids: NDArray[np.int32], first: NDArray[np.int64]) -> NDArray[np.int32]:
    """Each row's words in reverse order, its padding still in front; ``first`` is the step at which that ends.

    Example:
        >>> reversed_words(np.array([[0, 1, 5, 7], [1, 4, 5, 6]]), np.array([1, 0])).tolist()
        [[0, 7, 5, 1], [6, 5, 4, 1]]
    """
    steps = ids.shape[1]
    # Modulo the length, what stands before a row's first word comes from its padding, too.
    columns = (first[:, np.newaxis] + (steps - 1) - np.arange(steps)) % steps
    return np.take_along_axis(ids, columns, axis=1)


def beginnings(ids: NDArray[np.int32]) -> NDArray[np.int32]:
    """The first 0, 1, 2, ... ids of one review, each padded in front to its whole length.

    Example:
        >>> beginnings(np.array([4, 5])).tolist()
        [[0, 0], [0, 4], [4, 5]]
    """
    padded = np.concatenate([np.full_like(ids, PAD), ids])
    return np.lib.stride_tricks.sliding_window_view(padded, len(ids))
