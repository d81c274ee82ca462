"""Rows to train on: which are kept, which of them test, how they become reviews, and what such a test tells.

The words of each text alone decide: however a user's table grows, is sorted, is put into several files or is
written with other capitals, punctuation, quotes, emoji or markup, none changes sides.
"""

import csv
import gzip
import re
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sentiflow.data.imdb import SHUFFLE_SEED
from sentiflow.data.reviews import (
    BETWEEN,
    BETWEEN_CHOICE,
    BETWEEN_TEST,
    Reviews,
    of_test,
    read,
    read_vocabulary,
)
from sentiflow.data.rows import by_label
from sentiflow.redaction import printable
from sentiflow.scoring import LABEL_NAMES, Vocabulary, is_name
from sentiflow.scoring.vocabulary import PAD, START, tokenize

TEST_SHARE = 0.2  # of the texts of a table without a split

_ID = "text-"
_WORD, _TAG = re.compile(r"[^\W_]+(?:'[^\W_]+)*"), re.compile(r"<[a-z][^<>]*>")
# Names of plain tags count nowhere, nor do they as words: IMDB's reviews come as ids, which hold i for I and <i>.
_TAGS = {"a", "b", "br", "center", "div", "em", "hr", "i", "li", "ol", "p", "small", "span", "strong", "u", "ul"}
_DIGITS = 16  # 64 bits: two of a million texts share them with a probability of 3e-8

Hashes = NDArray[np.uint64]


def text_id(text: str) -> str:
    """The id of a review of a user's table: the beginning of its text's SHA-256."""
    return f"{_ID}{sha256(text.encode()).hexdigest()[:_DIGITS]}"


def word_hash(text: str) -> int:
    """The beginning of the SHA-256 of a text's letters and digits, in lower case, with a space between words.

    Texts that differ in capitals, punctuation, quotes, emoji or plain markup alone have one; also where the model
    reads those as words, as then one is nearly the other. A text without letters and digits stands for itself.
    """
    found = _WORD.findall(_TAG.sub(_without_attributes, text.lower().replace("’", "'")))
    words = " ".join([word for word in found if word not in _TAGS]) or " ".join(found) or text
    return int(sha256(words.encode()).hexdigest()[:_DIGITS], 16)


def _without_attributes(tag: re.Match[str]) -> str:
    return " " if "=" in tag[0] else tag[0]


def text_hashes(review_ids: NDArray[np.str_]) -> Hashes:
    """The hashes in ids that ``text_id`` made, of the same shape; 0 for ids of built-in datasets."""
    hashes = [int(name.removeprefix(_ID), 16) if name.startswith(_ID) else 0 for name in review_ids.tolist()]
    return np.array(hashes, np.uint64)


BY_WORDS = np.uint64(2)  # the format and least value of ``learnt.npy``; without it hashes are of exact texts alone


def known(review_id: NDArray[np.str_], words: Hashes | None, learnt: Hashes) -> NDArray[np.bool_]:
    """Which reviews were learnt from, by their very texts or by the words of these; shape (n,)."""
    found = np.isin(text_hashes(review_id), learnt)
    return found if words is None else found | np.isin(words, learnt)


class Labelled(NamedTuple):
    """A row to train on."""

    review_id: str  # of a user's table as ``text_id`` makes it
    text: str
    label: int
    split: str  # one of ``SPLITS``, or empty until one is drawn
    place: str  # where it stands, for people
    words: int  # their hash, as ``word_hash`` makes it of the text
    name: str = ""  # the label as the table has it, if answers are called so; else empty
    origin: str = ""  # ``LABEL_SAMPLE`` if people labelled it as a text in use
    date: str = ""  # when it was written, where time decides what tests; its order is that of time


def each_once(rows: Sequence[Labelled]) -> tuple[list[Labelled], int, Counter[str]]:
    """The first row of each text as it is read, how many others, and of those with another label, which one.

    It has the split that a table gives the text, whichever table that is.
    """
    first: dict[tuple[int, str], Labelled] = {}
    relabelled, alike = Counter[str](), Counter(row.words for row in rows)
    for row in rows:
        # An emoji may decide the label: of texts with the same letters those are one that are read as one.
        read = (" ".join(tokenize(row.text)) or row.text) if alike[row.words] > 1 else ""
        kept = first.setdefault((row.words, read), row)
        if kept.label != row.label:
            relabelled[row.name or LABEL_NAMES[row.label]] += 1
        if row.split and not kept.split:
            first[row.words, read] = kept._replace(split=row.split)
    return list(first.values()), len(rows) - len(first), relabelled


