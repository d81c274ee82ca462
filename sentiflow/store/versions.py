"""Registered versions: which one answers, what scores with it, and the list of all."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from sentiflow.errors import ExternalError, UsageError
from sentiflow.names import BASE, dataset_of, is_model_name, model_name
from sentiflow.scoring import TextScorer
from sentiflow.settings import Settings
from sentiflow.store import (
    ACCURACY,
    BASE_MODEL,
    CHAMPION,
    REPRODUCED,
    REPRODUCED_DIGEST,
    SCORER_DIGEST,
    Store,
    Version,
    VersionRecord,
    choose_name,
    compared_with,
    need_number,
    parse_fraction,
)
from sentiflow.store.find import open_store

ANSWERS_NOW = f"What answers now is the model {BASE}, {BASE_MODEL.why}: add --dataset {BASE}."


@dataclass(frozen=True)
class Champion:
    """The version in use, its run and its test accuracy, 0 to 1; None for what the store does not say."""

    version: Version
    run_id: str | None
    accuracy: float | None


@dataclass(frozen=True)
class VersionRow:
    """One line of the table of versions; a number is None when the version does not say."""

    number: int
    aliases: tuple[str, ...]
    registered: datetime
    accuracy: float | None
    accuracy_ci_low: float | None
    accuracy_ci_high: float | None
    gate: str
    reproduced: str
    run: str


def find_version(settings: Settings, name: str | None, number: int | None) -> Version:
    """Find the version that was asked for, else the champion, else the newest.

    Without the name of a registered model it is ``imdb-sentiment``, or the only one that there is. The base is no
    registered model; it is there without a store.
    """
    if name == BASE:
        if number is not None:
            raise UsageError(f"The model {BASE} has no versions.", "Leave --model-version out.")
        return BASE_MODEL
    store = open_store(settings)
    names = store.models()
    if name is None and not any(map(is_model_name, names)):
        raise UsageError("No model is registered yet.", f"Train one first: sentiflow train\n{ANSWERS_NOW}")
    name = choose_name(names, name)
    versions = need_versions(store, name)
    if number is not None:
        return Version(name, need_number(versions, name, number), "asked for")
    champion = champion_of(store, name)
    if champion is not None and champion in versions:
        return Version(name, champion, CHAMPION)
    return Version(name, max(versions), "newest, no champion yet")


def find_champion(settings: Settings, name: str | None) -> Champion | None:
    """Find the champion, and nothing in its place: None when no version is in use, or no such model is there yet.

    Without the name of a registered model it is ``imdb-sentiment``, or the only one that there is. The base is the
    champion of its own name.
    """
    if name == BASE:
        return Champion(BASE_MODEL, None, None)
    store = open_store(settings)
    if not name:
        names = store.models()
        if not names:
            return None
        name = choose_name(names, None)
    number = champion_of(store, name)
    if number is None or (found := store.version(name, number)) is None:  # none, or deleted a moment ago
        return None
    return Champion(Version(name, number, CHAMPION), found.run_id, parse_fraction(found.tags.get(ACCURACY)))


def model_named(settings: Settings, dataset: str | None) -> str:
    """The registered model of a dataset, by default ``imdb-sentiment`` or the only one that there is."""
    return choose_name(open_store(settings).models(), None if dataset is None else model_name(dataset))


def load_scorer(settings: Settings, version: Version) -> TextScorer:
    """Load what a registered version, or the base, scores with; files of a server are downloaded first."""
    if version == BASE_MODEL:
        from sentiflow.base import base

        return base().scorer
    with tempfile.TemporaryDirectory() as copies:
        store = open_store(settings)
        folder = store.version_files(version.name, version.number, Path(copies))
        found = store.version(version.name, version.number)
        try:
            return load_unchanged(folder, {} if found is None else found.tags)
        except (OSError, ValueError) as err:
            raise ExternalError(
                f"Cannot load {version}: {err}.",
                "Choose another with --model-version, or train again.",
            ) from err


def champion_of(store: Store, name: str) -> int | None:
    """The version in use of a registered model, or None."""
    model = store.model(name)
    return None if model is None else model.champion


def need_versions(store: Store, name: str) -> dict[int, VersionRecord]:
    """The versions of a registered model by number, oldest first."""
    versions = {version.number: version for version in store.versions(name)}
    if not versions:
        hint = f"Train one first: sentiflow train --dataset {dataset_of(name)}"
        raise UsageError(f"No version is registered as {name}.", hint)
    return versions


def with_dataset(store: Store, version: VersionRecord) -> VersionRecord:
    """The version, with the dataset of its run where its own tags name none: a person may have registered it."""
    if version.tags.keys() >= {"dataset", "dataset.digest"} or version.run_id is None:
        return version
    try:
        tags = store.record(version.run_id).tags
    except UsageError:  # deleted
        return version
    found = {key: tags[key] for key in ("dataset", "dataset.digest") if key in tags}
    return replace(version, tags={**found, **version.tags})


def need_dataset(name: str, version: VersionRecord) -> tuple[str, str]:
    """Name and digest of the dataset of a version from ``with_dataset``."""
    try:
        return version.tags["dataset"], version.tags["dataset.digest"]
    except KeyError as err:
        raise ExternalError(
            f"Neither {name} version {version.number} nor its run has the tags dataset and dataset.digest.",
            "Set them on the version in MLflow, as on the version of a training with the same data.",
        ) from err


def load_unchanged(folder: Path, tags: Mapping[str, str]) -> TextScorer:
    """Load what a version scores with from the folder of its files.

    If its tags lack the digest that a training writes, nothing is compared.

    Raises:
        ValueError: the files are damaged, or not those that were registered.
    """
    scorer = TextScorer.load(folder / "artifacts")
    registered = tags.get(SCORER_DIGEST)
    if registered is not None and registered != scorer.digest:
        raise ValueError("its weights or words are not those that were registered")
    return scorer


def reproduction_of(tags: Mapping[str, str]) -> str:
    """How a version's training came out again, by its tags: ``identical`` or ``different``.

    Empty if it was not trained again, or was with other weights than it has now.
    """
    return tags.get(REPRODUCED, "") if tags.get(REPRODUCED_DIGEST) == tags.get(SCORER_DIGEST) else ""


def version_rows(name: str, settings: Settings) -> list[VersionRow]:
    """All versions of a registered model, newest first."""
    store = open_store(settings)
    versions = need_versions(store, name).values()
    model = store.model(name)
    aliases = {} if model is None else model.aliases
    names = store.run_names([version.run_id for version in versions if version.run_id])
    return [
        _version_row(version, [alias for alias, number in aliases.items() if number == version.number], names)
        for version in reversed(versions)
    ]


def _version_row(version: VersionRecord, aliases: list[str], run_names: dict[str, str]) -> VersionRow:
    tags = version.tags
    low, at, high = (tags.get(f"{ACCURACY}{end}") for end in ("_ci_low", "", "_ci_high"))
    outcome = tags.get("gate.outcome")
    return VersionRow(
        number=version.number,
        aliases=tuple(sorted(aliases)),
        registered=version.registered,
        accuracy=parse_fraction(at),
        accuracy_ci_low=parse_fraction(low),
        accuracy_ci_high=parse_fraction(high),
        gate=f"{outcome}{_against(tags.get('gate.against', '-'))}" if outcome else "-",
        reproduced=reproduction_of(tags),
        run=run_names.get(version.run_id or "") or (version.run_id or "-")[:8],
    )


def _against(champion: str) -> str:
    """The tag ``gate.against`` behind an outcome: ``, no champion`` or `` against v4``."""
    return f", {champion}" if champion == compared_with(None) else f" against {champion.replace('version ', 'v')}"
