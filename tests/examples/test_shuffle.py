import numpy as np

from examples import shuffle
from sentiflow.scoring import Network, NGrams, TextScorer, Vocabulary, Weights

TEXTS = [np.array(ids, np.int32) for ids in ([1, 4, 5, 6, 7, 8], [1, 8, 4], [1])]


def scorer() -> TextScorer:
    draw = np.random.default_rng(0).normal
    shapes = (9, 3), (3, 4), (4, 4), (4,), (4, 1), (1,)
    weights = Weights(*(draw(0, 0.7, shape).astype(np.float32) for shape in shapes))
    pair = np.array([4, (4 << 21) | 5])  # the word 4, and 5 after it
    ngrams = NGrams(pair, np.array([-1, 2], np.float32), constant=0.5, network=0.3)
    return TextScorer(weights, Vocabulary(list("abcdef")), 6, ngrams=ngrams)


def test_a_shuffled_review_has_its_words_and_its_start_marker_first() -> None:
    mixed = shuffle.shuffled(TEXTS)
    assert [sorted(ids) for ids in mixed] == [sorted(ids) for ids in TEXTS]
    assert [int(ids[0]) for ids in mixed] == [1, 1, 1]
    assert any(one.tolist() != other.tolist() for one, other in zip(mixed, TEXTS, strict=True))


def test_the_parts_of_a_version_answer_alone_what_they_add_up_to_together() -> None:
    parts = shuffle.parts_of(scorer())
    assert parts["n-grams"](TEXTS).tolist() == [True, False, True]  # 0.5 - 1 + 2, 0.5 - 1, 0.5
    padded = np.array([[0] * (6 - len(ids)) + ids.tolist() for ids in TEXTS], np.int32)
    network = Network(scorer().arrays).log_odds(padded)[0]
    assert parts["network"](TEXTS).tolist() == (network > 0).tolist()
    assert parts["both"](TEXTS).tolist() == (0.3 * network + [1.5, -0.5, 0.5] > 0).tolist()
