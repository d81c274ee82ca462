import numpy as np
import pytest

from examples import order

pytestmark = pytest.mark.story


def test_the_same_words_in_another_order_have_the_other_label() -> None:
    texts, labels = zip(*order.sentences("good", "bad"), strict=True)
    assert len({tuple(sorted(text.split())) for text in texts}) == 1
    assert labels == (1, 1, 0, 0)


def test_no_held_out_pair_is_learnt_from_but_every_word_is() -> None:
    learnt, held_out = ([frozenset(text.split()) for text, _ in part] for part in order.split())
    assert not set(learnt) & set(held_out)
    assert frozenset.union(*learnt) == set(order.WORDS)


def test_a_mean_of_embeddings_scores_all_orders_alike_and_gets_half_of_them_right() -> None:
    network = order.train(recurrent=False)
    for positive, negative in (("good", "bad"), ("funny", "stale")):
        scores = order.scores(network, [text for text, _ in order.sentences(positive, negative)])
        assert np.ptp(scores) < 1e-6
    assert order.accuracy(network) == 0.5


def test_a_simple_rnn_gets_every_held_out_sentence_right() -> None:
    network = order.train(recurrent=True)
    assert order.accuracy(network) == 1
    good, bad = order.scores(network, ["not bad good", "not good bad"])
    assert (good > 0.95, bad < 0.05) == (True, True)
