"""From texts to scores, and how the score of one text changes from word to word."""

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .forward import Floats, Ids, Network, ignore, mean_score
from .ngrams import NGrams, Tokens
from .own import FILE, OwnNetwork
from .vocabulary import FILTERED, FIRST_WORD, OUT_OF_VOCABULARY, START, Vocabulary, pad
from .weights import Weights

READ, RARE, UNKNOWN, CUT = "read", "rare", "unknown", "cut"


@dataclass(frozen=True)
class Word:
    """One word of a text, as the tokeniser made it."""

    text: str
    status: str  # read, rare (as the one id of all such words), or left out: unknown to the dataset, cut in front
    score: float  # after the word, 0 to 1
    change: float  # what it added to the score; 0 when it was left out


@dataclass(frozen=True)
class Attribution:
    """How a score came about."""

    start: float  # score before the first word: padding and start marker have been read
    score: float  # after the last word; the text's score
    words: tuple[Word, ...]  # in the order of the text; ``start`` and their changes add up to ``score``


FORMAT = 4  # of the files below; 3 had no names of labels
OWN_FORMAT = 5  # with a Keras model in place of the weights
NGRAMS_FORMAT = 6  # with n-grams beside the weights
READ_FORMATS = (3, FORMAT, OWN_FORMAT, NGRAMS_FORMAT)
WEIGHTS = "weights.npz"
NGRAMS = "ngrams.npz"
VOCABULARY = "vocabulary.json"
CONFIG = "scorer.json"

MAX_LENGTH = 5_000  # ids read of a text: the most that a recipe may ask for

THRESHOLD = 0.5  # as Keras's accuracy: a score above it is positive, a score on it is not

NEUTRAL = "neutral"
LABEL_NAMES = ("negative", "positive")
"""What 0 and 1 are called where the training table does not say."""

MAX_NAME = 60  # characters of a label's name
_IN_NO_WORD = re.compile(f"[ {re.escape(FILTERED)}]")
_JOINERS = "\u200c\u200d"  # within words of Persian, and emoji

_BATCH = 4_096  # texts padded at a time: 8 MB of ids at length 500, however many texts there are


class NewerFormatError(ValueError):
    """Files that only a later version of Sentiflow can read."""


