"""The network in stock Keras layers, its weights as plain arrays, and first weights from another network.

Words of two networks are matched by their text.
"""

import io
import random
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from sentiflow.data.reviews import Reviews
from sentiflow.errors import UsageError
from sentiflow.scoring import Network, NGrams, TextScorer, Vocabulary, Weights
from sentiflow.scoring.weights import ARRAYS
from sentiflow.training.recipes import TrainConfig

# A program that imported Keras before may have done so with a keras.json, or with variables that it removed.
if keras.config.backend() != "tensorflow":
    raise UsageError(f"Keras was imported with the backend {keras.config.backend()}.", "Import Sentiflow first.")
keras.config.set_floatx("float32")
keras.config.set_dtype_policy("float32")
keras.config.set_epsilon(1e-7)
keras.config.set_image_data_format("channels_last")  # means over the steps, too
keras.config.set_max_epochs(None)
keras.config.set_max_steps_per_epoch(None)

_OPTIMIZERS = {"rmsprop": keras.optimizers.RMSprop, "adam": keras.optimizers.Adam, "sgd": keras.optimizers.SGD}


def build(config: TrainConfig, seed: int = 0) -> keras.Model:
    """Build Embedding, SimpleRNN, perhaps a mean, and a sigmoid unit; ids of shape (n, length) in, (n, 1) out.

    Several members are as many of these, each with first weights of its own, and the mean of their scores.

    Without ``mask_zero`` the recurrence reads the zeros in front like any other word. The first weights are drawn
    as Keras draws them, but from seeds of their own: its global one is any thread's to disturb.
    """
    source = random.Random(seed)
    if config.ensemble_size == 1:
        return _member(config, source, "sentiment")
    ids = keras.Input((config.sequence_length,), dtype="int32", name="ids")
    members = [_member(alone, source, f"member_{k}") for k, alone in enumerate(_each(config), start=1)]
    mean = keras.layers.Average(name="mean_of_members")([member(ids) for member in members])
    return keras.Model(ids, mean, name="sentiment")


def _each(config: TrainConfig) -> list[TrainConfig]:
    """What each member is; with mixed pooling the first has the mean, the second the last state, and so on."""
    turns = ("mean", "last") if config.pooling == "mixed" else (config.pooling,)
    return [config.model_copy(update={"pooling": turns[k % len(turns)]}) for k in range(config.ensemble_size)]


def _member(config: TrainConfig, source: random.Random, name: str) -> keras.Sequential:
    seeds = [source.getrandbits(31) for _ in range(6)]
    sizes, words = (config.vocabulary_size, config.embedding_size), keras.initializers.RandomUniform(seed=seeds[0])
    last = keras.initializers.GlorotUniform(seed=seeds[3])
    layers = [
        keras.Input((config.sequence_length,), dtype="int32", name="ids"),
        keras.layers.Embedding(*sizes, embeddings_initializer=words, mask_zero=config.mask_zero, name="embedding"),
        _recurrence(config, seeds[1], seeds[2], seeds[4:]),
        *([keras.layers.GlobalAveragePooling1D(name="mean")] if config.pooling == "mean" else []),
        keras.layers.Dense(1, activation="sigmoid", kernel_initializer=last, name="score"),
    ]
    return keras.Sequential(layers, name=name)


def _recurrence(config: TrainConfig, kernel: int, recurrent: int, backward: list[int]) -> keras.Layer:
    forward = _simple_rnn(config, "simple_rnn", kernel, recurrent)
    if not config.bidirectional:
        return forward
    # Keras would draw the backward layer's first weights from the forward layer's seeds: the same numbers twice.
    other = _simple_rnn(config, "backward_simple_rnn", *backward, go_backwards=True)
    return keras.layers.Bidirectional(forward, backward_layer=other, name="simple_rnn")


