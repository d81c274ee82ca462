"""A model of one's own, a GRU, trained on the sample or on a table: python examples/gru.py reviews.csv."""

import sys
from typing import Any

import keras

import sentiflow as sf


def gru(vocabulary_size: int, sequence_length: int) -> keras.Model:
    ids = keras.Input((sequence_length,), dtype="int32")
    words = keras.layers.Embedding(vocabulary_size, 32, mask_zero=True)(ids)
    state = keras.layers.Bidirectional(keras.layers.GRU(16))(words)
    score = keras.layers.Dense(1, activation="sigmoid")(keras.layers.Dropout(0.3)(state))
    return keras.Model(ids, score)


def main(dataset: str = "sample", **fields: Any) -> None:
    run = sf.train(dataset, build=gru, seed=0, **fields)
    low, high = run.interval
    print(f"{run.version}: test accuracy {run.accuracy:.2%}, 95% interval {low:.2%} to {high:.2%}")
    print(sf.load(run.version).predict(["A quiet film that stays with you.", "I want my two hours back."]))


if __name__ == "__main__":
    main(*sys.argv[1:2])
