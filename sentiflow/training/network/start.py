"""A training that starts from another network: words are matched by their text."""

import dataclasses
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from sentiflow.console import Progress, no_progress
from sentiflow.data.reviews import Reviews
from sentiflow.evaluation import Epoch
from sentiflow.scoring import Network, TextScorer, Vocabulary, Weights
from sentiflow.scoring.vocabulary import FIRST_WORD
from sentiflow.scoring.weights import ARRAYS
from sentiflow.training.network.loop import Trained, train
from sentiflow.training.network.model import build, set_weights, weights_of
from sentiflow.training.recipes import TrainConfig
from sentiflow.training.start_from import learnt_ids

_LOOKED_AT = 1_000  # training reviews, to see which label a start's output means


def train_from(
    start: TextScorer | None,
    words: Vocabulary,
    training: Reviews,
    validation: Reviews,
    config: TrainConfig,
    seed: int,
    on_epoch: Callable[[Epoch], None] = lambda _epoch: None,
    progress: Progress = no_progress,
) -> Trained:
    """Train by the recipe, from another network if one is given, and with ``final_training`` once more.

    Words that the training reviews lack are not trained: they are put beside the trained ones at the end, as the
    start has them; unless rare words, which stand behind them, are to be learnt, too. The final training makes as
    many epochs as were kept, on the validation reviews, too; history and kept epoch are those of the first.
    """
    own, begin = config, None
    if start is not None:
        begin = partial(first_weights, words=words, start=start, training=training)
        every, size = training.joined(validation), config.vocabulary_size
        learnt, _ = learnt_ids(every, FIRST_WORD + len(words))
        behind = np.concatenate([ids[(ids >= learnt) & (ids < size)] for ids in every.tokens])
        if np.isin(behind, known_rows(start, words, size)[0]).all():
            own = config.model_copy(update={"vocabulary_size": min(size, learnt)})
    trained = train(training, validation, own, seed, on_epoch, progress, begin)
    if config.final_training:
        last = own.model_copy(update={"epochs": trained.kept.number, "early_stopping_patience": 0})
        again = train(training.joined(validation), validation, last, seed, progress=progress, begin=begin)
        trained = dataclasses.replace(trained, network=again.network, seconds=trained.seconds + again.seconds)
    if start is None or own.vocabulary_size == config.vocabulary_size:
        return trained
    network = build(config, seed)
    set_weights(network, widened(weights_of(trained.network), config.vocabulary_size, words, start))
    return dataclasses.replace(trained, network=network)


def first_weights(drawn: Weights, words: Vocabulary, start: TextScorer, training: Reviews) -> Weights:
    """Those that are ``inherited``, with an output that is turned round if it says 1 where the reviews have 0.

    A table may call the bad answer 1, a complaint say, or have its labels exchanged since its champion.
    """
    made = inherited(drawn, words, start)
    looked_at = training.take(np.arange(min(len(training), _LOOKED_AT)))
    scores = Network(made).score(looked_at.padded(start.sequence_length, len(made.embedding)))
    ones = looked_at.label == 1
    if not ones.any() or ones.all() or scores[ones].mean() >= scores[~ones].mean():
        return made
    return Weights.together(
        dataclasses.replace(each, others=(), dense_kernel=-each.dense_kernel, dense_bias=-each.dense_bias)
        for each in made.members
    )


def known_rows(start: TextScorer, words: Vocabulary, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ids of the words that a start has an embedding of, here and there, each shape (k,)."""
    top = len(start.weights.embedding)
    pairs = [
        (here, there)
        for here, word in enumerate(words.words[: size - FIRST_WORD], FIRST_WORD)
        if (there := start.vocabulary.id_of(word)) is not None and there < top
    ]
    marks = [(i, i) for i in range(FIRST_WORD)]  # padding, start marker, unknown words
    here, there = np.array([*marks, *pairs], dtype=np.int64).T
    return here, there


def inherited(drawn: Weights, words: Vocabulary, start: TextScorer) -> Weights:
    """The first weights of a training: those of the start where it has them, else as they were drawn.

    Each member takes its recurrence and output from one of the start's of the same kind and shapes, by turns;
    where there is none, it takes the words alone.
    """
    here, there = known_rows(start, words, len(drawn.embedding))
    made = []
    for k, member in enumerate(drawn.members):
        source, is_alike = _source(start, member, k)
        embedding = member.embedding.copy()
        embedding[here] = source.embedding[there]
        taken = {name: getattr(source, name) for name in ARRAYS} if is_alike else {}
        made.append(dataclasses.replace(member, others=(), **taken | {"embedding": embedding}))
    return Weights.together(made)


def widened(trained: Weights, size: int, words: Vocabulary, start: TextScorer) -> Weights:
    """Weights with embeddings of ``size`` ids: the further ones are the start's, zeros for words that it lacks."""
    here, there = known_rows(start, words, size)
    further = here >= len(trained.embedding)
    made = []
    for k, member in enumerate(trained.members):
        source, _ = _source(start, member, k)
        embedding = np.zeros((size, member.embedding.shape[1]), np.float32)
        embedding[: len(member.embedding)] = member.embedding
        embedding[here[further]] = source.embedding[there[further]]
        made.append(dataclasses.replace(member, others=(), embedding=embedding))
    return Weights.together(made)


def _source(start: TextScorer, member: Weights, number: int) -> tuple[Weights, bool]:
    """The member of the start that another one begins as, and whether they are of the same kind and shapes."""
    alike = [each for each in start.weights.members if _shapes(each) == _shapes(member)]
    members = alike or start.weights.members
    return members[number % len(members)], bool(alike)


def _shapes(member: Weights) -> tuple[object, ...]:
    """What must agree for a recurrence and an output to come along."""
    return member.pooling, member.mask_zero, member.kernel.shape, member.dense_kernel.shape
