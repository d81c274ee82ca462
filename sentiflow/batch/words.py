"""Texts to padded ids, many at once: the rules of ``Vocabulary.encode`` and ``pad`` in array operations.

Word by word in Python, this takes twice as long as the network itself. Here a word is known by a 64-bit hash of
its bytes: that an unknown word passes for one of 88,584 has a chance of 1 in 2 * 10**14 each.

Shapes: n texts, b bytes of all of them, w words of all of them, k known words.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from sentiflow.scoring import OUT_OF_VOCABULARY, START, TextScorer, pad
from sentiflow.scoring.vocabulary import FIRST_WORD

Hashes = NDArray[np.uint64]
Ids = NDArray[np.int32]

# All of Keras's filter characters are ASCII, so what they are in UTF-8 stands for nothing else.
_FILTERED = b'!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n'
_TO_SPACE = bytes.maketrans(_FILTERED, b" " * len(_FILTERED))
_SPACE = 32
_SPLITS = re.compile(f"[ {re.escape(_FILTERED.decode())}]").search

_MOST = 2**18  # bytes hashed at a time: the arrays of so few stay in the processor's cache
_BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2**64
_LEVELS = (20, 16, 16, 16, 16, 16)  # bits that choose a slot, table by table


class BulkScorer:
    """Scores as ``TextScorer.score`` does, many texts in less time; sent to other processes as it is."""

    def __init__(self, scorer: TextScorer) -> None:
        self.encoder = Encoder(scorer)
        self._network = scorer.network

    def score(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Score texts from 0 to 1 in this thread alone; shape (n,)."""
        return self._network.score(self.encoder.encode(texts), threads=1)


class Encoder:
    """A scorer's vocabulary and padding, for many texts at once."""

    def __init__(self, scorer: TextScorer) -> None:
        self._vocabulary = scorer.vocabulary
        self._length = scorer.sequence_length
        self._size = len(scorer.weights.embedding)
        self._hasher = _Hasher()
        self._tables = _Tables(*self._known_words())

    def encode(self, texts: Sequence[str]) -> Ids:
        """Padded ids, shape (n, length); the same as ``pad`` makes of what ``Vocabulary.encode`` gives."""
        rows = np.zeros((len(texts), self._length), np.int32)
        first = 0
        for group in _grouped([text.lower().encode() for text in texts]):
            last = first + len(group)
            if len(group) == 1 and len(group[0]) > _MOST:
                ids = [self._vocabulary.encode(texts[first])]
                rows[first] = pad(ids, self._length, self._size)[0]
            else:
                self._fill(rows[first:last], group)
            first = last
        return rows

    def _fill(self, rows: Ids, texts: Sequence[bytes]) -> None:
        """Write the last ids of each text to the end of its row, with the start marker before them if it fits."""
        hashes, starts = self._hasher.words(b" ".join(texts))  # (w,), (w,)
        ids = self._tables.find(hashes)  # (w,), 0 where a word has no rank
        known = ids > 0
        ends = np.cumsum([len(text) + 1 for text in texts])  # (n,)
        # Known words up to the end of each text.
        until = np.concatenate([[0], np.cumsum(known)])[np.searchsorted(starts, ends)]  # (n,)
        counts = np.diff(until, prepend=0)  # (n,)
        row = np.repeat(np.arange(len(texts)), counts)  # (k,)
        column = self._length - until[row] + np.arange(len(row))  # (k,)
        kept = column >= 0
        rows[row[kept], column[kept]] = ids[known][kept]
        short = np.flatnonzero(counts < self._length)
        rows[short, self._length - 1 - counts[short]] = START

    def _known_words(self) -> tuple[Hashes, Ids]:
        """Hash and id of every word that a text can hold; rare ones have one id together."""
        words = list(self._vocabulary.words)
        ids = np.arange(FIRST_WORD, FIRST_WORD + len(words), dtype=np.int32)
        possible = [bool(word) and word == word.lower() and not _SPLITS(word) for word in words]
        words, ids = list(compress(words, possible)), ids[possible]
        groups = _grouped([word.encode() for word in words])
        hashes = [np.empty(0, np.uint64), *(self._hasher.words(b" ".join(group))[0] for group in groups)]
        return np.concatenate(hashes), np.where(ids < self._size, ids, np.int32(OUT_OF_VOCABULARY))


class _Hasher:
    """Hashes of all words of a text: a sum over its bytes of a random number a byte times a power a position."""

    def __init__(self) -> None:
        size = _MOST + 1
        self._of_byte = np.random.default_rng(0).integers(0, 2**64, 256, np.uint64, endpoint=False)
        self._powers = _powers(_BASE, size)
        self._inverse = _powers(pow(_BASE, -1, 2**64), size)

    def words(self, text: bytes) -> tuple[Hashes, NDArray[np.int64]]:
        """Hash and first byte of each word; shape (w,) both."""
        content = np.frombuffer(text.translate(_TO_SPACE), np.uint8)  # (b,)
        edges = np.flatnonzero(np.diff(content != _SPACE, prepend=False, append=False))
        starts, ends = edges[::2], edges[1::2]  # (w,)
        sums = np.zeros(len(content) + 1, np.uint64)
        np.cumsum(self._of_byte[content] * self._powers[: len(content)], out=sums[1:])
        # Moved to position 0, so that a word has one hash wherever it stands.
        return (sums[ends] - sums[starts]) * self._inverse[starts], starts


class _Tables:
    """Ids by hash: a slot holds one word, and words that find their slot taken go to the next table."""

    def __init__(self, hashes: Hashes, ids: Ids) -> None:
        self._tables: list[tuple[NDArray[np.int32], int]] = []
        self._hashes, self._ids = np.append(hashes, np.uint64(0)), np.append(ids, np.int32(0))
        left = np.arange(len(hashes))
        for level, bits in enumerate(_LEVELS):
            slots = _slots(hashes[left], level, bits)
            _, first = np.unique(slots, return_index=True)  # the more frequent word, as ranks come in order
            table = np.full(2**bits, len(hashes), np.int32)  # an empty slot leads to id 0
            table[slots[first]] = left[first]
            self._tables.append((table, bits))
            left = np.delete(left, first)
            if not len(left):
                return
        raise ValueError(f"{len(left)} words have no slot")

    def find(self, hashes: Hashes) -> Ids:
        """Ids of words, 0 for those that are not there."""
        ids = np.zeros(len(hashes), np.int32)
        open_ = np.arange(len(hashes))
        for level, (table, bits) in enumerate(self._tables):
            wanted = hashes[open_]
            found = table[_slots(wanted, level, bits)]
            same = self._hashes[found] == wanted
            ids[open_[same]] = self._ids[found[same]]
            open_ = open_[~same]
        return ids


def _slots(hashes: Hashes, level: int, bits: int) -> NDArray[np.int64]:
    """Each table's own choice of bits."""
    mixed = hashes * np.uint64(2 * level + 1) ^ (hashes >> np.uint64(29))
    return (mixed >> np.uint64(64 - bits)).astype(np.int64)


def _powers(base: int, size: int) -> Hashes:
    """1, base, base**2, ... modulo 2**64."""
    powers = np.full(size, base, np.uint64)
    powers[0] = 1
    return np.cumprod(powers, dtype=np.uint64)


def _grouped(texts: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """Consecutive texts of so many bytes; a longer text stands alone."""
    first, size = 0, 0
    for k, text in enumerate(texts):
        if size + len(text) > _MOST and k > first:
            yield texts[first:k]
            first, size = k, 0
        size += len(text) + 1
    if first < len(texts):
        yield texts[first:]
