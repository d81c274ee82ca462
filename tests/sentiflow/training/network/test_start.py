"""Trainings that start from another network, on reviews of a few words."""

from dataclasses import replace

import numpy as np
import pytest

from sentiflow.data.reviews import Reviews
from sentiflow.scoring import Network, TextScorer, Vocabulary, Weights
from sentiflow.training.network.loop import train, train_from
from sentiflow.training.network.model import build, first_weights, inherited, weights_of, widened
from sentiflow.training.recipes import TrainConfig

TINY = TrainConfig(
    recipe="tiny", vocabulary_size=8, sequence_length=5, embedding_size=4, units=3, batch_size=4, epochs=3,
    optimizer="adam", learning_rate=0.01, mask_zero=True, bidirectional=True, pooling="mixed", ensemble_size=2,
)  # fmt: skip
WORDS = Vocabulary(["film", "good", "new", "bad", "base"])  # ids 4 to 8; the base alone has the last


def network(config: TrainConfig, seed: int) -> Weights:
    return weights_of(build(config, seed))


def start(config: TrainConfig = TINY) -> TextScorer:
    """Knows other words at other ids, and not "new"."""
    words = Vocabulary(["base", "bad", "film", "good", "unread"])  # the last has no embedding
    return TextScorer(network(config, 9), words, 5)


def reviews(n: int, seed: int, split: str = "train") -> Reviews:
    generator = np.random.default_rng(seed)
    tokens = [np.array([1, *generator.integers(4, 8, 3)], np.int32) for _ in range(n)]
    labels = np.array([5 in ids for ids in tokens], np.int8)
    return Reviews(np.arange(n).astype(str), np.full(n, split), labels, tokens)


def test_words_are_matched_by_their_text_and_a_new_one_is_as_drawn() -> None:
    drawn, source = network(replace_size(TINY, 9), 0), start()
    made = inherited(drawn, WORDS, source)
    for member, own, theirs in zip(made.members, drawn.members, source.weights.members, strict=True):
        here, there = member.embedding, theirs.embedding
        for word in ("film", "good", "bad", "base"):
            np.testing.assert_array_equal(here[WORDS.id_of(word)], there[source.vocabulary.id_of(word)])
        np.testing.assert_array_equal(here[:4], there[:4])
        np.testing.assert_array_equal(here[6], own.embedding[6])
        np.testing.assert_array_equal(member.recurrent_kernel, theirs.recurrent_kernel)
        np.testing.assert_array_equal(member.backward_bias, theirs.backward_bias)
        np.testing.assert_array_equal(member.dense_kernel, theirs.dense_kernel)


def replace_size(config: TrainConfig, size: int) -> TrainConfig:
    return config.model_copy(update={"vocabulary_size": size})


@pytest.mark.parametrize("change", [{"units": 2}, {"bidirectional": False}, {"pooling": "mean"}])
def test_of_another_shape_the_words_come_along_and_the_rest_is_as_drawn(change: dict[str, object]) -> None:
    drawn = network(TINY, 0)
    source = start(TINY.model_copy(update=change))
    made = inherited(drawn, WORDS, source)
    member = made.members[1]  # the one of the last state
    np.testing.assert_array_equal(member.embedding[4], source.weights.members[1].embedding[6])
    np.testing.assert_array_equal(member.recurrent_kernel, drawn.members[1].recurrent_kernel)
    np.testing.assert_array_equal(member.dense_kernel, drawn.members[1].dense_kernel)


def test_words_that_no_review_has_stay_as_the_start_has_them() -> None:
    trained, source = network(TINY, 0), start()
    wide = widened(trained, 10, Vocabulary([*WORDS.words, "odd"]), source)
    for member, own, theirs in zip(wide.members, trained.members, source.weights.members, strict=True):
        np.testing.assert_array_equal(member.embedding[:8], own.embedding)
        np.testing.assert_array_equal(member.embedding[8], theirs.embedding[source.vocabulary.id_of("base")])
        np.testing.assert_array_equal(member.embedding[9], np.zeros(4))  # known to neither


def test_a_training_starts_from_the_other_network_and_keeps_words_beyond_its_own() -> None:
    source, config = start(), replace_size(TINY, 9).model_copy(update={"learning_rate": 1e-9})
    trained = train_from(source, WORDS, reviews(8, 1), reviews(4, 2), config, 0)
    found = weights_of(trained.network)
    np.testing.assert_allclose(found.embedding[4], source.weights.embedding[6], atol=1e-6)
    np.testing.assert_array_equal(found.embedding[8], source.weights.embedding[4])


def test_a_start_whose_output_means_the_other_label_is_turned_round() -> None:
    """Red if a table that calls the bad answer 1 has to unlearn what the start knows: it lost 11 points."""
    source, rows = start(), reviews(40, 1)
    scores = Network(inherited(network(TINY, 0), WORDS, source)).score(rows.padded(5, 8))
    for means_one in (True, False):
        told = replace(rows, label=((scores > np.median(scores)) == means_one).astype(np.int8))
        made = first_weights(network(TINY, 0), WORDS, source, told)
        sign = 1 if means_one else -1
        for member, theirs in zip(made.members, source.weights.members, strict=True):
            np.testing.assert_array_equal(member.dense_kernel, sign * theirs.dense_kernel)
            np.testing.assert_array_equal(member.dense_bias, sign * theirs.dense_bias)
            np.testing.assert_array_equal(member.kernel, theirs.kernel)


def test_rare_words_behind_those_of_the_start_are_learnt_if_the_vocabulary_is_to_hold_them() -> None:
    """Red if a review's rare word is unknown while it is trained, and a word of zeros in the network."""
    words = Vocabulary([*WORDS.words, "rare"])  # id 9
    rows, config = reviews(8, 1), replace_size(TINY, 10)
    rows.tokens[0] = np.array([1, 4, 9], np.int32)
    found = weights_of(train_from(start(), words, rows, reviews(4, 2), config, 0).network)
    assert np.abs(found.embedding[9]).min() > 0


def test_the_final_training_makes_the_kept_epochs_once_more_on_all_reviews() -> None:
    config = TINY.model_copy(update={"final_training": True, "early_stopping_patience": 1, "epochs": 6})
    learnt, held_out = reviews(12, 1), reviews(4, 2)
    found = train_from(None, WORDS, learnt, held_out, config, 3)
    first = train(learnt, held_out, config, 3)
    assert found.kept == replace(first.kept, **timing(found.kept))
    again = config.model_copy(update={"epochs": first.kept.number, "early_stopping_patience": 0})
    every = train(learnt.joined(held_out), held_out, again, 3)
    assert same(weights_of(found.network), weights_of(every.network))
    assert not same(weights_of(found.network), weights_of(first.network))


def timing(epoch: object) -> dict[str, object]:
    return {name: getattr(epoch, name) for name in ("seconds", "reviews_per_second")}


def same(one: Weights, other: Weights) -> bool:
    return all(np.array_equal(value, other.entries()[name]) for name, value in one.entries().items())
