"""The baselines that are networks, in stock Keras layers."""

import random

import keras

from sentiment.baselines.effort import EFFORTS
from sentiment.model import build as build_recipe
from sentiment.recipes import TrainConfig

_PER_WORD = (None, None, 1)  # a word is left out as a whole


def build(name: str, config: TrainConfig, seed: int) -> keras.Model:
    """Build a network of like size to the recipe's; ids of shape (n, any length) in, (n, 1) out.

    Padding is left out wherever it stands, whatever the recipe does.

    Args:
        name: embeddings, gru or lstm.
        config: the recipe that it is held against.
        seed: of the first weights, and of what is left out while training.
    """
    effort = EFFORTS[name]
    source = random.Random(f"{name} {seed}")
    seeds = [source.getrandbits(31) for _ in range(6)]
    return keras.Sequential(
        [
            keras.Input((None,), dtype="int32", name="ids"),
            keras.layers.Embedding(
                config.vocabulary_size,
                config.embedding_size,
                embeddings_initializer=keras.initializers.RandomUniform(seed=seeds[0]),
                mask_zero=True,
                name="embedding",
            ),
            keras.layers.Dropout(effort.word_dropout, _PER_WORD, seed=seeds[1], name="word_dropout"),
            *_readers(name, units_of(name, config), seeds[2:4]),
            keras.layers.Dropout(effort.dropout, seed=seeds[4], name="dropout"),
            keras.layers.Dense(
                1,
                activation="sigmoid",
                kernel_initializer=keras.initializers.GlorotUniform(seed=seeds[5]),
                name="score",
            ),
        ],
        name=name,
    )


def units_of(name: str, config: TrainConfig) -> int:
    """Units that bring the parameters nearest to those of one member of the recipe's; the fewer of equals."""
    one = config.model_copy(update={"members": 1})
    target = build_recipe(one).count_params() - config.vocabulary_size * config.embedding_size
    size, best = 1, 1
    while _parameters(name, config.embedding_size, size) <= target:
        best, size = size, size + 1
    distances = {units: abs(_parameters(name, config.embedding_size, units) - target) for units in (best, size)}
    return min(distances, key=distances.__getitem__)


def _parameters(name: str, d: int, u: int) -> int:
    """Parameters behind an embedding of size d, with u units; a gate has d u + u u weights and its biases."""
    reader = {
        "embeddings": d * u + u,
        "gru": 3 * (d * u + u * u + 2 * u),  # Keras's reset_after: a bias for the words, one for the state
        "lstm": 4 * (d * u + u * u + u),
    }
    return reader[name] + u + 1


def _readers(name: str, units: int, seeds: list[int]) -> list[keras.layers.Layer]:
    """The layers that make one vector of a review."""
    kernel = keras.initializers.GlorotUniform(seed=seeds[0])
    if name == "embeddings":
        dense = keras.layers.Dense(units, activation="relu", kernel_initializer=kernel, name="dense")
        return [keras.layers.GlobalAveragePooling1D(name="mean"), dense]
    recurrent = keras.initializers.Orthogonal(seed=seeds[1])
    layer = {"gru": keras.layers.GRU, "lstm": keras.layers.LSTM}[name]
    return [layer(units, kernel_initializer=kernel, recurrent_initializer=recurrent, name=name)]