def _simple_rnn(config: TrainConfig, name: str, kernel: int, recurrent: int, **options: bool) -> keras.Layer:
    initializers = {
        "orthogonal": keras.initializers.Orthogonal(config.recurrent_init_scale, seed=recurrent),
        "identity": keras.initializers.Identity(config.recurrent_init_scale),
    }
    return keras.layers.SimpleRNN(
        config.units,
        kernel_initializer=keras.initializers.GlorotUniform(seed=kernel),
        recurrent_initializer=initializers[config.recurrent_initializer],
        return_sequences=config.pooling == "mean",
        name=name,
        **options,
    )


def optimizer(config: TrainConfig, steps: int | tf.Variable) -> keras.optimizers.Optimizer:
    """Make the recipe's optimizer for a training of ``steps`` steps in all."""
    rate: float | keras.optimizers.schedules.LearningRateSchedule = config.learning_rate
    if config.learning_rate_schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(config.learning_rate, steps)
    made = _OPTIMIZERS[config.optimizer](
        learning_rate=rate,
        global_clipnorm=config.global_clipnorm or None,
        use_ema=config.ema_momentum > 0,
        ema_momentum=config.ema_momentum,
        weight_decay=config.embedding_weight_decay or None,
    )
    if config.embedding_weight_decay:  # of the embedding alone: the recurrence needs its size to remember
        made.exclude_from_weight_decay(var_names=["kernel", "bias"])
    return made


def prepare_to_fit(network: keras.Model, by: keras.optimizers.Optimizer, **options: Any) -> None:
    """Compile a built network, with further options of Keras, and make the variables of its optimizer and metrics.

    Keras would make them within the first step of ``fit``, for which TensorFlow then traces that step twice.
    """
    network.compile(by, "binary_crossentropy", metrics=["accuracy"], **options)
    by.build(network.trainable_variables)
    network.compute_metrics(None, np.zeros((1, 1), np.float32), np.zeros((1, 1), np.float32))


def members_of(network: keras.Model) -> list[keras.Sequential]:
    """The networks whose scores a network made by ``build`` averages: itself, if it has no members."""
    if isinstance(network, keras.Sequential):
        return [network]
    return [layer for layer in network.layers if isinstance(layer, keras.Sequential)]


def directions_of(member: keras.Sequential) -> list[keras.layers.SimpleRNN]:
    """The recurrent layers of a member: one, or one forwards and one backwards."""
    layer = member.get_layer("simple_rnn")
    if isinstance(layer, keras.layers.Bidirectional):
        return [layer.forward_layer, layer.backward_layer]
    return [layer]


def weights_of(network: keras.Model) -> Weights:
    """Copy the arrays out of a network made by ``build``."""
    return Weights.together(_weights_of(member) for member in members_of(network))


def set_weights(network: keras.Model, weights: Weights) -> None:
    """Put arrays, as ``weights_of`` gives them, into a network of the same shapes."""
    for member, own in zip(members_of(network), weights.members, strict=True):
        arrays = [array for name in ARRAYS if (array := getattr(own, name)) is not None]
        for layer in _layers_of(member):
            count = len(layer.get_weights())
            layer.set_weights(arrays[:count])
            arrays = arrays[count:]


def _layers_of(member: keras.Sequential) -> list[keras.Layer]:
    """The layers that have weights, in the order of ``ARRAYS``."""
    forward, *backward = directions_of(member)
    return [member.get_layer("embedding"), forward, member.get_layer("score"), *backward]


def _weights_of(member: keras.Sequential) -> Weights:
    layers = _layers_of(member)
    copies = [np.array(array, dtype=np.float32) for layer in layers for array in layer.get_weights()]
    arrays: dict[str, Any] = dict(zip(ARRAYS, copies, strict=False))
    pooling = "mean" if layers[1].return_sequences else "last"
    return Weights(**arrays, mask_zero=bool(layers[0].mask_zero), pooling=pooling)


