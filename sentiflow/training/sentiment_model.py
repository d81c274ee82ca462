"""The registered model, as MLflow loads it: this file and the scoring package travel with every version.

It must not import this project: a process that loads a version has only the version's own files.
"""

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext


class SentimentModel(PythonModel):
    """Scores texts with the scoring package that was packed beside it."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load weights, vocabulary and settings from the version's files."""
        scoring = importlib.import_module(context.model_config["scoring_package"])
        self._scorer = scoring.TextScorer.load(Path(context.artifacts["scorer"]).parent)

    def predict(
        self,
        context: PythonModelContext,  # noqa: ARG002
        model_input: pd.DataFrame,  # or what else the first paragraph lists; MLflow warns of any other hint
        params: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> pd.DataFrame:
        """Score a list, an array or a Series of texts, or a DataFrame or dict with texts under ``text``.

        Returns:
            Columns ``label`` (positive or negative, or what the training table calls these) and ``score`` (0 to
            1, the probability of positive), with the index of a DataFrame or Series.

        Raises:
            TypeError: it is none of these, or a text is missing or not a string.
        """
        texts, index = _texts_of(model_input)
        scores = self._scorer.score(texts)
        labels = [self._scorer.label_of(score) for score in scores]
        return pd.DataFrame({"label": labels, "score": scores}, index=index)


def _texts_of(given: Any) -> tuple[list[Any], Any]:
    """The texts, and their index if they have one."""
    if isinstance(given, pd.DataFrame | dict) and "text" in given:
        given = given["text"]
        if isinstance(given, str):
            given = [given]
    if isinstance(given, pd.Series):
        return given.tolist(), given.index
    if isinstance(given, np.ndarray) and given.ndim == 1:
        return given.tolist(), None
    if isinstance(given, list | tuple):
        return list(given), None
    shown = f" with the columns {', '.join(map(str, given))}" if isinstance(given, pd.DataFrame | dict) else ""
    wanted = "a list or Series of texts, or a DataFrame or dict with `text`"
    raise TypeError(f"Expected {wanted}, got {type(given).__name__}{shown}")


set_model(SentimentModel())
