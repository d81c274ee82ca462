"""Test texts that are nearly equal to learnt ones: found by MinHash, then compared triple by triple."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sentiflow.data import reviews
from sentiflow.data.reviews import Reviews
from sentiflow.redaction import printable

SHARE = 0.9  # of the different word triples of the text that has more of them
_SHORTEST = 5  # words: of fewer than ten triples none may differ, and a shorter text says too little to tell
_MANY = 0.1  # of the test reviews
# Pairs with just that share are found with a probability of 99% (docs/own-tables.md), whatever the texts' number.
_BANDS, _IN_A_BAND = 8, 4
_ALIKE = 0.5  # of a pair's values, below which its triples are not compared: of a pair with that share, 0.82 agree
_AT_ONCE = 2_000  # texts
_EXAMPLES, _SHOWN = 2, 80  # pairs, and characters of each text
_MIX = np.uint64(0x9E3779B97F4A7C15)

Words = NDArray[np.int32]


def triples(words: Words) -> NDArray[np.uint64]:
    """A number for each three words in a row of a text, shape (words - 2,)."""
    wide = words.astype(np.uint64)
    return ((wide[:-2] * _MIX + wide[1:-1]) * _MIX + wide[2:]) * _MIX


def share(one: Words, other: Words) -> float:
    """The share of two texts' different word triples that they have in common, of those of the one with more."""
    mine, theirs = np.unique(triples(one)), np.unique(triples(other))
    return len(np.intersect1d(mine, theirs, assume_unique=True)) / max(len(mine), len(theirs))


def nearest_learnt(texts: Sequence[Words], tests: NDArray[np.bool_]) -> NDArray[np.int64]:
    """For each text that tests the place of a nearly equal one that does not, else -1; shape (texts,).

    Of all learnt texts at most one for each band of a test text is compared with it.
    """
    found = np.full(len(texts), -1)
    places = np.flatnonzero([len(text) >= _SHORTEST for text in texts])
    mine, theirs = np.flatnonzero(tests[places]), np.flatnonzero(~tests[places])
    if not (len(mine) and len(theirs)):
        return found
    values = _minima([texts[place] for place in places.tolist()])
    for band in np.split(values, _BANDS, axis=1):
        keys = (band * _MIX ** np.arange(_IN_A_BAND, dtype=np.uint64)).sum(axis=1)
        known, first = np.unique(keys[theirs], return_index=True)
        at = np.searchsorted(known, keys[mine]).clip(max=len(known) - 1)
        same = known[at] == keys[mine]
        test, learnt = mine[same], theirs[first[at[same]]]
        likely = (values[test] == values[learnt]).mean(1) >= _ALIKE
        for one, other in zip(places[test[likely]], places[learnt[likely]], strict=True):
            if found[one] < 0 and share(texts[one], texts[other]) >= SHARE:
                found[one] = other
    return found


def _minima(texts: Sequence[Words]) -> NDArray[np.uint32]:
    """The least hash of each text's triples under some permutations, shape (texts, permutations)."""
    from rensa import RMinHash  # only what prepares tables needs it

    rows = []
    for begin in range(0, len(texts), _AT_ONCE):
        part = texts[begin : begin + _AT_ONCE]
        ends = np.cumsum([len(text) for text in part])
        within = np.ones(ends[-1], bool)  # no triple begins at a text's last two words
        within[ends - 1] = within[ends - 2] = False
        offsets = [0, *(ends - 2 * np.arange(1, len(part) + 1)).tolist()]
        hashes = triples(np.concatenate(part))[within[:-2]]
        made = RMinHash.digest_matrix_from_flat_token_hashes(hashes, offsets, _BANDS * _IN_A_BAND, seed=0)
        rows.append(np.array(made.to_rows(), np.uint32))
    return np.concatenate(rows)


def told(content: Reviews) -> str:
    """What to say where so many test reviews are nearly equal to learnt ones that the test is not honest."""
    pairs, tests = _pairs(content), int((content.split == "test").sum())
    if len(pairs) <= _MANY * tests:
        return ""
    other = sum(content.label[one] != content.label[learnt] for one, learnt in pairs)
    said = f"{len(pairs):,} of {tests:,} test reviews share {SHARE:.0%} of their word triples with learnt ones"
    return f"{said} ({other:,} of these have the other label)" if other else said


def warnings(table: Path) -> list[str]:
    """The same of a prepared table, with two examples and what to do; nothing of others."""
    content = reviews.read(table)
    if not (said := told(content)):
        return []
    words, texts = reviews.read_vocabulary(table), reviews.of_test(table, "text")
    shown = [
        f'"{_short(texts[content.review_id[one]])}" with "{_short(words.decode(content.tokens[learnt], ""))}"'
        for one, learnt in _pairs(content)[:_EXAMPLES]
    ]
    return [f"{said}: {'; '.join(shown)}. The test says little of new texts: keep one of such texts."]


def _pairs(content: Reviews) -> list[tuple[int, int]]:
    """The places of test reviews and of learnt ones that they are nearly equal to."""
    if content.alike is None or not (ones := np.flatnonzero(content.alike != "").tolist()):
        return []
    places = {name: place for place, name in enumerate(content.review_id.tolist())}
    return [(one, places[content.alike[one]]) for one in ones]


def _short(text: str) -> str:
    line = printable(" ".join(text.split()))
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 3]}..."
