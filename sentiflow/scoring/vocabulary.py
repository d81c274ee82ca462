"""Words and ids, by the rules that the IMDB dataset was made with."""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

PAD = 0
START = 1
OUT_OF_VOCABULARY = 2
FIRST_WORD = 4  # rank 1; id 3 is never used, as in `keras.datasets.imdb`
OFFSET = FIRST_WORD - 1

FILTERED = '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n'
_TO_SPACE = str.maketrans(FILTERED, " " * len(FILTERED))


def tokenize(text: str) -> list[str]:
    """Split a text into words: lower case, Keras's filter characters to spaces, split on the space alone.

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

    @classmethod
    def from_texts(cls, texts: Iterable[str]) -> "Vocabulary":
        """Rank the words of some texts by frequency, equally frequent ones by the alphabet."""
        counts = Counter(word for text in texts for word in tokenize(text))
        return cls(sorted(counts, key=lambda word: (-counts[word], word)))

    def encode(self, text: str) -> list[int]:
        """Turn a text into ids: the start marker, then a word each; words without a rank are dropped.

        Example:
            >>> Vocabulary(["the", "film"]).encode("The film, unseen.")
            [1, 4, 5]
        """
        ids = self._ids
        return [START, *(ids[word] for word in tokenize(text) if word in ids)]

    def id_of(self, word: str) -> int | None:
        """The id of one word as ``tokenize`` made it, or None when it has no rank."""
        return self._ids.get(word)

    def decode(self, ids: Iterable[int], unknown: str = "?") -> str:
        """Turn ids into words; padding vanishes, the start marker and unknown ids become ``unknown``.

        With ``unknown=""`` these vanish too, and ``encode`` gives the ids of known words back.

        Example:
            >>> Vocabulary(["the", "film"]).decode([0, 1, 4, 2, 5])
            '? the ? film'
        """
        words = (self._word(int(i), unknown) for i in ids if i != PAD)
        return " ".join(word for word in words if word)

    def _word(self, i: int, unknown: str) -> str:
        rank = i - FIRST_WORD
        return self.words[rank] if 0 <= rank < len(self.words) else unknown


def limit(ids: NDArray[np.int32], vocabulary_size: int) -> NDArray[np.int32]:
    """Replace ids of rare words: a vocabulary of 10,000 keeps the ids below 10,000, ranks 1 to 9,996.

    Example:
        >>> limit(np.array([1, 9999, 10000], dtype=np.int32), 10_000).tolist()
        [1, 9999, 2]
    """
    return np.where(ids < vocabulary_size, ids, np.int32(OUT_OF_VOCABULARY))
