"""Rows to train on: which are kept, which of them test, and how they become reviews.

The words of each text alone decide: however a user's table grows, is sorted, is put into several files or is
written with other capitals, punctuation, quotes, emoji or markup, none changes sides.
"""

import csv
import gzip
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sentiflow.data import near
from sentiflow.data.imdb import SHUFFLE_SEED
from sentiflow.data.reviews import Reviews
from sentiflow.data.rows import by_label
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

    A split that a table gives is kept; of tables without one the texts with a hash below a threshold test.
    """
    rows = list(rows)
    if not rows:
        return rows, ["there are no rows to train on"]
    if problem := _one_label("the table", rows):
        return rows, [problem]
    given = any(row.split for row in rows)
    below = int(TEST_SHARE * 2 ** (4 * _DIGITS))
    by_hash = ["test" if row.words < below else "train" for row in rows]
    rows = [row if row.split else row._replace(split=split) for row, split in zip(rows, by_hash, strict=True)]
    if given:
        named = ((split, [row for row in rows if row.split == split]) for split in ("train", "test"))
        return rows, [problem for split, part in named if (problem := _one_label(f"the {split} split", part))]
    few = []
    for label in (0, 1):
        splits = [row.split for row in rows if row.label == label]
        if len(set(splits)) < 2:
            few.append(f"{splits.count('train')} of label {label} train, {splits.count('test')} test")
    why = f"too few different texts to set some aside for a test: {'; '.join(few)}"
    return rows, [f"{why}; is {text_column} the column of the texts?"] if few else []


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
    nearest = near.nearest_learnt(texts, (split == "test") & (words > 0))  # the sample's have no hash
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
