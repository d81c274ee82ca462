"""The network in stock Keras layers, and its weights as plain arrays."""

import io
import random

import keras
import numpy as np

from sentiment.recipes import TrainConfig
from sentiment.scoring import Weights

_OPTIMIZERS = {
    "rmsprop": keras.optimizers.RMSprop,
    "adam": keras.optimizers.Adam,
    "sgd": keras.optimizers.SGD,
}


def build(config: TrainConfig, seed: int = 0) -> keras.Model:
    """Build Embedding, SimpleRNN and a sigmoid unit; ids of shape (n, length) in, (n, 1) out.

    Without ``mask_zero`` the recurrence reads the zeros in front like any other word. The first weights are drawn
    as Keras draws them, but from seeds of their own: its global one is any thread's to disturb.
    """
    source = random.Random(seed)
    seeds = [source.getrandbits(31) for _ in range(4)]
    recurrent = {
        "orthogonal": keras.initializers.Orthogonal(config.recurrent_gain, seed=seeds[2]),
        "identity": keras.initializers.Identity(config.recurrent_gain),
    }
    return keras.Sequential(
        [
            keras.Input((config.sequence_length,), dtype="int32", name="ids"),
            keras.layers.Embedding(
                config.vocabulary_size,
                config.embedding_size,
                embeddings_initializer=keras.initializers.RandomUniform(seed=seeds[0]),
                mask_zero=config.mask_zero,
                name="embedding",
            ),
            keras.layers.SimpleRNN(
                config.units,
                kernel_initializer=keras.initializers.GlorotUniform(seed=seeds[1]),
                recurrent_initializer=recurrent[config.recurrent_initializer],
                name="simple_rnn",
            ),
            keras.layers.Dense(
                1,
                activation="sigmoid",
                kernel_initializer=keras.initializers.GlorotUniform(seed=seeds[3]),
                name="score",
            ),
        ],
        name="sentiment",
    )


def optimizer(config: TrainConfig, steps: int) -> keras.optimizers.Optimizer:
    """Make the recipe's optimizer for a training of so many steps in all."""
    rate: float | keras.optimizers.schedules.LearningRateSchedule = config.learning_rate
    if config.learning_rate_schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(config.learning_rate, steps)
    made = _OPTIMIZERS[config.optimizer](
        learning_rate=rate,
        global_clipnorm=config.clip_norm or None,
        use_ema=config.ema_momentum > 0,
        ema_momentum=config.ema_momentum,
        weight_decay=config.weight_decay or None,
    )
    if config.weight_decay:  # of the embedding alone: the recurrence needs its size to remember
        made.exclude_from_weight_decay(var_names=["kernel", "bias"])
    return made


def weights_of(network: keras.Model) -> Weights:
    """Copy the arrays out of a network made by ``build``."""
    layers = (network.get_layer(name).get_weights() for name in ("embedding", "simple_rnn", "score"))
    embedding, kernel, recurrent, bias, dense, dense_bias = (
        np.asarray(array, dtype=np.float32) for layer in layers for array in layer
    )
    mask_zero = bool(network.get_layer("embedding").mask_zero)
    return Weights(embedding, kernel, recurrent, bias, dense, dense_bias, mask_zero)


def summary_of(network: keras.Model) -> str:
    """Keras's table of layers, shapes and parameters."""
    lines = io.StringIO()
    network.summary(print_fn=lambda line: lines.write(f"{line}\n"), line_length=80)
    return lines.getvalue()
