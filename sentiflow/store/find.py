"""The tracking store, opened and searched without MLflow: runs, registered versions, and which one answers."""

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlparse

from sentiflow.errors import ExternalError, UsageError
from sentiflow.names import BASE, dataset_of, model_name
from sentiflow.redaction import redact
from sentiflow.run.record import (
    BASELINE_RUNS,
    DIGEST,
    MONITOR,
    REPEATS,
    SWEEP,
    TESTED_ON,
    TRIAL,
    RunRecord,
    whole_number,
    without_seeds,
)
from sentiflow.settings import Settings
from sentiflow.store.records import (
    ACCURACY,
    BASE_MODEL,
    CHAMPION,
    REPRODUCED,
    REPRODUCED_DIGEST,
    SCORER_DIGEST,
    UPGRADE,
    Store,
    Version,
    VersionRecord,
    choose_name,
    first_choice,
    gate_text,
    need_number,
    need_ours,
    parse_fraction,
)
from sentiflow.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from sentiflow.evaluation.scores import ScoreTable
    from sentiflow.scoring import TextScorer

PARENTS = (REPEATS, SWEEP, BASELINE_RUNS)
SCORES = "test_scores.parquet"
BASELINE_SCORES = "baseline"  # its column of the baseline's scores
_COLUMNS = {"review_id": "str", "label": "int8", "score": "float64", "n_tokens": "int32"}
_ID = re.compile(r"[0-9a-f]{4,32}")  # of a run, or the beginning of one
_VERSION = re.compile(r"(?:models:/)?(?P<name>[^@/]+)(?:@(?P<alias>[^@/]+)|/(?P<number>\d{1,9}))")
_MAX_SHOWN = 8  # candidates that an error names


def open_store(settings: Settings) -> Store:
    """The store of the settings; a local one that is not there yet is empty, and is not made."""
    need_readable(settings)
    if settings.sqlite_file is not None:
        return SqliteStore(settings, settings.sqlite_file)
    from sentiflow.store.rest import ServerStore  # requests, which a local store does without

    return ServerStore(settings)


def need_readable(settings: Settings) -> None:
    """Check that the store is one that can be read without MLflow's client."""
    if settings.sqlite_file is None and urlparse(settings.tracking_uri).scheme not in ("http", "https"):
        raise UsageError(
            f"The tracking store {redact(settings.tracking_uri)} is neither an SQLite file nor a server.",
            "Start a server over it, mlflow server --backend-store-uri ..., and set SENTIFLOW_TRACKING_URI.",
        )


def find_run(store: Store, text: str) -> RunRecord:
    """Find the run that a user means.

    The text is its whole id, a beginning of at least 4 digits that no other id shares, its name (also the short
    one that ``sentiflow runs`` shows), or the registered version that it made: ``imdb-sentiment/3`` or, by any
    alias, ``imdb-sentiment@champion``, also as MLflow writes them: ``models:/NAME/3``, ``runs:/ID/model``.
    """
    text = re.sub(r"^runs:/([0-9a-f]{32})(/.*)?$", r"\1", text)
    beginning = text.lower() if _ID.fullmatch(text.lower()) else ""
    if len(beginning) == 32:
        return store.record(beginning)
    found = store.called(text, beginning)
    if not found and (named := named_version(store, text)):
        name, made = named
        if made.run_id is None:
            raise UsageError(f"{name} version {made.number} was registered without a run.", "Choose another.")
        return store.record(made.run_id)
    found = found or [run for run in store.runs() if text in (run.short_name, without_seeds(run.short_name))]
    if not found:
        raise UsageError(f"There is no run {text!r}.", "See: sentiflow runs. Make one: sentiflow train")
    if len(found) > 1:
        several = ", ".join(f"{run.run_id[:8]} ({run.name})" for run in found[:_MAX_SHOWN])
        raise UsageError(f"{text!r} means {len(found)} runs: {several}.", "Type more characters of the id.")
    return found[0]


def named_version(store: Store, text: str) -> tuple[str, VersionRecord] | None:
    """The model and the version that a text names, as ``find_run`` takes it; None if it names no model."""
    found = _VERSION.fullmatch(text)
    model = store.model(found["name"]) if found else None
    if found is None or model is None:
        return None
    name, alias, number = found.groups()
    wanted = model.aliases.get(alias) if number is None else int(number)
    if wanted is None or (version := store.version(name, wanted)) is None:
        missing = f"version {wanted}" if number else alias if alias == CHAMPION else f"alias {alias}"
        there = f"See what there is: sentiflow versions --dataset {dataset_of(name)}"
        raise UsageError(f"{name} has no {missing}.", there)
    return name, version


