"""Scores against a Keras network, as closely as float32 allows, and without its rounding."""

import keras
import numpy as np
from numpy.typing import NDArray

from sentiflow.scoring.ngrams import NGrams, Tokens, occurrences

Ids = NDArray[np.int32]


def check_scores(scores: NDArray[np.float64], network: keras.Model, ids: Ids | dict[str, Ids]) -> None:
    """Assert that scores are the network's.

    Keras's float32 differs from itself by up to 3e-6 between batch sizes (decision 0002): single scores may
    be further than a millionth away, how far depends on the processor. Computed in float64, the same layers agree
    to the last digits; beside n-grams, to the float32 to which the file rounds their share.
    """
    difference = np.abs(scores - network.predict(ids, verbose=0)[:, 0])
    assert np.quantile(difference, 0.99) < 1e-6
    assert difference.max() < 1e-4
    exact = in_float64(network)
    np.testing.assert_allclose(
        scores, exact.predict(ids, verbose=0)[:, 0], rtol=0, atol=1e-7 if isinstance(ids, dict) else 1e-9
    )


def held_by(texts: Tokens, ngrams: NGrams) -> Ids:
    """What ``with_ngrams`` asks for, without the table: numbers from 1 of each text's n-grams, padded with 0."""
    numbers = {key: number for number, key in enumerate(ngrams.keys.tolist(), start=1)}
    held = [sorted({numbers[key] for key in occurrences([ids], 3)[0].tolist() if key in numbers}) for ids in texts]
    return np.array([each + [0] * (max(map(len, held)) - len(each)) for each in held], np.int32)


def in_float64(network: keras.Model) -> keras.Model:
    """The same layers and weights, computing in float64."""
    exact = keras.models.clone_model(network, clone_function=_layer_in_float64, recursive=True)
    exact.set_weights(network.get_weights())
    return exact


def _layer_in_float64(layer: keras.Layer) -> keras.Layer:
    config = layer.get_config()
    if not isinstance(layer, keras.Layer):  # a sum, as of keras.ops
        return type(layer).from_config(config)
    config["dtype"] = "float64"
    for inner in ("layer", "backward_layer"):  # of two directions
        if inner in config:
            config[inner]["config"]["dtype"] = "float64"
    return type(layer).from_config(config)
