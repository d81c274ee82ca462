"""Packing a trained model as an MLflow pyfunc that needs nothing of this project."""

import hashlib
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import pandas as pd
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, Schema

import sentiment.scoring
from sentiment.scoring import TextScorer

SIGNATURE = ModelSignature(
    inputs=Schema([ColSpec("string", "text")]),
    outputs=Schema([ColSpec("string", "label"), ColSpec("double", "score")]),
)
EXAMPLE = pd.DataFrame({"text": ["A quiet film that stays with you.", "Two hours I will never get back."]})
REQUIREMENTS = ("mlflow", "numpy", "pandas")

_MODEL_FILE = Path(__file__).with_name("sentiment_model.py")


def save(folder: Path, scorer: TextScorer, keras_file: Path, work: Path, model: Model) -> None:
    """Write the pyfunc to ``folder``, which must not exist.

    Inside: the model's code, the scoring package under a name made from its content (so that versions with
    different code can be loaded into one process), the scorer's files, and the Keras model as it was trained.

    Args:
        folder: the packed model.
        scorer: what it scores with.
        keras_file: stock ``.keras`` file, packed beside.
        work: an existing folder for what is packed.
        model: MLflow's description of the model, to be completed.
    """
    artifacts = {name: str(path) for name, path in scorer.save(work).items()}
    package = _copy_scoring_package(work)
    mlflow.pyfunc.save_model(
        path=folder,
        python_model=str(_MODEL_FILE),
        artifacts={**artifacts, "keras": str(keras_file)},
        code_paths=[str(package)],
        model_config={"scoring_package": package.name},
        signature=SIGNATURE,
        input_example=EXAMPLE,
        # Given, not inferred: inferring starts a second interpreter for 15 s.
        pip_requirements=[f"{name}=={version(name)}" for name in REQUIREMENTS],
        mlflow_model=model,
    )


def _copy_scoring_package(work: Path) -> Path:
    source = Path(str(sentiment.scoring.__file__)).parent
    files = sorted(source.glob("*.py"))
    content: Any = hashlib.sha256()
    for file in files:
        content.update(f"{file.name}\n".encode() + file.read_bytes())
    package = work / f"sentiflow_scoring_{content.hexdigest()[:12]}"
    package.mkdir()
    for file in files:
        shutil.copyfile(file, package / file.name)
    return package