def find_runs(store: Store, names: Sequence[str]) -> list[RunRecord]:
    runs: list[RunRecord] = []
    for name in names:
        found = find_run(store, name)
        if found in runs:
            raise UsageError(f"The run {found.run_id[:8]} ({found.name}) is named twice.", "Name each run once.")
        runs.append(found)
    return runs


def score_table(store: Store, record: RunRecord, folder: Path, column: str = "score") -> "ScoreTable | None":
    """The scores of a run's test reviews, or None if the run keeps none.

    With the column ``BASELINE_SCORES`` those of its baseline, or None if it has none. A run that does not say
    how many ids it reads of a review reads all of them.
    """
    path = store.file(record, SCORES, folder)
    if path is None:
        return None
    import numpy as np

    from sentiflow.evaluation.scores import ScoreTable, read_scores

    try:
        names = [column if name == "score" else name for name in _COLUMNS]
        table = read_scores(path, names)
        if column == BASELINE_SCORES and column not in table.column_names:
            return None
        # By lists: read_table and to_numpy import pandas, which takes longer than these milliseconds.
        columns = zip(names, _COLUMNS.values(), strict=True)
        ids, label, score, n_tokens = (np.array(table[name].to_pylist(), kind) for name, kind in columns)
        length = int(record.params.get("sequence_length", n_tokens.max(initial=1)))
        return ScoreTable(ids, label, score, n_tokens, length)
    except (OSError, ValueError, TypeError, KeyError, OverflowError) as err:  # Arrow's are two of these
        problem = f"The test scores of {record.name} cannot be read: {err}."
        raise ExternalError(problem, f"Is {path} damaged? Train that run again.") from err


def child_runs(store: Store, record: RunRecord) -> list[RunRecord]:
    """The run itself, or the finished runs below a parent: trainings of a recipe first, a sweep's trials last."""
    if record.kind == MONITOR:
        raise UsageError(f"{record.name} is a drift check, and trained nothing.", "See its report.html.")
    if record.kind not in PARENTS:
        return [record]
    below = [run for run in store.children(record.run_id) if run.status == "FINISHED"]
    if not below:
        raise UsageError(f"{record.name} ({record.status}) has no finished runs below it.", "See: sentiflow runs")
    # Seeds that ran side by side began in any order.
    seeds = {run.run_id: whole_number(run.params.get("seed")) or 0 for run in below}
    return sorted(below, key=lambda run: (run.kind == TRIAL, "recipe" not in run.params, seeds[run.run_id]))


@dataclass(frozen=True)
class Champion:
    """The version in use, its run and its test accuracy, 0 to 1; None for what the store does not say."""

    version: Version
    run_id: str | None
    accuracy: float | None
    tested_on: str = ""  # of which rows it is, if not of all


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
    """Find the version asked for, else the champion, else the best by validation of the newest data."""
    if name == BASE:
        if number is not None:
            raise UsageError(f"The model {BASE} has no versions.", "Leave --model-version out.")
        return BASE_MODEL
    store = open_store(settings)
    names = store.models()
    name = choose_name(names, name, settings.tracking_uri)
    versions = need_versions(store, name)
    if number is not None:
        return Version(name, need_number(versions, name, number), "chosen by number")
    champion = champion_of(store, name)
    if champion is not None and champion in versions:
        return Version(name, champion, CHAMPION)
    return Version(name, *first_choice(versions))


def find_champion(settings: Settings, name: str | None) -> Champion | None:
    """Find the champion of a model, see ``find_version``; None when no version is in use, or none is there."""
    if name == BASE:
        return Champion(BASE_MODEL, None, None)
    store = open_store(settings)
    if not name:
        names = store.models()
        if not names:
            return None
        name = choose_name(names, None, settings.tracking_uri)
    number = champion_of(store, name)
    if number is None or (found := store.version(name, number)) is None:  # none, or deleted a moment ago
        return None
    version, accuracy = Version(name, number, CHAMPION), parse_fraction(found.tags.get(ACCURACY))
    return Champion(version, found.run_id, accuracy, found.tags.get(TESTED_ON, ""))


def model_named(settings: Settings, dataset: str | None) -> str:
    """The registered model of a dataset, by default ``imdb-sentiment`` or the only one that there is."""
    wanted = None if dataset is None else model_name(dataset)
    return choose_name(open_store(settings).models(), wanted, settings.tracking_uri)


