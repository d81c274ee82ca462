import numpy as np
import pytest

from examples import hello


@pytest.fixture(scope="module")
def rnn() -> "hello.keras.Sequential":
    return hello.train(recurrent=True)


def test_the_rnn_says_each_next_letter_and_o_after_hell(rnn: "hello.keras.Sequential") -> None:
    said = [hello.LETTERS[hello.next_letter(rnn, hello.WORD[:end]).argmax()] for end in range(1, 5)]
    assert "".join(said) == "ello"


def test_the_recurrence_by_hand_is_that_of_keras(rnn: "hello.keras.Sequential") -> None:
    states, chances = hello.by_hand(rnn, "hell")
    layer = np.asarray(rnn.layers[0](hello.one_hot("hell")[None]))[0]
    assert np.allclose(states, layer, atol=1e-6)
    assert np.allclose(chances, hello.next_letter(rnn, "hell"), atol=1e-6)


def test_a_network_that_sees_one_letter_cannot_tell_one_l_from_the_other() -> None:
    single = hello.train(recurrent=False)
    first, second = (hello.next_letter(single, text) for text in ("hel", "hell"))
    assert np.array_equal(first, second)
    assert first[[2, 3]] == pytest.approx([0.5, 0.5], abs=0.02)  # l and o follow equally often
