"""Make the base that the package carries: ``python -m benchmarks.base``.

It trains on the training split of the IMDB reviews alone, some two minutes on two cores, and writes
``sentiflow/base/base.npz``, and ``learnt.npy`` beside it. The same code and packages on the same machine give the
same files, bit for bit.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

from sentiflow.base import model as base
from sentiflow.console import progress_bar
from sentiflow.data import reviews
from sentiflow.data.division import BY_WORDS, word_hash
from sentiflow.data.prepare import fetch, prepare
from sentiflow.data.reviews import Reviews
from sentiflow.evaluation.metrics import measure
from sentiflow.scoring import TextScorer, Vocabulary
from sentiflow.scoring.vocabulary import FIRST_WORD
from sentiflow.settings import load_settings
from sentiflow.training.recipes import LARGE, TrainConfig

# As `large`, but for what makes it small; which words and shapes transfer best: docs/own-tables.md.
RECIPE = LARGE.model_copy(
    update={"recipe": "base", "ensemble_size": 2, "vocabulary_size": 15_000, "global_clipnorm": 1.5}
)


def main(path: Path = base.FILE, recipe: TrainConfig = RECIPE) -> None:
    """Train the base and write its file."""
    from sentiflow.training.network import loop as training
    from sentiflow.training.network.model import weights_of

    settings = load_settings()
    table = prepare(fetch("imdb", settings, progress_bar), settings, progress_bar).table
    content = reviews.read(table)
    learnt, held_out = content.learning_splits(recipe.validation_fraction)
    trained = training.train(learnt, held_out, recipe, 0, progress=progress_bar)
    scorer = TextScorer(weights_of(trained.network), reviews.read_vocabulary(table), recipe.sequence_length)
    save(scorer, 0.0, path)
    save_learnt(content.of("train"), scorer.vocabulary, path.with_name(base.LEARNT))
    test = content.of("test")  # by the half-precision embeddings of the file
    half = base.read(path).scorer
    scores = half.network.score(test.padded(recipe.sequence_length, recipe.vocabulary_size))
    save(scorer, measure(test.label, scores).accuracy, path)
    made = base.read(path)
    sys.stdout.write(
        f"{path}: {path.stat().st_size:,} bytes, {made.accuracy:.2%} on the test split, {made.digest}\n"
    )


def save(scorer: TextScorer, accuracy: float, path: Path) -> None:
    """Write a base as one file: embeddings in half precision, and only the words that they stand for."""
    entries: dict[str, Any] = {
        name: value.astype(np.float16) if name.endswith("embedding") else value
        for name, value in scorer.weights.entries().items()
    }
    known = scorer.vocabulary.words[: len(scorer.weights.embedding) - FIRST_WORD]
    entries[base.WORDS] = np.frombuffer("\n".join(known).encode(), np.uint8)
    entries[base.LENGTH], entries[base.ACCURACY] = np.array(scorer.sequence_length), np.array(accuracy)
    np.savez_compressed(path, **entries)


def save_learnt(reviews: Reviews, words: Vocabulary, path: Path) -> None:
    """Write by which hashes reviews are known again as texts: each word of a training review has an id."""
    hashes = {word_hash(words.decode(ids, unknown="")) for ids in reviews.tokens}
    np.save(path, np.union1d(np.array([*hashes], np.uint64), [BY_WORDS]))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
