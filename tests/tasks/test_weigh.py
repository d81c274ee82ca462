"""What the gate measures of a packaged model."""

from pathlib import Path

import numpy as np
import pandas as pd

from sentiment.scoring import TextScorer, Vocabulary, Weights
from tasks import weigh


class Noted:
    """A model that notes what it is asked."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def predict(self, table: pd.DataFrame) -> None:
        self.texts += table["text"].tolist()


def test_the_text_that_is_timed_is_of_full_length_in_the_models_own_words(tmp_path: Path) -> None:
    """Red if the words are somebody else's: a network without a known word has nothing to read, and is fast."""
    (tmp_path / "weights").write_bytes(bytes(3_000_000))
    model, vocabulary = Noted(), Vocabulary(["дом", "сад", "кот"])
    shapes = (7, 2), (2, 2), (2, 2), (2,), (2, 1), (1,)
    weights = Weights(*(np.zeros(shape, np.float32) for shape in shapes))
    packaged = weigh.Packaged(tmp_path, model, TextScorer(weights, vocabulary, 700))
    cost = weigh._cost(packaged)
    assert {len(vocabulary.encode(text)) - 1 for text in model.texts} == {700}  # the start marker aside
    assert cost.size_mb == 3.0
