"""The network in stock Keras layers, and its weights as plain arrays."""

import io

import keras
import numpy as np

from sentiment.recipes import TrainConfig
from sentiment.scoring import Weights

_OPTIMIZERS = {
    "rmsprop": keras.optimizers.RMSprop,
    "adam": keras.optimizers.Adam,
    "sgd": keras.optimizers.SGD,
}


def build(config: TrainConfig) -> keras.Model:
    """Build and compile Embedding, SimpleRNN and a sigmoid unit; ids of shape (n, length) in, (n, 1) out.

    Padding is not masked: the recurrence reads the zeros in front like any other word.
    """
    network = keras.Sequential(
        [
            keras.Input((config.sequence_length,), dtype="int32", name="ids"),
            keras.layers.Embedding(config.vocabulary_size, config.embedding_size, name="embedding"),
            keras.layers.SimpleRNN(config.units, name="simple_rnn"),
            keras.layers.Dense(1, activation="sigmoid", name="score"),
        ],
        name="sentiment",
    )
    network.compile(
        optimizer=_OPTIMIZERS[config.optimizer](learning_rate=config.learning_rate),
        loss="binary_crossentropy",
        metrics=["accuracy"],
    )
    return network


def weights_of(network: keras.Model) -> Weights:
    """Copy the arrays out of a network made by ``build``."""
    embedding, recurrent, dense = (
        network.get_layer(name).get_weights() for name in ("embedding", "simple_rnn", "score")
    )
    return Weights(*(np.asarray(array, dtype=np.float32) for array in (*embedding, *recurrent, *dense)))


def summary_of(network: keras.Model) -> str:
    """Keras's table of layers, shapes and parameters, without the optimizer's own."""
    lines = io.StringIO()
    keras.models.clone_model(network).summary(print_fn=lambda line: lines.write(f"{line}\n"), line_length=80)
    return lines.getvalue()
