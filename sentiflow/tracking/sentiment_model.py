"""The registered model, as MLflow loads it: this file and the scoring package travel with every version.

It must not import this project: a process that loads a version has only the version's own files.
"""

import importlib
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext


class SentimentModel(PythonModel):
    """Scores texts with the scoring package that was packed beside it, without TensorFlow."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load weights, vocabulary and settings from the version's files."""
        scoring = importlib.import_module(context.model_config["scoring_package"])
        self._scorer = scoring.TextScorer.load(Path(context.artifacts["weights"]).parent)
        self._is_positive = scoring.is_positive

    def predict(
        self,
        context: PythonModelContext,  # noqa: ARG002
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> pd.DataFrame:
        """Score the column ``text``.

        Returns:
            Columns ``label`` (positive or negative) and ``score`` (0 to 1, the probability of positive), with
            the index of the input.

        Raises:
            TypeError: a text is missing or not a string.
        """
        scores = self._scorer.score(model_input["text"].tolist())
        labels = ["positive" if positive else "negative" for positive in self._is_positive(scores)]
        return pd.DataFrame({"label": labels, "score": scores}, index=model_input.index)


set_model(SentimentModel())
