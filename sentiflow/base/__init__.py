"""The base: a small network trained on the IMDB reviews, which trainings on other tables start from.

``python -m benchmarks.base`` makes its file; README.md beside it is its card.
"""

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from sentiflow.scoring import TextScorer, Vocabulary, Weights
from sentiflow.scoring.vocabulary import FIRST_WORD

FILE = Path(__file__).with_name("base.npz")
_WORDS, _LENGTH, _ACCURACY = "words", "sequence_length", "accuracy"


@dataclass(frozen=True)
class Base:
    """The base, with its accuracy on the 25,000 IMDB test reviews and the SHA-256 of its file."""

    scorer: TextScorer
    accuracy: float
    digest: str


def save(scorer: TextScorer, accuracy: float, path: Path) -> None:
    """Write a base as one file: embeddings in half precision, and only the words that they stand for."""
    entries: dict[str, Any] = {
        name: value.astype(np.float16) if name.endswith("embedding") else value
        for name, value in scorer.weights.entries().items()
    }
    known = scorer.vocabulary.words[: len(scorer.weights.embedding) - FIRST_WORD]
    entries[_WORDS] = np.frombuffer("\n".join(known).encode(), np.uint8)
    entries[_LENGTH], entries[_ACCURACY] = np.array(scorer.sequence_length), np.array(accuracy)
    np.savez_compressed(path, **entries)


def read(path: Path) -> Base:
    """Read what ``save`` wrote."""
    with np.load(path, allow_pickle=False) as file:
        found = dict(file)
    words, length, accuracy = (found.pop(name) for name in (_WORDS, _LENGTH, _ACCURACY))
    wide = {name: value.astype(np.float32) if value.dtype.kind == "f" else value for name, value in found.items()}
    scorer = TextScorer(Weights.of_entries(wide), Vocabulary(words.tobytes().decode().split("\n")), int(length))
    return Base(scorer, float(accuracy), hashlib.sha256(path.read_bytes()).hexdigest())


@cache
def base() -> Base:
    """The one that the package carries."""
    return read(FILE)


def load_base() -> TextScorer:
    """The packaged base as it scores texts."""
    return base().scorer
