"""Which texts a version has learnt from, as its run keeps them: the gate judges on others.

Only users' tables grow or change; the splits of the built-in datasets are fixed, and their runs keep nothing.
"""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sentiflow.base import model as base
from sentiflow.data.division import BY_WORDS, Hashes, text_hashes
from sentiflow.data.reviews import Reviews
from sentiflow.names import BASE, BUILT_IN, IMDB, dataset_of
from sentiflow.run.record import RunRecord
from sentiflow.settings import Settings
from sentiflow.store.find import open_store
from sentiflow.store.records import MISSING, SCORER_DIGEST, Store, VersionRecord

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

LEARNT = "learnt.npy"

NOTHING: Hashes = np.empty(0, np.uint64)


def learnt_in(content: Reviews, before: Hashes = NOTHING) -> Hashes:
    """Hashes, sorted, of texts and of their words that a training learns from, and of what its start learnt."""
    own = content.take(content.split != "test")
    words = NOTHING if own.words is None else own.words
    return np.union1d(np.concatenate([text_hashes(own.review_id), words[words > 0], [BY_WORDS]]), before)


def by_texts_alone(name: str, learnt: Hashes) -> str:
    """What to say of a version of an earlier release; else empty."""
    told = f"What {name} has learnt from is known by its exact texts: in other capitals or punctuation one is new."
    return "" if BY_WORDS in learnt or not len(learnt) else told


def write_learnt(hashes: Hashes, folder: Path) -> Path:
    """Write what a run keeps of them into a new folder, which is given back."""
    folder.mkdir()
    np.save(folder / LEARNT, hashes, allow_pickle=False)
    return folder


def learnt_by(store: Store, record: RunRecord, folder: Path) -> Hashes | None:
    """What a run's training has learnt from; None if it keeps nothing sound. A copy goes to the folder."""
    if record.dataset in BUILT_IN:
        return NOTHING  # reviews that come as ids of words are not found in a user's table
    path = store.file(record, LEARNT, folder)
    try:
        found = None if path is None else np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return found if found is not None and found.dtype == np.uint64 and found.ndim == 1 else None


def learnt_by_version(version: VersionRecord, client: "MlflowClient", store: Store, folder: Path) -> Hashes | None:
    """What the training of a version has learnt from; else as ``learnt_by``."""
    if version.tags.get("dataset") in BUILT_IN:
        return NOTHING
    if SCORER_DIGEST not in version.tags:  # a person registered it, and may have named any run
        return None
    from mlflow.exceptions import MlflowException

    from sentiflow.store.client import record_of

    try:
        record = record_of(client.get_run(str(version.run_id)))  # a deleted run, too, whose files are still there
    except MlflowException as err:
        if err.error_code in MISSING:
            return None
        raise
    return learnt_by(store, record, folder)


def learnt_of(name: str, settings: Settings) -> Hashes | None:
    """What a start has learnt from, by its name in ``Start``; None if it is not known."""
    model, _, number = name.rpartition("/")
    if name == BASE or dataset_of(model) == IMDB:
        return base.learnt()  # IMDB's versions have learnt from the same reviews
    if not model or dataset_of(model) in BUILT_IN:
        return NOTHING
    from sentiflow.store.client import connect, tracking_errors  # MLflow: seconds, which other starts do without

    client, store = connect(settings), open_store(settings)
    version = store.version(model, int(number))
    with tempfile.TemporaryDirectory() as folder, tracking_errors(settings.tracking_uri):
        return None if version is None else learnt_by_version(version, client, store, Path(folder))