def with_ngrams(network: keras.Model, ngrams: NGrams) -> keras.Model:
    """Stock layers that score as a network with n-grams beside it; takes ids, and the n-grams of whole texts.

    These are positions in ``ngrams.keys`` counted from 1, each once, padded with 0: int32 of shape (n, any).
    """
    size = len(ngrams.keys) + 1
    ids, held = network.inputs[0], keras.Input((None,), dtype="int32", name="ngrams")
    weights = keras.layers.Embedding(size, 1, name="ngram_weights")
    total = keras.ops.sum(weights(held), axis=1)
    weights.set_weights([np.append(np.float32(0), ngrams.weights)[:, np.newaxis]])
    scores = [
        keras.layers.Activation("sigmoid")(keras.layers.Add()([_log_odds(member, ngrams)(ids), total]))
        for member in members_of(network)
    ]
    mean = scores[0] if len(scores) == 1 else keras.layers.Average(name="mean_of_members")(scores)
    return keras.Model([ids, held], mean, name="sentiment")


def _log_odds(member: keras.Sequential, ngrams: NGrams) -> keras.Sequential:
    """A member without its sigmoid, weighed, with the constant of the n-grams."""
    *read, score = member.layers
    weighed = keras.layers.Dense(1, name="log_odds")
    made = keras.Sequential([*read, weighed], name=f"{member.name}_network")
    kernel, bias = score.get_weights()
    made.build(member.input_shape)
    weighed.set_weights([ngrams.network * kernel, ngrams.network * bias + ngrams.constant])
    return made


def summary_of(network: keras.Model) -> str:
    lines = io.StringIO()
    network.summary(print_fn=lambda line: lines.write(f"{line}\n"), line_length=80, expand_nested=True)
    return lines.getvalue()


_LOOKED_AT = 1_000  # training reviews, to see which label a start's output means


def first_weights(drawn: Weights, words: Vocabulary, start: TextScorer, training: Reviews) -> Weights:
    """Those that are ``inherited``, with an output that is turned round if it says 1 where the reviews have 0.

    A table may call the bad answer 1, a complaint say, or have its labels exchanged since its champion.
    """
    made = inherited(drawn, words, start)
    some = training.spread(_LOOKED_AT)
    scores = Network(made).score(some.padded(start.sequence_length, len(made.embedding)))
    ones = some.label == 1
    if not ones.any() or ones.all() or scores[ones].mean() >= scores[~ones].mean():
        return made
    return Weights.together(
        replace(each, others=(), dense_kernel=-each.dense_kernel, dense_bias=-each.dense_bias)
        for each in made.members
    )


def inherited(drawn: Weights, words: Vocabulary, start: TextScorer) -> Weights:
    """The first weights of a training: those of the start where it has them, else as they were drawn.

    Each member takes its recurrence and output from one of the start's of the same kind and shapes, by turns;
    where there is none, it takes the words alone.
    """
    here, there = start.known_rows(words, len(drawn.embedding))
    made = []
    for k, member in enumerate(drawn.members):
        source, is_alike = _source(start, member, k)
        embedding = member.embedding.copy()
        embedding[here] = source.embedding[there]
        taken = {name: getattr(source, name) for name in ARRAYS} if is_alike else {}
        made.append(replace(member, others=(), **taken | {"embedding": embedding}))
    return Weights.together(made)


def widened(trained: Weights, size: int, words: Vocabulary, start: TextScorer) -> Weights:
    """Weights with embeddings of ``size`` ids: the further ones are the start's, zeros for words that it lacks."""
    here, there = start.known_rows(words, size)
    further = here >= len(trained.embedding)
    made = []
    for k, member in enumerate(trained.members):
        source, _ = _source(start, member, k)
        embedding = np.zeros((size, member.embedding.shape[1]), np.float32)
        embedding[: len(member.embedding)] = member.embedding
        embedding[here[further]] = source.embedding[there[further]]
        made.append(replace(member, others=(), embedding=embedding))
    return Weights.together(made)


def _source(start: TextScorer, member: Weights, number: int) -> tuple[Weights, bool]:
    """The member of the start that another one begins as, and whether they are of the same kind and shapes."""
    alike = [each for each in start.arrays.members if _shapes(each) == _shapes(member)]
    members = alike or start.arrays.members
    return members[number % len(members)], bool(alike)


def _shapes(member: Weights) -> tuple[object, ...]:
    """What must agree for a recurrence and an output to come along."""
    return member.pooling, member.mask_zero, member.kernel.shape, member.dense_kernel.shape