def divided(rows: Sequence[Labelled], text_column: str) -> tuple[list[Labelled], list[str]]:
    """The rows with a split each, and what keeps them from being trained on and tested.

    A split that a table gives is kept; of tables without one the texts with a hash below a threshold test, or the
    newest where rows have dates. Neutral rows follow, divided alike.
    """
    apart = [row for row in rows if row.label == BETWEEN]
    rows = [row for row in rows if row.label != BETWEEN]
    if not rows:
        return rows, ["there are no rows to train on"]
    if problem := _one_label("the table", rows):
        return rows, [problem]
    given = any(row.split for row in rows)
    below, since = int(TEST_SHARE * 2 ** (4 * _DIGITS)), _newest(rows)

    def split_of(row: Labelled) -> str:
        return row.split or ("test" if (row.date >= since if since else row.words < below) else "train")

    rows = [row._replace(split=split_of(row)) for row in rows]
    sides = (BETWEEN_TEST if split_of(row) == "test" else BETWEEN_CHOICE for row in apart)
    apart = [row._replace(split=side) for row, side in zip(apart, sides, strict=True)]
    return [*rows, *apart], _problems(rows, text_column, given=given, by_time=bool(since))


def _problems(rows: Sequence[Labelled], text_column: str, *, given: bool, by_time: bool) -> list[str]:
    """What keeps rows with splits, of a table or drawn, from being trained on and tested."""
    if given:
        named = ((split, [row for row in rows if row.split == split]) for split in ("train", "test"))
        return [problem for split, part in named if (problem := _one_label(f"the {split} split", part))]
    few = []
    for label in (0, 1):
        splits = [row.split for row in rows if row.label == label]
        if len(set(splits)) < 2:
            few.append(f"{splits.count('train')} of label {label} train, {splits.count('test')} test")
    if few and by_time:
        return [f"too few different texts or dates for a newest fifth with both labels: {'; '.join(few)}"]
    why = f"too few different texts to set some aside for a test: {'; '.join(few)}"
    return [f"{why}; is {text_column} the column of the texts?"] if few else []


def _newest(rows: Sequence[Labelled]) -> str:
    """The date from which on the newest ``TEST_SHARE`` of rows, or about as many, stand; empty without dates."""
    dates = sorted(row.date for row in rows)
    first = int(len(dates) * (1 - TEST_SHARE))
    wanted = dates[first]
    starts = [k for k in (bisect_left(dates, wanted), bisect_right(dates, wanted)) if 0 < k < len(dates)]
    return dates[min(starts, key=lambda k: abs(k - first))] if starts else wanted


def in_fixed_order(rows: Sequence[Labelled]) -> list[Labelled]:
    """Rows in the order of their words' hashes: those that validate, the last, are beyond a threshold of it."""
    return sorted(rows, key=lambda row: (row.words, row.review_id))


def _one_label(where: str, rows: Sequence[Labelled]) -> str:
    positive = sum(row.label for row in rows)
    if 0 < positive < len(rows):
        return ""
    counts = f"{len(rows) - positive:,} of label 0 and {positive:,} of label 1"
    return f"{where} needs reviews of both labels, got {counts}"


_TOGETHER = 3  # names of a table that make one of an answer
_RARE = 10_000  # training reviews for each time that a word must occur


def vocabulary_of(counts: Mapping[str, int], texts: int, base_words: Sequence[str]) -> Vocabulary:
    """Rank the words of training texts by frequency, then those that only the base knows, then the rare ones.

    Equally common ones stand by the alphabet. A word is rare if the base does not know it either, and it occurs
    less than once in 10,000 texts.
    """
    known, least = set(base_words), 1 + texts // _RARE
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    kept = [word for word in ranked if counts[word] >= least or word in known]
    rare = [word for word in ranked if counts[word] < least and word not in known]
    return Vocabulary([*kept, *(word for word in base_words if word not in counts), *rare])


def to_reviews(rows: Sequence[Labelled], base_words: Sequence[str] = ()) -> tuple[Reviews, Vocabulary]:
    """Turn rows into ids, in their order, by the words of their training split and of the base."""
    names = _name_of(0, rows), _name_of(1, rows)
    numbers: defaultdict[str, int] = defaultdict()  # of words as they appear: each text is read once
    numbers.default_factory = numbers.__len__
    texts = [np.array([numbers[word] for word in tokenize(row.text)], np.int32) for row in rows]
    learnt = [numbered for row, numbered in zip(rows, texts, strict=True) if row.split == "train"]
    counts = np.bincount(np.concatenate([np.empty(0, np.int32), *learnt]), minlength=len(numbers)).tolist()
    counted = {word: count for word, count in zip(numbers, counts, strict=True) if count}
    vocabulary = vocabulary_of(counted, len(learnt), base_words)
    ids = np.array([vocabulary.id_of(word) or PAD for word in numbers], np.int32)
    review_id, split = (np.array([getattr(row, name) for row in rows]) for name in ("review_id", "split"))
    words = np.array([row.words for row in rows], np.uint64)
    answers = [text if row.label != BETWEEN else text[:0] for row, text in zip(rows, texts, strict=True)]
    nearest = nearest_learnt(answers, (split == "test") & (words > 0))  # the sample's have no hash
    reviews = Reviews(
        review_id,
        split,
        np.array([row.label for row in rows], dtype=np.int8),
        [np.append(np.int32(START), known[known != PAD]) for known in (ids[numbered] for numbered in texts)],
        names,
        words,
        np.where(nearest < 0, "", review_id[nearest]),
    )
    return reviews, vocabulary


