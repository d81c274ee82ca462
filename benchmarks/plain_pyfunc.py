"""What one would write first: an MLflow pyfunc around Keras's ``predict``, raw text in, score out."""

import json
from pathlib import Path

import keras
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from sentiflow.scoring import Vocabulary

LENGTH, WORDS, RARE = 500, 10_000, 2


class PlainModel(PythonModel):
    """Words to ids, ids padded, ``predict`` at its own batch size."""

    def load_context(self, context: PythonModelContext) -> None:
        self.network = keras.saving.load_model(context.artifacts["keras"])
        self.vocabulary = Vocabulary(json.loads(Path(context.artifacts["vocabulary"]).read_text(encoding="utf-8")))

    def predict(
        self,
        context: PythonModelContext,  # noqa: ARG002
        model_input: pd.DataFrame,
        params: dict | None = None,  # noqa: ARG002
    ):  # noqa: ANN201 - MLflow would take a type for a signature
        ids = [[i if i < WORDS else RARE for i in self.vocabulary.encode(text)] for text in model_input["text"]]
        return self.network.predict(keras.utils.pad_sequences(ids, maxlen=LENGTH), verbose=0)[:, 0].tolist()


set_model(PlainModel())
