"""N-grams, the words, pairs and triples of neighbours that a text holds, and a linear model on them.

Wang and Manning (2012), Baselines and Bigrams: Simple, Good Sentiment and Topic Classification; beside a network
as in Cheng et al. (2016), Wide & Deep Learning for Recommender Systems.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .forward import mean_score
from .vocabulary import FIRST_WORD
from .weights import read_arrays

Tokens = Sequence[Sequence[int] | NDArray[np.int32]]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

LONGEST = 3
CHUNK = 500  # texts looked at together: larger arrays take longer to allocate than to fill
_BITS = 21  # of a word's id in a key: three fill an int64, and words of further ranks belong to no n-gram
_NUMBERS = ("constant", "network")
_MIX = np.uint64(0x9E3779B97F4A7C15)  # 2**64 by the golden ratio, as in Fibonacci hashing


def occurrences(texts: Tokens, longest: int) -> tuple[Ints, Ints, Ints]:
    """Every n-gram of whole texts, up to ``longest`` words: its key, its text, where its last word stands.

    A key is made of the ids of the words. Start marker, padding and the id of rare words belong to no n-gram, and
    are not between neighbours. Where a word stands is counted over the ids of all texts. Each of shape (m,).
    """
    flat = np.concatenate([np.empty(0, np.int32), *(np.asarray(ids, np.int32) for ids in texts)])
    place = np.flatnonzero((flat >= FIRST_WORD) & (flat < 1 << _BITS))
    text = np.repeat(np.arange(len(texts)), [len(ids) for ids in texts])[place]
    words = flat[place].astype(np.int64)
    keys, ends, made = [words], [np.arange(len(words))], words
    for n in range(2, longest + 1):
        made = (made[:-1] << _BITS) | words[n - 1 :]
        first = np.flatnonzero(text[n - 1 :] == text[: len(text) - n + 1])
        keys.append(made[first])
        ends.append(first + n - 1)
    end = np.concatenate(ends)
    return np.concatenate(keys), text[end], place[end]


def words_of(keys: Ints) -> list[Ints]:
    """Ids of the last word of n-grams, of the one before and of the one before that; 0 where there is none."""
    return [(keys >> (_BITS * back)) & ((1 << _BITS) - 1) for back in range(LONGEST)]


class Table:
    """A hash table of n-grams: the column of each key."""

    def __init__(self, keys: Ints) -> None:
        bits = len(keys).bit_length() + 1
        self._shift = np.uint64(64 - bits)
        hashes = self._hash(keys)
        self._columns = np.argsort(hashes, kind="stable").astype(np.int32)
        self._keys = np.append(keys[self._columns], -1)  # -1 is none, for what lies behind the last
        self._starts = np.zeros((1 << bits) + 1, np.int32)
        counts = np.bincount(hashes, minlength=1 << bits)
        np.cumsum(counts, out=self._starts[1:])
        # The first key of each hash and its column: where they are looked up, they take one place in memory each.
        used = np.flatnonzero(counts)
        self._first, self._first_columns = np.full(1 << bits, -1, np.int64), np.full(1 << bits, -1, np.int32)
        self._first[used] = self._keys[self._starts[used]]
        self._first_columns[used] = self._columns[self._starts[used]]

    def _hash(self, keys: Ints) -> Ints:
        return ((keys.view(np.uint64) * _MIX) >> self._shift).view(np.int64)

    def columns(self, keys: Ints) -> NDArray[np.int32]:
        """The column of each key, -1 for one that is not in the table; (m,) -> (m,)."""
        hashes = self._hash(keys)
        first = self._first[hashes]
        found = np.where(first == keys, self._first_columns[hashes], np.int32(-1))
        rows = np.flatnonzero((first != keys) & (first >= 0))
        at, end = self._starts[hashes[rows]] + 1, self._starts[hashes[rows] + 1]
        while len(rows):
            rest = at < end
            at, end, rows = at[rest], end[rest], rows[rest]
            equal = self._keys[at] == keys[rows]
            found[rows[equal]] = self._columns[at[equal]]
            at, end, rows = at[~equal] + 1, end[~equal], rows[~equal]
        return found

    def rows(self, texts: Tokens, longest: int) -> Iterator[tuple[Ints, NDArray[np.int32]]]:
        """Of some texts after the other: how many n-grams of the table each holds, and the columns of these."""
        width = max(1, len(self._columns))
        for start in range(0, len(texts), CHUNK):
            part = texts[start : start + CHUNK]
            keys, text, _ = occurrences(part, longest)
            column = self.columns(keys)
            known = np.flatnonzero(column >= 0)
            kind = np.int32 if width * len(part) < 1 << 31 else np.int64  # half the time to sort
            cells = np.sort((text[known] * width + column[known]).astype(kind))
            cells = cells[np.diff(cells, prepend=-1) > 0]
            yield np.bincount(cells // width, minlength=len(part)), (cells % width).astype(np.int32)


@dataclass(frozen=True)
class NGrams:
    """A linear model on the n-grams of a whole text, each counted once, beside a network."""

    keys: Ints  # (k,), as ``occurrences`` makes them, rising
    weights: NDArray[np.float32]  # (k,), what each adds to the log-odds
    constant: float = 0.0
    network: float = 0.0  # factor of the network's log-odds

    def __post_init__(self) -> None:
        if self.keys.dtype != np.int64 or self.weights.dtype != np.float32 or self.keys.ndim != 1:
            raise ValueError("n-grams are int64 keys and float32 weights")
        if self.keys.shape != self.weights.shape or (np.diff(self.keys, prepend=FIRST_WORD - 1) <= 0).any():
            raise ValueError("each n-gram has one weight, and its key stands once, in rising order")
        if not (np.isfinite(self.weights).all() and np.isfinite([self.constant, self.network]).all()):
            raise ValueError("weights of n-grams are no finite numbers")

    @property
    def longest(self) -> int:
        """Words of the longest n-gram."""
        return 1 + sum(bool(len(self.keys)) and int(self.keys[-1]) >> (_BITS * n) > 0 for n in (1, 2))

    @cached_property
    def table(self) -> Table:
        return Table(self.keys)

    def log_odds(self, texts: Tokens) -> Floats:
        """What constant and n-grams of whole texts, as ids, add up to; shape (texts,)."""
        sums: list[Floats] = [np.empty(0)]
        for counts, columns in self.table.rows(texts, self.longest):
            text = np.repeat(np.arange(len(counts)), counts)
            sums.append(np.bincount(text, self.weights[columns], len(counts)).astype(np.float64))
        return self.constant + np.concatenate(sums)

    def scores(self, network: Floats, texts: Tokens) -> Floats:
        """Scores of whole texts, given a network's log-odds of them, (members, texts); shape (texts,)."""
        return mean_score(self.network * network + self.log_odds(texts))

    def shares(self, ids: Sequence[int]) -> Floats:
        """What each id of a text adds to the log-odds: an n-gram's weight, where it stands first, by its words.

        Their sum and ``constant`` are what ``log_odds`` says; shape (ids,).
        """
        keys, _, end = occurrences([ids], self.longest)
        column = self.table.columns(keys)
        known = np.flatnonzero(column >= 0)
        order = known[np.lexsort((end[known], column[known]))]
        first = order[np.diff(column[order], prepend=-1) > 0]
        sizes = sum(part > 0 for part in words_of(keys[first]))
        place = np.flatnonzero((np.asarray(ids) >= FIRST_WORD) & (np.asarray(ids) < 1 << _BITS))
        last = np.searchsorted(place, end[first])
        added = np.zeros(len(ids))
        for back in range(LONGEST):
            has = sizes > back
            np.add.at(added, place[last[has] - back], (self.weights[column[first]] / sizes)[has])
        return added

    def entries(self) -> dict[str, NDArray[Any]]:
        """All of it by names, for its file and for a digest."""
        numbers = {name: np.asarray(getattr(self, name)) for name in _NUMBERS}
        return {"ngram_keys": self.keys, "ngram_weights": self.weights, **numbers}

    def save(self, path: Path) -> None:
        """Write it as an npz without pickles."""
        entries: dict[str, Any] = self.entries()
        np.savez(path, **entries)

    @classmethod
    def load(cls, path: Path) -> "NGrams":
        """Read what ``save`` wrote.

        Raises:
            ValueError: the file is damaged.
        """
        found = read_arrays(path, ("ngram_keys", "ngram_weights", *_NUMBERS))
        try:
            numbers = (float(found[name]) for name in _NUMBERS)
            return cls(found["ngram_keys"], found["ngram_weights"], *numbers)
        except KeyError as err:
            raise ValueError(f"{path}: missing arrays {err.args[0]}") from err
