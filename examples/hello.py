"""The recurrence of an RNN, by hand and in Keras: after h, e, l, l comes o.

    python examples/hello.py

A SimpleRNN keeps a state. At each step it makes a new one of the old one and the letter that it reads:

    state = tanh(letter @ W_x + state @ W_h + b)

The same W_x, W_h and b are used at every step. The state is what tells the first l of "hello" from the second: one
is followed by l, the other by o.
"""

# isort: off
import sentiflow.training.network  # noqa: F401 - loads TensorFlow without its notes on processors and GPUs

# isort: on
import keras
import numpy as np

LETTERS = "helo"
WORD = "hello"
UNITS = 8


def one_hot(text: str) -> np.ndarray:
    """One row a letter, shape (len(text), 4): a 1 at the letter's place, else 0."""
    return np.eye(len(LETTERS), dtype="float32")[[LETTERS.index(letter) for letter in text]]


def train(recurrent: bool, seed: int = 0) -> keras.Sequential:
    """Teach a network the next letter at each of the steps h, e, l, l.

    Args:
        recurrent: with a SimpleRNN; else with a Dense layer of as many units, which sees one letter at a time.
        seed: Of the first weights.
    """
    keras.utils.set_random_seed(seed)
    hidden = (
        keras.layers.SimpleRNN(UNITS, return_sequences=True)
        if recurrent
        else keras.layers.Dense(UNITS, activation="tanh")
    )
    network = keras.Sequential(
        [
            keras.Input((None, len(LETTERS))),
            hidden,
            keras.layers.Dense(len(LETTERS), activation="softmax"),
        ]
    )
    network.compile(keras.optimizers.Adam(0.03), "categorical_crossentropy")
    # 150 times the same word in one epoch: an epoch for each would take Keras longer than the training itself.
    read, follow = (np.stack([one_hot(part)] * 150) for part in (WORD[:-1], WORD[1:]))
    network.fit(read, follow, batch_size=1, verbose=0)
    return network


def by_hand(network: keras.Sequential, text: str) -> tuple[np.ndarray, np.ndarray]:
    """Run a trained SimpleRNN in numpy.

    Returns:
        The state after each letter, shape (len(text), UNITS), and the chances of the letter that follows the last.
    """
    w_x, w_h, bias, w_y, bias_y = network.get_weights()
    state = np.zeros(UNITS, dtype="float32")  # nothing stands before the first letter
    states = []
    for letter in one_hot(text):
        state = np.tanh(letter @ w_x + state @ w_h + bias)
        states.append(state)
    scores = np.exp(state @ w_y + bias_y)
    return np.stack(states), scores / scores.sum()


def next_letter(network: keras.Sequential, text: str) -> np.ndarray:
    """Chances of each of ``LETTERS`` to follow the text, by Keras."""
    return np.asarray(network(one_hot(text)[None]))[0, -1]


def main() -> None:
    """Train both networks, and print what each expects after each letter."""
    rnn, single = train(recurrent=True), train(recurrent=False)
    for name, network in (("SimpleRNN", rnn), ("one letter at a time", single)):
        print(f"{name}:")
        for end in range(1, len(WORD)):
            chances = next_letter(network, WORD[:end])
            told = "  ".join(f"{letter} {chance:.2f}" for letter, chance in zip(LETTERS, chances, strict=True))
            print(f"  after {WORD[:end]:<4}  {told}")
    states, chances = by_hand(rnn, "hell")
    print("The recurrence by hand, after hell:")
    print(f"  the states have the shape {states.shape}")
    print(f"  the next letter is {LETTERS[chances.argmax()]!r}, with {chances.max():.2f}")
    print(
        f"  the same chances as Keras's, to 6 digits: {np.allclose(chances, next_letter(rnn, 'hell'), atol=1e-6)}"
    )


if __name__ == "__main__":
    main()
