"""Words and ids, by the rules that the IMDB dataset was made with, and reviews of many lengths as one matrix."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

PAD = 0
START = 1
OUT_OF_VOCABULARY = 2
FIRST_WORD = 4  # rank 1; id 3 is never used, as in `keras.datasets.imdb`
OFFSET = FIRST_WORD - 1

FILTERED = '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n\r'  # Keras's, and the carriage return of Windows's lines
_TO_SPACE = str.maketrans(FILTERED, " " * len(FILTERED))


# Scripts that are written without spaces between words: Thai, Lao, Myanmar, Khmer; kana; Han.
_WITH_MARKS = "\u0e01-\u0e7f\u0e81-\u0eff\u1000-\u109f\u1780-\u17ff\uaa60-\uaa7f\ua9e0-\ua9ff"
_KANA = "\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9f"
_HAN = "\u2e80-\u2fdf\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WIDE = "\u3001-\u3029\u3030-\u303f\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65"  # their punctuation
_MARKS = "".join(
    chr(code)
    for first, end in ((0x0E00, 0x0F00), (0x1000, 0x10A0), (0x1780, 0x1800), (0x3099, 0x309B), (0xA9E0, 0xAA80))
    for code in range(first, end)
    if unicodedata.category(chr(code)) in ("Mn", "Mc")
)
_ALONE = f"(?![{_MARKS}])[{_WITH_MARKS}{_KANA}{_HAN}{_WIDE}][{_MARKS}]*+"  # a character with its marks
_SPACES = "\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"  # beside the one of ASCII
_CHARACTER = re.compile(_ALONE)
_ANY = re.compile(f"[{_WITH_MARKS}{_KANA}{_HAN}{_WIDE}{_SPACES}]")  # quick to look for
_APART = re.compile(f"{_ALONE}|[{_SPACES}]")
_TOGETHER = re.compile(f"[{_SPACES}]|(?<=[^\n]){_ALONE}|{_ALONE}(?=[^\n])")


def _spaced(found: re.Match[str]) -> str:
    return " " if found[0].isspace() else f" {found[0]} "


def spaced(text: str, *, apart: bool = True) -> str:
    """A text in lower case, with spaces between its words; ``apart`` is as in ``tokenize``."""
    lower = text.lower()
    if apart and not lower.isascii() and _ANY.search(lower):
        lower = _APART.sub(_spaced, lower)
    return lower.translate(_TO_SPACE)


def tokenize(text: str, *, apart: bool = True) -> list[str]:
    """Split a text into words: lower case, the filtered characters to spaces, split on spaces.

    Of scripts without spaces each character is a word, with its marks. With ``apart=False`` it is not, and white
    space other than a space stays inside words: the IMDB dataset's own words hold some.

    Example:
        >>> tokenize("Well-made; I don't regret it!")
        ['well', 'made', 'i', "don't", 'regret', 'it']
        >>> tokenize("很好吃 OK")
        ['很', '好', '吃', 'ok']
    """
    return [word for word in spaced(text, apart=apart).split(" ") if word]


def spaces(words: Sequence[str]) -> list[str]:
    """What is shown in front of each word: a space, but none before the first and between single characters.

    Example:
        >>> spaces(["很", "好", "ok", "吃"])
        ['', '', ' ', ' ']
    """
    alone = [_CHARACTER.fullmatch(word) is not None for word in words]
    return ["" if both or not k else " " for k, both in enumerate(map(min, alone, [False, *alone]))]


class Vocabulary:
    """Words by frequency rank; the id of the word with rank r (1 is the most frequent) is r + 3."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = tuple(words)
        self._ids = {word: rank + FIRST_WORD for rank, word in enumerate(self.words)}
        if len(self._ids) != len(self.words):
            raise ValueError("a vocabulary must not hold a word twice")

    def __len__(self) -> int:
        return len(self.words)

    @cached_property
    def apart(self) -> bool:
        """How ``tokenize`` makes these words: scripts without spaces apart, unless a word here shows otherwise."""
        together = "\n".join(self.words)
        return together.isascii() or not _TOGETHER.search(together)

    def tokenize(self, text: str) -> list[str]:
        """Split a text as those that these words are of."""
        return tokenize(text, apart=self.apart)

    def encode(self, text: str) -> list[int]:
        """Turn a text into ids: the start marker, then a word each; words without a rank are dropped."""
        ids = self._ids
        return [START, *(ids[word] for word in self.tokenize(text) if word in ids)]

    def knows(self, text: str) -> bool:
        """Whether any word of a text has an id; if none has, its score is that of an empty text."""
        return not self._ids.keys().isdisjoint(self.tokenize(text))

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
