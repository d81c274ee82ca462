"""The base: a small network trained on the IMDB reviews, which trainings on other tables start from.

``python -m benchmarks.base`` makes its files; README.md beside it is its card.
"""

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sentiflow.scoring import TextScorer, Vocabulary, Weights

FILE = Path(__file__).with_name("base.npz")
LEARNT = "learnt.npy"  # beside it
WORDS, LENGTH, ACCURACY = "words", "sequence_length", "accuracy"


@dataclass(frozen=True)
class Base:
    """The base, with its accuracy on the 25,000 IMDB test reviews and the SHA-256 of its file."""

    scorer: TextScorer
    accuracy: float
    digest: str


def read(path: Path) -> Base:
    """Read a file as ``benchmarks.base`` writes it: embeddings in half precision, and only their words."""
    with np.load(path, allow_pickle=False) as file:
        found = dict(file)
    words, length, accuracy = (found.pop(name) for name in (WORDS, LENGTH, ACCURACY))
    wide = {name: value.astype(np.float32) if value.dtype.kind == "f" else value for name, value in found.items()}
    scorer = TextScorer(Weights.of_entries(wide), Vocabulary(words.tobytes().decode().split("\n")), int(length))
    return Base(scorer, float(accuracy), hashlib.sha256(path.read_bytes()).hexdigest())


@cache
def base() -> Base:
    return read(FILE)


@cache
def learnt() -> NDArray[np.uint64]:
    """Hashes of the words of the reviews that it learnt from, as the run of a training keeps them."""
    hashes: NDArray[np.uint64] = np.load(FILE.with_name(LEARNT), allow_pickle=False)
    return hashes