def is_positive(scores: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which scores say positive."""
    return scores > THRESHOLD


def is_name(text: object) -> bool:
    """Whether answers may call a label so: 1 to ``MAX_NAME`` characters, none of which controls a terminal."""
    if not isinstance(text, str) or not 0 < len(text) <= MAX_NAME:
        return False
    return all(each.isprintable() or each in _JOINERS for each in text)


@dataclass(frozen=True)
class TextScorer:
    """Tokeniser, vocabulary, padding and network in one."""

    weights: Weights | OwnNetwork
    vocabulary: Vocabulary  # every word that has a rank, also those beyond ``weights``' size
    sequence_length: int  # ids read of each text, its last ones
    label_names: tuple[str, str] = LABEL_NAMES  # what 0 and 1 are called in answers
    format: int = FORMAT  # of its files; the digest of 3 is without the names of labels
    ngrams: NGrams | None = None  # which add to the log-odds of each network
    neutral: tuple[float, float] | None = None  # a score above the first and up to the second is that, if asked

    @cached_property
    def network(self) -> Network | OwnNetwork:
        """The weights made ready to read with, at the first call."""
        return self.weights if isinstance(self.weights, OwnNetwork) else Network(self.weights)

    @property
    def arrays(self) -> Weights:
        """The weights of a stock network; a ValueError for a model of a user's own."""
        if isinstance(self.weights, Weights):
            return self.weights
        raise ValueError("a model of one's own has no arrays of a recipe")

    def known_rows(self, words: Vocabulary, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Ids below ``size`` in another vocabulary of words that have an embedding here, and here; each (k,)."""
        top = len(self.arrays.embedding)
        pairs = [
            (there, here)
            for there, word in enumerate(words.words[: size - FIRST_WORD], FIRST_WORD)
            if (here := self.vocabulary.id_of(word)) is not None and here < top
        ]
        marks = [(i, i) for i in range(FIRST_WORD)]  # padding, start marker, unknown words
        theirs, own = np.array([*marks, *pairs], dtype=np.int64).T
        return theirs, own

    @property
    def parameters(self) -> int:
        """Trained numbers."""
        return self.weights.parameters + (0 if self.ngrams is None else len(self.ngrams.keys))

    @property
    def explains(self) -> bool:
        """Whether ``explain`` can tell how a score comes about: not with a model of a user's own."""
        return isinstance(self.weights, Weights)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all that an answer depends on: weights, words, length and names of labels; see ``format``."""
        return self._digest(self.format)

    def has_digest(self, digest: str | None) -> bool:
        """Whether a digest that any version of Sentiflow wrote is of these weights and words."""
        return any(digest == self._digest(form) for form in (3, FORMAT))

    def _digest(self, form: int) -> str:
        begin = f"{self.sequence_length}\n" if form < 4 else json.dumps([self.sequence_length, *self.label_names])
        state = hashlib.sha256(begin.encode())
        state.update("\n".join(self.vocabulary.words).encode())
        beside = {} if self.ngrams is None else self.ngrams.entries()
        for name, value in [*self.weights.entries().items(), *beside.items()]:
            state.update(name.encode() + np.ascontiguousarray(value).tobytes())
        if self.neutral is not None:
            state.update(json.dumps(self.neutral).encode())
        return state.hexdigest()

    def score(
        self, texts: Sequence[str], threads: int | None = None, advance: Callable[[int], object] = ignore
    ) -> NDArray[np.float64]:
        """Score texts from 0 to 1, the probability of label 1; a text without any known word is read as empty.

        By default, a thread a core works; ``advance`` is as in ``Network.score``; shape (texts,).

        Raises:
            TypeError: an item is not a string, or one bare string stands where a list of them should.
        """
        if isinstance(texts, str):
            raise TypeError("expected a list of texts, got one text")
        wrong = [text for text in texts if not isinstance(text, str)]
        if wrong:
            raise TypeError(f"expected texts, got {type(wrong[0]).__name__}: {str(wrong[0])[:60]}")
        batches = [np.empty(0)]
        for start in range(0, len(texts), _BATCH):
            ids = [self.vocabulary.encode(text) for text in texts[start : start + _BATCH]]
            batches.append(self.score_ids(ids, threads, advance))
        return np.concatenate(batches)

    def score_ids(
        self, texts: Tokens, threads: int | None = None, advance: Callable[[int], object] = ignore
    ) -> Floats:
        """Score whole texts given as ids of the vocabulary, each with its start marker; as ``score``."""
        padded = pad(texts, self.sequence_length, self.weights.size)
        if self.ngrams is None or isinstance(self.network, OwnNetwork):
            return self.network.score(padded, threads, advance)
        return self.ngrams.scores(self.network.log_odds(padded, threads, advance), texts)

    def label_of(self, score: float, *, with_neutral: bool = False) -> str:
        """The name of the label that a score stands for; with neutral as a third one if the model has it."""
        if with_neutral and self.neutral is not None and self.neutral[0] < score <= self.neutral[1]:
            return NEUTRAL
        return self.label_names[int(score > THRESHOLD)]

    def explain(self, text: str) -> Attribution:
        """Tell how a text's score comes about, word by word; its last score is what ``score`` says, to 1e-12.

        Raises:
            ValueError: the model is a user's own.
        """
        if isinstance(self.network, OwnNetwork):
            raise ValueError("the scores of a model of one's own are not explained word by word")
        words = self.vocabulary.tokenize(text)
        ids = [self.vocabulary.id_of(word) for word in words]  # None where there is none
        known = [START, *(i for i in ids if i is not None)]
        row = pad([known], self.sequence_length, self.weights.size)[0]
        shares = np.zeros(len(known)) if self.ngrams is None else self.ngrams.shares(known)
        # Of each known id where the row has it, below 0 if it was cut.
        places = self.sequence_length - len(known) + np.arange(len(known))
        log_odds = self.network.steps(row)[:, np.maximum(places + 1, 0)]  # (members, known)
        if self.ngrams is not None:
            log_odds = self.ngrams.network * log_odds + self.ngrams.constant + np.cumsum(shares)
        scores = mean_score(log_odds).tolist()
        start = score = scores[0]
        entries, at = [], 0
        for word, i in zip(words, ids, strict=True):
            before = score
            if i is None:
                status = UNKNOWN
            else:
                at += 1
                status, score = self._status(row, int(places[at]), bool(shares[at])), scores[at]
            entries.append(Word(word, status, score, score - before))
        return Attribution(start, score, tuple(entries))

    @staticmethod
    def _status(row: Ids, place: int, in_ngrams: bool) -> str:
        if in_ngrams or (place >= 0 and row[place] != OUT_OF_VOCABULARY):
            return READ
        return RARE if place >= 0 else CUT

    def save(self, folder: Path) -> dict[str, Path]:
        """Write the scorer's files into an existing folder; returns them by name."""
        weights, own = WEIGHTS, {}
        if isinstance(self.weights, OwnNetwork):
            weights, own = FILE, {"format": OWN_FORMAT, "vocabulary_size": self.weights.size}
        elif self.ngrams is not None:
            own = {"format": NGRAMS_FORMAT}
            self.ngrams.save(folder / NGRAMS)
        config: dict[str, Any] = {
            "format": FORMAT,
            "sentiflow": version("sentiflow"),
            "sequence_length": self.sequence_length,
            "label_names": self.label_names,
            **({} if self.neutral is None else {"neutral": self.neutral}),
            **own,
        }
        self.weights.save(folder / weights)
        (folder / VOCABULARY).write_text(json.dumps(self.vocabulary.words, ensure_ascii=False), encoding="utf-8")
        (folder / CONFIG).write_text(json.dumps(config), encoding="utf-8")
        names = (weights, VOCABULARY, CONFIG, *([NGRAMS] if self.ngrams is not None else []))
        return {Path(name).stem: folder / name for name in names}

    @classmethod
    def load(cls, folder: Path) -> "TextScorer":
        """Read what ``save`` wrote.

        Raises:
            NewerFormatError: a later version of Sentiflow wrote them.
            ValueError: the files are damaged, of a format before 3, or do not fit together.
        """
        config = _read_json(folder / CONFIG)
        form = config.get("format") if isinstance(config, dict) else config
        if type(form) is not int or form not in READ_FORMATS:
            known = f"scorer format {form!r:.60}, this Sentiflow reads {READ_FORMATS[0]} to {READ_FORMATS[-1]}"
            if type(form) is int and form > READ_FORMATS[-1]:
                raise NewerFormatError(f"{folder}: {known}; written by Sentiflow {config.get('sentiflow')!s:.60}")
            raise ValueError(f"{folder}: {known}")
        length = config.get("sequence_length")
        if type(length) is not int or not 1 <= length <= MAX_LENGTH:
            raise ValueError(f"{folder}: sequence_length must be from 1 to {MAX_LENGTH:,}, got {length!r:.60}")
        names = config.get("label_names") if form >= 4 else [*LABEL_NAMES]
        if not isinstance(names, list) or len(names) != 2 or not all(map(is_name, names)) or names[0] == names[1]:
            raise ValueError(f"{folder}: label_names must be two different names, got {names!r:.160}")
        neutral = config.get("neutral")
        if neutral is not None and not _are_limits(neutral):
            raise ValueError(f"{folder}: neutral must be two limits around {THRESHOLD}, got {neutral!r:.60}")
        words = _read_json(folder / VOCABULARY)
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise ValueError(f"{folder / VOCABULARY}: expected a list of words")
        if found := _IN_NO_WORD.search("".join(words)):  # a digest would not show where words begin and end
            raise ValueError(f"{folder / VOCABULARY}: no word has the character {found[0]!r}")
        "".join(words).encode()  # a UnicodeEncodeError, which is a ValueError, for half of a surrogate pair
        weights: Weights | OwnNetwork
        if form == OWN_FORMAT:
            size = config.get("vocabulary_size")
            if type(size) is not int or size <= OUT_OF_VOCABULARY:
                raise ValueError(f"{folder}: vocabulary_size must be larger than 2, got {size!r:.60}")
            weights = OwnNetwork((folder / FILE).read_bytes(), size)
        else:
            weights = Weights.load(folder / WEIGHTS)
        ngrams = NGrams.load(folder / NGRAMS) if form == NGRAMS_FORMAT else None
        return cls(weights, Vocabulary(words), length, (names[0], names[1]), form, ngrams, neutral and (*neutral,))


def _are_limits(found: object) -> bool:
    if not isinstance(found, list) or len(found) != 2 or not all(type(each) is float for each in found):
        return False
    return bool(0 <= found[0] <= THRESHOLD <= found[1] <= 1)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, MemoryError) as err:
        raise ValueError(f"{path}: damaged: {str(err) or type(err).__name__}") from err