def load_scorer(settings: Settings, version: Version) -> "TextScorer":
    """Load what a registered version, or the base, scores with; files of a server are downloaded first."""
    if version == BASE_MODEL:
        from sentiflow.base.model import base

        return base().scorer
    with tempfile.TemporaryDirectory() as copies:
        store = open_store(settings)
        folder = store.version_files(version.name, version.number, Path(copies))
        found = store.version(version.name, version.number)
        tags = {} if found is None else found.tags
        try:
            return load_unchanged(folder, tags)
        except (OSError, ValueError) as err:
            from sentiflow.scoring import NewerFormatError

            need_ours(version.name, version.number, tags, folder)
            moved = "Were its files moved or deleted? Choose another with --model-version, or train again."
            hint = UPGRADE if isinstance(err, NewerFormatError) else moved
            raise ExternalError(f"Cannot load {version}: {err}.", hint) from err


def champion_of(store: Store, name: str) -> int | None:
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
    if version.tags.keys() >= {"dataset", DIGEST} or version.run_id is None:
        return version
    try:
        tags = store.record(version.run_id).tags
    except UsageError:  # deleted
        return version
    found = {key: tags[key] for key in ("dataset", DIGEST) if key in tags}
    return replace(version, tags={**found, **version.tags})


def need_dataset(name: str, version: VersionRecord) -> tuple[str, str]:
    """Name and digest of the dataset of a version from ``with_dataset``."""
    try:
        return version.tags["dataset"], version.tags[DIGEST]
    except KeyError as err:
        raise ExternalError(
            f"Neither {name} version {version.number} nor its run has the tags dataset and dataset.digest.",
            "Set them on the version in MLflow, as on the version of a training with the same data.",
        ) from err


def load_unchanged(folder: Path, tags: Mapping[str, str]) -> "TextScorer":
    """Load what a version scores with; ValueError if it is damaged, or is not what its tag says.

    Raises:
        UsageError: it is a model of a user's own, and Keras is not installed.
    """
    from sentiflow.scoring import OwnNetwork, TextScorer  # numpy, which listing does without

    scorer = TextScorer.load(folder / "artifacts")
    try:
        registered = tags.get(SCORER_DIGEST)
        if registered is not None and registered != scorer.digest:
            raise ValueError("its weights or words are not those that were registered")
        if isinstance(scorer.weights, OwnNetwork):
            _ = scorer.weights.model  # loaded here, where an error is told
    except ImportError as err:
        problem = f"A model of one's own is loaded by Keras, which is not installed: {err}."
        raise UsageError(problem, "pip install tensorflow keras") from err
    return scorer


def need_explained(scorer: "TextScorer", name: str) -> None:
    """Refuse to explain the scores of a model of a user's own."""
    if not scorer.explains:
        problem = f"{name} is a model of one's own, whose scores are not explained word by word."
        raise UsageError(problem, "Ask for labels and scores alone, or for another version.")


def need_neutral(scorer: "TextScorer", name: str) -> None:
    """Refuse to answer neutral by a model without limits of it."""
    if scorer.neutral is None:
        problem = f"{name} cannot answer neutral: no neutral texts set limits of it."
        raise UsageError(problem, "Train on a table that has some: sentiflow train --labels neutral=between ...")


def reproduction_of(tags: Mapping[str, str]) -> str:
    """``identical`` or ``different``, by a version's tags; empty if these weights were not trained again."""
    return tags.get(REPRODUCED, "") if tags.get(REPRODUCED_DIGEST) == tags.get(SCORER_DIGEST) else ""


def version_rows(name: str, settings: Settings) -> list[VersionRow]:
    """All versions of a registered model, newest first."""
    store = open_store(settings)
    versions = need_versions(store, name).values()
    model = store.model(name)
    aliases = {} if model is None else model.aliases
    names = store.run_names([version.run_id for version in versions if version.run_id])
    rows = []
    for version in reversed(versions):
        tags = version.tags
        accuracy, low, high = (parse_fraction(tags.get(f"{ACCURACY}{end}")) for end in ("", "_ci_low", "_ci_high"))
        held = tuple(sorted(alias for alias, number in aliases.items() if number == version.number))
        run = names.get(version.run_id or "") or (version.run_id or "-")[:8]
        ours = SCORER_DIGEST in tags or DIGEST in with_dataset(store, version).tags
        gate, reproduced = gate_text(tags) if ours else "not by Sentiflow", reproduction_of(tags)
        rows.append(
            VersionRow(version.number, held, version.registered, accuracy, low, high, gate, reproduced, run)
        )
    return rows
