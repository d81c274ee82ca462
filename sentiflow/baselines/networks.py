"""The baselines that are networks."""

import random

import keras
import tensorflow as tf

from sentiflow.baselines import simple as models
from sentiflow.baselines.simple import TRAINING_PARAMS, FitInput, Fitted, Floats
from sentiflow.data.reviews import Reviews
from sentiflow.errors import UsageError
from sentiflow.training.network.loop import Diverged, Recorder, batches, run_epochs
from sentiflow.training.network.model import build as build_recipe
from sentiflow.training.network.model import embedding_layer, prepare_to_fit, score_layer, summary_of
from sentiflow.training.recipes import TrainConfig

_PER_WORD = (None, None, 1)  # noise shape: whole words are dropped


def build(name: str, config: TrainConfig, seed: int) -> keras.Model:
    """Build embeddings, gru or lstm, of about the size of the recipe's network; (n, any length) in, (n, 1) out.

    Padding is masked, whatever the recipe does.
    """
    params = TRAINING_PARAMS[name]
    source = random.Random(f"{name} {seed}")
    seeds = [source.getrandbits(31) for _ in range(6)]
    return keras.Sequential(
        [
            keras.Input((None,), dtype="int32", name="ids"),
            embedding_layer(config, seeds[0], mask_zero=True),
            keras.layers.Dropout(params.word_dropout, _PER_WORD, seed=seeds[1], name="word_dropout"),
            *_readers(name, units_of(name, config), seeds[2:4]),
            keras.layers.Dropout(params.dropout, seed=seeds[4], name="dropout"),
            score_layer(seeds[5]),
        ],
        name=name,
    )


def units_of(name: str, config: TrainConfig) -> int:
    """Units whose number of parameters is closest to one member of the recipe's network; the fewer of equals."""
    one = config.model_copy(update={"ensemble_size": 1})
    target = build_recipe(one).count_params() - config.vocabulary_size * config.embedding_size
    sizes = range(1, target // config.embedding_size + 2)  # a unit has at least a weight for each embedded number
    return min(sizes, key=lambda units: abs(_parameters(name, config.embedding_size, units) - target))


def _parameters(name: str, d: int, u: int) -> int:
    """Parameters after an embedding of size d, with u units; a gate has d u + u u weights and its biases."""
    reader = {
        "embeddings": d * u + u,
        "gru": 3 * (d * u + u * u + 2 * u),  # Keras's reset_after: a bias for the words, one for the state
        "lstm": 4 * (d * u + u * u + u),
    }
    return reader[name] + u + 1


def _readers(name: str, units: int, seeds: list[int]) -> list[keras.layers.Layer]:
    """The layers that turn a review into one vector."""
    kernel = keras.initializers.GlorotUniform(seed=seeds[0])
    if name == "embeddings":
        dense = keras.layers.Dense(units, activation="relu", kernel_initializer=kernel, name="dense")
        return [keras.layers.GlobalAveragePooling1D(name="mean"), dense]
    recurrent = keras.initializers.Orthogonal(seed=seeds[1])
    layer = {"gru": keras.layers.GRU, "lstm": keras.layers.LSTM}[name]
    return [layer(units, kernel_initializer=kernel, recurrent_initializer=recurrent, name=name)]


def fit(name: str, given: FitInput) -> Fitted:
    """Train embeddings, gru or lstm; the validation split chooses the epoch.

    The same input on the same machine gives the same weights: TensorFlow's operations are made deterministic for
    the whole process.
    """
    tf.config.experimental.enable_op_determinism()
    tf.random.set_seed(given.seed)
    params, config = TRAINING_PARAMS[name], given.config
    network = build(name, config, given.seed)
    optimizer = keras.optimizers.Adam(params.learning_rate, use_ema=True, ema_momentum=params.ema_momentum)
    # Without XLA, which would compile once per length.
    prepare_to_fit(network, optimizer, jit_compile=False)
    recorder = Recorder(len(given.training), models.epochs(name, config), given.on_epoch, given.progress)
    one = config.model_copy(update={"batch_size": params.batch_size, "ensemble_size": 1})
    learned, held_out = batches(given.training, one, mixed=given.seed), batches(given.validation, one)
    try:
        kept = run_epochs(network, learned, held_out, recorder, params.early_stopping_patience)
    except Diverged as err:
        raise UsageError(
            f"The baseline {name} diverged in epoch {recorder.epoch}.", "Leave it out: --only with the others."
        ) from err
    return Fitted(
        score=lambda reviews: scores_of(network, reviews, config),
        parameters=network.count_params(),
        val_loss=kept.val_loss,
        val_accuracy=kept.val_accuracy,
        found={"units": units_of(name, config)},
        summary=summary_of(network),
        history=tuple(recorder.history),
    )


def scores_of(network: keras.Model, reviews: Reviews, config: TrainConfig) -> Floats:
    """Score reviews, shape (n,)."""
    ids = reviews.padded(config.sequence_length, config.vocabulary_size)
    scores: Floats = network.predict(ids, batch_size=512, verbose=0)[:, 0].astype(float)
    return scores
