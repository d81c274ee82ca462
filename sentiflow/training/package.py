"""Packing a trained model as an MLflow pyfunc that needs nothing of this project."""

import hashlib
import re
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import pandas as pd
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, Schema

import sentiflow.scoring
from sentiflow.scoring import TextScorer

# Without a schema of the input: MLflow would refuse a list or a Series of texts. The model checks it.
SIGNATURE = ModelSignature(outputs=Schema([ColSpec("string", "label"), ColSpec("double", "score")]))
EXAMPLE = pd.DataFrame({"text": ["A quiet film that stays with you.", "Two hours I will never get back."]})
CARD = "README.md"
REQUIREMENTS = ("mlflow", "numpy", "pandas", "threadpoolctl")
OF_OWN_MODELS = ("keras", "tensorflow", "h5py")

_SCORING = Path(str(sentiflow.scoring.__file__)).parent
_PACKAGE = re.compile(r"sentiflow_scoring_[0-9a-f]{12}")
_MODEL_FILE = Path(__file__).with_name("sentiment_model.py")


def save(folder: Path, scorer: TextScorer, keras_file: Path, work: Path, model: Model, card: str) -> None:
    """Write the pyfunc to ``folder``, which must not exist.

    Inside: the model's code, the scoring package under a name made from its content (so that versions with
    different code can be loaded into one process), the scorer's files, the Keras model as it was trained, and the
    model card as ``README.md``. ``work`` is an existing folder for what is packed, ``model`` MLflow's description,
    to be completed.
    """
    artifacts = {name: str(path) for name, path in scorer.save(work).items()} | {"keras": str(keras_file)}
    artifacts.pop("model", None)  # of a model of one's own: the same file
    # `mlflow.keras.load_model` reads model.keras, the name of `keras_file`, in this folder of the artifacts.
    keras = {"keras_version": version("keras"), "keras_backend": "tensorflow", "save_exported_model": False}
    model.add_flavor("keras", data="artifacts", **keras)
    package = work / _name(_SCORING)
    package.mkdir()
    for file in _SCORING.glob("*.py"):
        shutil.copyfile(file, package / file.name)
    needed = REQUIREMENTS if scorer.explains else (*REQUIREMENTS, *OF_OWN_MODELS)
    mlflow.pyfunc.save_model(
        path=folder,
        python_model=str(_MODEL_FILE),
        artifacts=artifacts,
        code_paths=[str(package)],
        model_config={"scoring_package": package.name},
        signature=SIGNATURE,
        input_example=EXAMPLE,
        # Given, not inferred: inferring starts a second interpreter for 15 s.
        pip_requirements=[f"{name}=={version(name)}" for name in needed],
        mlflow_model=model,
    )
    (folder / CARD).write_text(card, encoding="utf-8")


def need_whole(folder: Path) -> bool:
    """Check that a packed model is one that MLflow can load, without running its code.

    Gives whether its code is this installation's, too. If not, another version of Sentiflow packed it, or somebody
    changed it. It is a ValueError if it was not packed by ``save``, or its scoring code is damaged.
    """
    packed = Model.load(str(folder / "MLmodel")).flavors["python_function"]
    name = str(packed["config"]["scoring_package"])
    model = folder / Path(packed["model_code_path"]).name
    for file in [model, *(folder / each["path"] for each in packed["artifacts"].values())]:
        file.stat()
    if not _PACKAGE.fullmatch(name) or name != _name(folder / "code" / name):
        raise ValueError("its scoring code is damaged, or none of Sentiflow's")
    return name == _name(_SCORING) and model.read_bytes() == _MODEL_FILE.read_bytes()


def contents(folder: Path) -> dict[str, str]:
    """SHA-256 of each file of a packed model, by its path; without what MLflow adds to a copy."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "registered_model_meta"]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _name(package: Path) -> str:
    content: Any = hashlib.sha256()
    for file in sorted(package.glob("*.py")):
        content.update(f"{file.name}\n".encode() + file.read_bytes())
    return f"sentiflow_scoring_{content.hexdigest()[:12]}"
