"""Tests of what is measured, on texts few enough to count, and by a second route."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest

from benchmarks import sample
from sentiflow.base.model import base
from sentiflow.data import division
from sentiflow.data.reviews import Reviews
from sentiflow.monitoring import drift
from sentiflow.monitoring.drift import (
    features_of_reviews,
    features_of_texts,
    most_unusual,
)
from sentiflow.scoring import TextScorer, Vocabulary, Weights
from sentiflow.scoring.vocabulary import tokenize

LIMITS = 0.2, 0.001  # PSI, p


def scorer_of(vocabulary: Vocabulary, size: int) -> TextScorer:
    """A network of so many ids with weights by chance."""
    rng = np.random.default_rng(3)
    shapes = (size, 3), (3, 4), (4, 4), (4,), (4, 1), (1,)
    return TextScorer(
        Weights(*(rng.normal(0, 0.8, shape).astype(np.float32) for shape in shapes), mask_zero=True),
        vocabulary,
        100,
    )


def reviews_of(tokens: list[list[int]], splits: list[str]) -> Reviews:
    ids = [np.array(row, np.int32) for row in tokens]
    numbers = np.array([str(k) for k in range(len(ids))])
    return Reviews(numbers, np.array(splits), np.zeros(len(ids), np.int8), ids)


def held_out(seed: int, n: int) -> list[str]:
    """Reviews that the sample does not hold, made by its rules."""
    return [text for text, _label, split in sample.sample_rows(2, n, seed) if split == "test"]


@pytest.fixture(scope="module")
def built_in() -> tuple[Reviews, TextScorer]:
    content, vocabulary = division.to_reviews(division.sample_rows())
    return content, scorer_of(vocabulary, 10_000)


def test_rare_and_unknown_words_are_out_of_the_vocabulary_of_a_text() -> None:
    scorer = scorer_of(Vocabulary(("the", "film", "dull")), 6)  # ids 4 and 5 are read as themselves
    features = features_of_texts(["The dull film: zyzzyva!", "the film", "", "?!"], scorer)
    assert features["oov"].tolist() == [0.5, 0, 0, 0]
    assert features["length"].tolist() == [4, 2, 0, 0]
    assert features["score"].tolist() == scorer.score(["The dull film: zyzzyva!", "the film", "", "?!"]).tolist()


def test_a_training_review_is_measured_as_if_it_were_new() -> None:
    # the: in all; film: in two; dull: twice, but in one review; grim: rare, in two.
    scorer = scorer_of(Vocabulary(("the", "film", "dull", "grim")), 7)
    tokens = [[1, 4, 5], [1, 4, 6, 6, 5], [1, 4, 7], [1, 7, 4, 4, 4], [1, 5, 5]]
    features = features_of_reviews(reviews_of(tokens, ["train"] * 4 + ["test"]), scorer)
    assert features["oov"].tolist() == [0, 0.5, 0.5, 0.25]
    assert features["length"].tolist() == [2, 4, 2, 4]


def test_equal_reviews_count_once_as_equal_texts_do() -> None:
    """Stock phrases among the reviews were drift: recent texts count once each."""
    scorer = scorer_of(Vocabulary(("the", "film")), 6)
    once = reviews_of([[1, 4, 5], [1, 5], [1, 4]], ["train", "train", "test"])
    often = reviews_of([[1, 4, 5], *[[1, 5]] * 9, *[[1, 4]] * 3], ["train"] * 10 + ["test"] * 3)
    one, other = (features_of_reviews(each, scorer) for each in (once, often))
    assert {name: values.tolist() for name, values in one.items()} == {
        name: values.tolist() for name, values in other.items()
    }


def words_of(texts: list[str], base_words: Sequence[str] = ()) -> Vocabulary:
    counts = Counter(word for text in texts for word in tokenize(text))
    return division.vocabulary_of(counts, len(texts), base_words)


def test_leaving_each_review_out_of_the_vocabulary_gives_the_same_features() -> None:
    """The second route: for each review a vocabulary of the others alone."""
    texts = held_out(5, 60)
    vocabulary = words_of(texts)
    tokens = [vocabulary.encode(text) for text in texts]
    content = reviews_of([*tokens, tokens[0]], ["train"] * len(tokens) + ["test"])
    reference = features_of_reviews(content, scorer_of(vocabulary, 1_000))
    for k, text in enumerate(texts):
        others = words_of(texts[:k] + texts[k + 1 :])
        alone = features_of_texts([text], scorer_of(others, 1_000))
        for name in ("oov", "length"):
            assert reference[name][k] == alone[name][0], (name, k)


@pytest.mark.parametrize("knows_base", [True, False])
def test_leaving_each_review_of_a_table_out_leaves_it_the_words_of_the_base(knows_base: bool) -> None:
    """Red if a word that the base knows counts as unknown for being in one review: new texts were then drift."""
    base_words = base().scorer.vocabulary.words
    texts = ["the film was dull", "the zyzzyva was odd", "the quiet odd"]

    def scorer(texts: list[str]) -> TextScorer:
        vocabulary = words_of(texts, base_words)
        own = len({word for text in texts for word in text.split()})
        return scorer_of(vocabulary, 4 + (len(vocabulary) if knows_base else own))

    whole = scorer(texts)
    tokens = [whole.vocabulary.encode(text) for text in texts]
    reference = features_of_reviews(reviews_of([*tokens, tokens[0]], ["train"] * 3 + ["test"]), whole)
    for k, text in enumerate(texts):
        alone = features_of_texts([text], scorer(texts[:k] + texts[k + 1 :]))
        for name in ("oov", "length"):
            assert reference[name][k] == alone[name][0], (name, k)


@pytest.mark.parametrize(("seed", "n"), [(7, 200), (9, 3_000)])
def test_held_out_reviews_of_the_sample_are_no_drift(
    built_in: tuple[Reviews, TextScorer], seed: int, n: int
) -> None:
    content, scorer = built_in
    compared = drift.compare(
        features_of_reviews(content, scorer), features_of_texts(held_out(seed, n), scorer), *LIMITS
    )
    assert [feature.name for feature in compared if feature.drifted] == []


@pytest.mark.parametrize("moved", ["oov", "length"])
def test_other_words_are_a_drift_of_the_vocabulary_and_fewer_one_of_the_length(
    built_in: tuple[Reviews, TextScorer], moved: str
) -> None:
    content, scorer = built_in
    swapped = [text.replace("the ", "le ").replace("was ", "fut ") for text in held_out(7, 200)]
    short = [" ".join(text.split()[:10]) for text in held_out(7, 200)]
    recent = features_of_texts(swapped if moved == "oov" else short, scorer)
    compared = drift.compare(features_of_reviews(content, scorer), recent, *LIMITS)
    found = {feature.name: feature.drifted for feature in compared}
    assert (found["oov"], found["length"]) == (moved == "oov", moved == "length")


def test_the_strangest_texts_come_first_and_are_cut() -> None:
    scorer = scorer_of(Vocabulary(("the", "film")), 6)
    texts = ["the film the film", "qua qua qua qua qua qua qua qua", "the film the xyz"]
    reference = {"oov": np.zeros(50), "length": np.full(50, 4.0)}
    first, second = most_unusual(texts, features_of_texts(texts, scorer), reference, 2, 11)
    assert (first.text, second.text) == ("qua qua qua ...", "the film th ...")
    assert first.features == {"oov": 1, "length": 8}, "no score: people may label it later"
