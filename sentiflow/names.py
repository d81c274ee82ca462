"""Names of datasets and of the models trained on them."""

import os
import re
from hashlib import sha256
from pathlib import Path
from unicodedata import normalize

from sentiflow.environment import expanded

IMDB = "imdb"
BUILT_IN = (IMDB, "sample")
_COMPRESSED = (".gz", ".bz2", ".xz")
_TABLES = (
    ".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".json", ".parquet", ".pq", ".xlsx", ".xls", ".ods", ".zip",
)  # fmt: skip
BASE = "base"
"""In place of a dataset and of a model: what the package carries, which answers before anything was trained."""
_RESERVED = (*BUILT_IN, BASE)
HUGGING_FACE = "hf://"
_HUBS = (HUGGING_FACE, "kagglehub://")

AUTO, NONE = "auto", "none"
"""What a training starts from, besides versions and the base: what is best for the dataset, and nothing."""


def dataset_name(dataset: str) -> str:
    """The name of a dataset: its own when built in, else that of its table or folder.

    That is in lower case and without accents, ß as ss. Six digits of its hash distinguish a name with letters of
    other alphabets.

    Example:
        >>> dataset_name("my Reviews.csv"), dataset_name("imdb.csv"), dataset_name("отзывы 2024.csv")
        ('my-reviews', 'imdb-table', '2024-bd9724')
        >>> dataset_name("hf://stanfordnlp/imdb")
        'stanfordnlp-imdb'
    """
    if dataset in _RESERVED:
        return dataset
    path = _absolute(dataset) if dataset else Path()
    path = path.with_suffix("") if path.suffix.lower() in _COMPRESSED else path
    name = path.stem if path.suffix.lower() in _TABLES else path.name
    _, of_hub = in_hub(dataset)
    written = normalize("NFC", (of_hub or name).casefold())
    plain = re.sub(r"[\u0300-\u036f]", "", normalize("NFKD", written))  # without accents
    stem = re.sub(r"[^a-z0-9]+", "-", plain).strip("-") or "table"
    if any(each.isalnum() and not each.isascii() for each in plain):
        stem += f"-{sha256(written.encode(errors='surrogatepass')).hexdigest()[:6]}"
    return f"{stem}-table" if stem in _RESERVED else stem


def in_hub(dataset: str) -> tuple[str, str]:
    """The beginning that says which hub's dataset this is, and its name there; empty for one that is in none."""
    hub = next((each for each in _HUBS if dataset.startswith(each)), "")
    return hub, dataset.removeprefix(hub).removeprefix("datasets/") if hub else ""


def located(dataset: str) -> str:
    """A table or a folder of them by its whole path, which is the same from every folder; others as they are."""
    if not dataset or dataset in _RESERVED or any(in_hub(dataset)):
        return dataset
    is_path = os.sep in dataset or Path(dataset).suffix or expanded(dataset).is_dir()
    return str(_absolute(dataset)) if is_path else dataset


def _absolute(dataset: str) -> Path:
    path = expanded(dataset).absolute()
    return path if path.name not in ("", "..") else path.resolve()


def model_name(dataset: str) -> str:
    """What a dataset's versions are registered under; the base keeps its name, which no such model has."""
    return dataset if dataset == BASE else f"{dataset_name(dataset)}-sentiment"


def dataset_of(model: str) -> str:
    """The dataset's name in the name of its registered model, as ``--dataset`` takes it."""
    return model.removesuffix("-sentiment")


def is_model_name(name: str) -> bool:
    """Whether a text is what ``model_name`` makes; anything else, such as a path, names no lock and no folder."""
    return re.fullmatch(r"[a-z0-9-]+-sentiment", name) is not None
