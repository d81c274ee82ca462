"""What the main job does, as one plain script with stock Keras: no tracking, no registry, no orchestration.

    python -m benchmarks.plain_script imdb.npz

It reads the file as ``keras.datasets.imdb.load_data`` does, but for that function's own hash check, which knows
one file only.
"""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

WORDS = 10_000


def ids(ranks: list[int]) -> list[int]:
    """A start, then each rank raised by three; words too rare become 2."""
    return [1, *(rank + 3 if rank + 3 < WORDS else 2 for rank in ranks)]


def main() -> None:
    with np.load(sys.argv[1], allow_pickle=True) as file:
        train, test = ([ids(ranks) for ranks in file[name]] for name in ("x_train", "x_test"))
        train_labels, test_labels = file["y_train"], file["y_test"]
    order = np.random.default_rng(0).permutation(len(train))  # the file has all positive reviews together
    train = keras.utils.pad_sequences(train, maxlen=500)[order]
    network = keras.Sequential(
        [
            keras.layers.Embedding(WORDS, 64),
            keras.layers.SimpleRNN(32),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    network.compile("rmsprop", "binary_crossentropy", metrics=["accuracy"])
    network.fit(train, train_labels[order], validation_split=0.2, epochs=5, batch_size=128, verbose=0)
    _, accuracy = network.evaluate(keras.utils.pad_sequences(test, maxlen=500), test_labels, verbose=0)
    print(f"{accuracy:.4f}")  # noqa: T201


if __name__ == "__main__":
    main()
