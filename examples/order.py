"""Why order matters: "not good bad" and "not bad good" hold the same words.

    python examples/order.py

The mean of the words' embeddings is the same for both, so a network on top of it gives both the same score,
whatever it learns. A SimpleRNN reads one word after the other and can tell them apart. It is tested on pairs of
words that it never saw together.
"""

# isort: off
import sentiflow.training.network  # noqa: F401 - loads TensorFlow without its notes on processors and GPUs

# isort: on
import keras
import numpy as np

POSITIVE = ("good", "great", "funny", "clever", "moving", "bright", "charming", "fresh")
NEGATIVE = ("bad", "awful", "boring", "stupid", "empty", "dark", "clumsy", "stale")
WORDS = ("not", *POSITIVE, *NEGATIVE)


def sentences(positive: str, negative: str) -> list[tuple[str, int]]:
    """The four sentences of a pair, all of the same three words; 1 is positive."""
    return [
        (f"not {negative} {positive}", 1),
        (f"{positive} not {negative}", 1),
        (f"not {positive} {negative}", 0),
        (f"{negative} not {positive}", 0),
    ]


def split() -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """Sentences to learn from, and those of the held-out pairs: a quarter of all, every word in both parts."""
    learnt, held_out = [], []
    for i, positive in enumerate(POSITIVE):
        for j, negative in enumerate(NEGATIVE):
            part = held_out if (i + j) % 4 == 0 else learnt
            part.extend(sentences(positive, negative))
    return learnt, held_out


def ids(texts: list[str]) -> np.ndarray:
    """The number of each word, shape (n, 3)."""
    return np.array([[WORDS.index(word) for word in text.split()] for text in texts])


def build(recurrent: bool, seed: int = 0) -> keras.Sequential:
    """Embedding, then a SimpleRNN or the mean and a dense layer, then the score: about as many parameters."""
    keras.utils.set_random_seed(seed)
    middle = (
        [keras.layers.SimpleRNN(16)]
        if recurrent
        else [keras.layers.GlobalAveragePooling1D(), keras.layers.Dense(32, activation="tanh")]
    )
    return keras.Sequential(
        [
            keras.Input((3,), dtype="int32"),
            keras.layers.Embedding(len(WORDS), 16),
            *middle,
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )


def train(recurrent: bool) -> keras.Sequential:
    """Train on the sentences to learn from."""
    network = build(recurrent)
    texts, labels = zip(*split()[0], strict=True)
    network.compile(keras.optimizers.Adam(0.01), "binary_crossentropy")
    network.fit(ids(list(texts)), np.array(labels), epochs=40, batch_size=32, verbose=0)
    return network


def scores(network: keras.Sequential, texts: list[str]) -> np.ndarray:
    """A number from 0, negative, to 1, positive, for each text."""
    return np.asarray(network(ids(texts)))[:, 0]


def accuracy(network: keras.Sequential) -> float:
    """Share of the held-out sentences that get the right label."""
    texts, labels = zip(*split()[1], strict=True)
    return float(np.mean((scores(network, list(texts)) > 0.5) == np.array(labels)))


def main() -> None:
    """Train both, and print what they make of one pair and of all held-out pairs."""
    texts = [text for text, _ in sentences("good", "bad")]
    for name, recurrent in (("mean of embeddings", False), ("SimpleRNN", True)):
        network = train(recurrent)
        print(f"{name}, {network.count_params()} parameters:")
        for text, score in zip(texts, scores(network, texts), strict=True):
            print(f"  {score:.3f}  {text}")
        print(f"  right on {accuracy(network):.0%} of the sentences of {len(split()[1]) // 4} held-out pairs")


if __name__ == "__main__":
    main()