def _name_of(label: int, rows: Sequence[Labelled]) -> str:
    """What answers call a label: as the training rows do, ``4 or 5`` where these are different names.

    Of spellings in different case the commonest stands. Too many names for one are called as in IMDB.
    """
    names = Counter(row.name for row in rows if row.split == "train" and row.label == label and row.name)
    spelled = by_label(names)
    called = " or ".join(sorted(spelled))
    return called if spelled and len(spelled) <= _TOGETHER and is_name(called) else LABEL_NAMES[label]


SAMPLE = Path(__file__).with_name("sample.csv.gz")  # made by benchmarks/sample.py


def sample_rows() -> list[Labelled]:
    """The rows of the sample, mixed by a fixed seed: those that validate are no special part of it."""
    with gzip.open(SAMPLE, "rt", encoding="utf-8", newline="") as stream:
        read = [(row["text"], int(row["label"]), row["split"]) for row in csv.DictReader(stream)]
    rows = [Labelled(f"row-{k}", *each, "", 0) for k, each in enumerate(read)]
    return [rows[k] for k in np.random.RandomState(SHUFFLE_SEED).permutation(len(rows))]


# Test texts that are nearly equal to learnt ones are found by MinHash, then compared triple by triple.
NEAR_SHARE = 0.9  # of the different word triples of the text that has more of them
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
            if found[one] < 0 and share(texts[one], texts[other]) >= NEAR_SHARE:
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


_UNREAD = 0.2  # of the test reviews
_FEW = 10  # test reviews of a label
_USUAL = 3.0  # standard errors


def weak_test(content: Reviews) -> list[str]:
    """What to say of a dataset whose test tells little: unread, few of a label, or unlike the rest."""
    test, others = content.of("test"), content.label[content.split != "test"]
    found = []
    unread = float((test.n_tokens == 1).mean())  # the start marker alone
    if unread > _UNREAD:  # as ids or numbers would be
        share = f"{unread:.0%} of the test reviews share no word with any training review."
        found.append(f"{share} Is the column of texts right?")
    positive = int(test.label.sum())
    few = min(positive, len(test) - positive)
    if few < _FEW:
        label = content.label_names[few == positive]
        found.append(f"Of {len(test):,} test reviews only {few} are {label}: the test says little about these.")
    here, there, share = test.label.mean(), others.mean(), content.label.mean()
    error = np.sqrt(share * (1 - share) * (1 / len(test) + 1 / len(others)))
    if abs(here - there) > _USUAL * error:
        one = content.label_names[1]
        found.append(
            f"{here:.1%} of the test reviews are {one}, and {there:.1%} of the others: more than chance makes."
        )
    return found


def near_told(content: Reviews) -> str:
    """What to say where so many test reviews are nearly equal to learnt ones that the test is not honest."""
    pairs, tests = near_pairs(content), int((content.split == "test").sum())
    if len(pairs) <= _MANY * tests:
        return ""
    other = sum(content.label[one] != content.label[learnt] for one, learnt in pairs)
    share = f"{NEAR_SHARE:.0%} of their word triples"
    said = f"{len(pairs):,} of {tests:,} test reviews share {share} with learnt ones"
    return f"{said} ({other:,} of these have the other label)" if other else said


def warnings(table: Path) -> list[str]:
    """What to say of a prepared table whose test tells little; of nearly equal texts with two examples."""
    content = read(table)
    found = weak_test(content)
    if said := near_told(content):
        words, texts = read_vocabulary(table), of_test(table, "text")
        shown = [
            f'"{_short(texts[content.review_id[one]])}" with "{_short(words.decode(content.tokens[learnt], ""))}"'
            for one, learnt in near_pairs(content)[:_EXAMPLES]
        ]
        found.append(f"{said}: {'; '.join(shown)}. The test says little of new texts: keep one of such texts.")
    return found


def near_pairs(content: Reviews) -> list[tuple[int, int]]:
    """The places of test reviews and of learnt ones that they are nearly equal to."""
    if content.alike is None or not (ones := np.flatnonzero(content.alike != "").tolist()):
        return []
    places = {name: place for place, name in enumerate(content.review_id.tolist())}
    return [(one, places[content.alike[one]]) for one in ones]


def _short(text: str) -> str:
    line = printable(" ".join(text.split()))
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 3]}..."
