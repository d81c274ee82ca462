"""Whether a training is due: an equal one may have made a version already."""

import json

from sentiflow import base
from sentiflow.data.prepare import find_prepared
from sentiflow.data.table import TableOptions
from sentiflow.names import AUTO, BASE, BUILT_IN, NONE, model_name
from sentiflow.settings import Settings
from sentiflow.store.find import open_store
from sentiflow.store.types import SCORER_DIGEST, Version
from sentiflow.training.provenance import digest_of, packages, sources
from sentiflow.training.recipes import TrainConfig
from sentiflow.training.start_from import version_meant

TRAINING_KEY = "training.key"  # tag of a version


def trained_already(
    config: TrainConfig, dataset: str, seed: int, settings: Settings, table: TableOptions, start_from: str
) -> Version | None:
    """Find a version made by the same recipe, data, start, code, packages and seed; None if a training is due."""
    if (prepared := find_prepared(dataset, settings, table)) is None:
        return None
    key = training_key(config, prepared.digest, seed, asked_key(start_from, dataset, settings))
    name = model_name(dataset)
    for version in reversed(open_store(settings).versions(name)):
        if version.tags.get(TRAINING_KEY) == key:
            return Version(name, version.number, "trained already")
    return None


def training_key(config: TrainConfig, digest: str, seed: int, start: str) -> str:
    """SHA-256 of all that decides what a training gives.

    That is the recipe's fields, the seed, the dataset, the start, the code that decides the weights, and the names
    and versions of all installed packages. ``digest`` is that of the prepared dataset, ``start`` of ``asked_key``.
    """
    recipe = config.model_dump(exclude={*config.fit_to_table})
    return digest_of(json.dumps([recipe, digest, seed, start, sources(), packages()]))


def asked_key(asked: str, dataset: str, settings: Settings) -> str:
    """What of a start decides whether a training would be another: for a named version what it is today.

    With ``auto`` a table that has not changed is not trained again, whatever its champion became meanwhile.
    """
    if asked == NONE or (asked == AUTO and dataset in BUILT_IN):
        return NONE
    if asked in (AUTO, BASE):
        return f"{asked} {base.base().digest}"
    name, version = version_meant(open_store(settings), asked)
    return version.tags.get(SCORER_DIGEST, f"{name}/{version.number}")


def nothing_to_train(equal: Version) -> str:
    """Say that a training would only repeat a version."""
    same = "same recipe, data, seed, code and packages"
    return f"Nothing to train: {equal.name} version {equal.number} has the {same}."
