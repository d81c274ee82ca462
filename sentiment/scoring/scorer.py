"""A trained model that reads raw text."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .forward import Network
from .reading import Reading, read
from .sequences import pad
from .vocabulary import Vocabulary
from .weights import Weights

FORMAT = 3  # of the three files below; a reader refuses what it does not know
_READABLE = (2, FORMAT)  # 2 knew one direction and the last state alone
WEIGHTS = "weights.npz"
VOCABULARY = "vocabulary.json"
CONFIG = "scorer.json"

MAX_LENGTH = 5_000  # ids read of a text: the most that a recipe may ask for

THRESHOLD = 0.5  # as Keras's accuracy: a score above it is positive, a score on it is not

_BATCH = 4_096  # texts padded at a time: 8 MB of ids at length 500, however many texts there are


def is_positive(scores: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which scores say positive."""
    return scores > THRESHOLD


def label_of(score: float) -> str:
    """The word for one score: positive or negative."""
    return "positive" if score > THRESHOLD else "negative"


@dataclass(frozen=True)
class TextScorer:
    """Tokeniser, vocabulary, padding and network in one.

    Attributes:
        weights: the trained arrays.
        vocabulary: every word that has a rank, also those beyond ``weights``' rows.
        sequence_length: ids read of each text, its last ones.
    """

    weights: Weights
    vocabulary: Vocabulary
    sequence_length: int

    @cached_property
    def network(self) -> Network:
        """The weights made ready to read with, at the first call."""
        return Network(self.weights)

    def score(self, texts: Sequence[str], threads: int | None = None) -> NDArray[np.float64]:
        """Score texts from 0 (negative) to 1 (positive); a text without any known word is read as empty.

        Args:
            texts: raw.
            threads: how many may work at once; by default one a core.

        Returns:
            Shape (texts,).

        Raises:
            TypeError: an item is not a string, or one bare string stands where a list of them should.
        """
        if isinstance(texts, str):
            raise TypeError("expected a list of texts, got one text")
        wrong = [text for text in texts if not isinstance(text, str)]
        if wrong:
            raise TypeError(f"expected texts, got {type(wrong[0]).__name__}: {str(wrong[0])[:60]}")
        batches = [self._score(texts[i : i + _BATCH], threads) for i in range(0, len(texts), _BATCH)]
        return np.concatenate(batches) if batches else np.empty(0)

    def explain(self, text: str) -> Reading:
        """Tell how a text's score comes about, word by word; its last score is what ``score`` says, to 1e-12."""
        return read(self.network, self.vocabulary, self.sequence_length, text)

    def _score(self, texts: Sequence[str], threads: int | None) -> NDArray[np.float64]:
        vocabulary_size = self.weights.embedding.shape[0]
        ids = pad([self.vocabulary.encode(text) for text in texts], self.sequence_length, vocabulary_size)
        return self.network.score(ids, threads)

    def save(self, folder: Path) -> dict[str, Path]:
        """Write the scorer as three files into an existing folder; returns them by name."""
        config: dict[str, Any] = {"format": FORMAT, "sequence_length": self.sequence_length}
        self.weights.save(folder / WEIGHTS)
        (folder / VOCABULARY).write_text(json.dumps(self.vocabulary.words, ensure_ascii=False), encoding="utf-8")
        (folder / CONFIG).write_text(json.dumps(config), encoding="utf-8")
        return {Path(name).stem: folder / name for name in (WEIGHTS, VOCABULARY, CONFIG)}

    @classmethod
    def load(cls, folder: Path) -> "TextScorer":
        """Read what ``save`` wrote.

        Raises:
            ValueError: the files are damaged, of another format, or do not fit together.
            OSError: a file is missing.
        """
        config = _read_json(folder / CONFIG)
        if not isinstance(config, dict) or config.get("format") not in _READABLE:
            found = config.get("format") if isinstance(config, dict) else config
            readable = " and ".join(map(str, _READABLE))
            raise ValueError(f"{folder}: scorer format {found!r:.60}, this code reads {readable}")
        length = config.get("sequence_length")
        if type(length) is not int or not 1 <= length <= MAX_LENGTH:
            raise ValueError(f"{folder}: sequence_length must be from 1 to {MAX_LENGTH:,}, got {length!r:.60}")
        words = _read_json(folder / VOCABULARY)
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise ValueError(f"{folder / VOCABULARY}: expected a list of words")
        "".join(words).encode()  # a UnicodeEncodeError, which is a ValueError, for half of a surrogate pair
        return cls(Weights.load(folder / WEIGHTS), Vocabulary(words), length)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, MemoryError) as err:
        raise ValueError(f"{path}: damaged: {str(err) or type(err).__name__}") from err
