"""The tracking store, opened and searched, without MLflow: a local one by its SQLite file, a server over HTTP."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlparse

from sentiflow.errors import ExternalError, UsageError
from sentiflow.names import dataset_of
from sentiflow.redaction import redact
from sentiflow.runs import (
    BASELINES,
    MONITOR,
    REPEAT,
    REPEATS,
    SWEEP,
    TRIAL,
    RunRecord,
    whole_number,
    without_seeds,
)
from sentiflow.settings import Settings
from sentiflow.store import CHAMPION, Store, VersionRecord
from sentiflow.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from sentiflow.evaluation import ScoreTable

PARENTS = (REPEATS, SWEEP, BASELINES)
SCORES = "test_scores.parquet"
YARDSTICK_SCORES = "baseline"  # its column of the yardstick's scores
_COLUMNS = {"review_id": "str", "label": "int8", "score": "float64", "n_tokens": "int32"}
_WHOLE = 32  # digits of a run's id
_ID = re.compile(rf"[0-9a-f]{{4,{_WHOLE}}}")  # one, or the beginning of one
_VERSION = re.compile(r"(?:models:/)?(?P<name>[^@/]+)(?:@(?P<alias>[^@/]+)|/(?P<number>\d{1,9}))")
_MAX_SHOWN = 8  # candidates that an error names


def open_store(settings: Settings) -> Store:
    """The store of the settings; a local one that is not there yet is empty, and is not made."""
    need_readable(settings)
    if settings.sqlite_file is not None:
        return SqliteStore(settings, settings.sqlite_file)
    from sentiflow.store.rest import ServerStore  # requests, which a local store does without
    from sentiflow.store.ui import use_login

    use_login(settings)
    return ServerStore(settings)


def need_readable(settings: Settings) -> None:
    """Check that the store is one that can be read without MLflow's client."""
    if settings.sqlite_file is not None:
        return
    if urlparse(settings.tracking_uri).scheme not in ("http", "https"):
        raise UsageError(
            f"The tracking store {redact(settings.tracking_uri)} is neither an SQLite file nor a server.",
            "Start a server over it, mlflow server --backend-store-uri ..., and set SENTIFLOW_TRACKING_URI.",
        )


def find_run(store: Store, text: str) -> RunRecord:
    """Find the run that a user means.

    The text is its whole id, a beginning of at least 4 digits that no other id shares, its name (also the short
    one that ``sentiflow runs`` shows), or the registered version that it made: ``imdb-sentiment/3`` or, by any
    alias, ``imdb-sentiment@champion``, also as MLflow writes them, with ``models:/`` before.
    """
    beginning = text.lower() if _ID.fullmatch(text.lower()) else ""
    if len(beginning) == _WHOLE:
        return store.record(beginning)
    found = store.called(text, beginning)
    if not found and (named := named_version(store, text)):
        name, made = named
        if made.run_id is None:
            raise UsageError(f"{name} version {made.number} was registered without a run.", "Choose another.")
        return store.record(made.run_id)
    found = found or [run for run in store.runs() if text in (run.short_name, without_seeds(run.short_name))]
    if not found:
        raise UsageError(
            f"There is no run {text!r}.", "See what there is: sentiflow runs. Make one: sentiflow train"
        )
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
    """The runs that users mean by some texts."""
    runs: list[RunRecord] = []
    for name in names:
        found = find_run(store, name)
        if found in runs:
            raise UsageError(f"The run {found.run_id[:8]} ({found.name}) is named twice.", "Name each run once.")
        runs.append(found)
    return runs


def score_table(store: Store, record: RunRecord, folder: Path, column: str = "score") -> "ScoreTable | None":
    """The scores of a run's test reviews, or None if the run keeps none.

    With the column ``YARDSTICK_SCORES`` those of its yardstick, or None if it has none. A run that does not say
    how many ids it reads of a review reads all of them.
    """
    path = store.file(record, SCORES, folder)
    if path is None:
        return None
    import numpy as np
    import pyarrow.parquet as pq  # this and the gate's scipy only when there is something to read

    from sentiflow.evaluation import ScoreTable

    try:
        with pq.ParquetFile(path) as file:
            if column == YARDSTICK_SCORES and column not in file.schema_arrow.names:
                return None
            names = [column if name == "score" else name for name in _COLUMNS]
            table = file.read(columns=names)
        # By lists: read_table and to_numpy import pandas, which takes longer than these milliseconds.
        columns = zip(names, _COLUMNS.values(), strict=True)
        ids, label, score, n_tokens = (np.array(table[name].to_pylist(), kind) for name, kind in columns)
        length = int(record.params.get("sequence_length", n_tokens.max(initial=1)))
        return ScoreTable(ids, label, score, n_tokens, length)
    except (OSError, ValueError, TypeError, KeyError, OverflowError) as err:  # Arrow's are two of these
        raise ExternalError(
            f"The test scores of {record.name} cannot be read: {err}.", f"Is {path} damaged? Train that run again."
        ) from err


def child_runs(store: Store, record: RunRecord) -> list[RunRecord]:
    """The run itself, or the finished runs below a parent: trainings of a recipe first, a sweep's trials last."""
    if record.kind == MONITOR:
        raise UsageError(
            f"{record.name} is a drift check, and trained nothing.", "Its report is its artifact report.html."
        )
    if record.kind not in PARENTS:
        return [record]
    below = [run for run in store.children(record.run_id) if run.status == "FINISHED"]
    if not below:
        raise UsageError(
            f"{record.name} has no finished runs below it (it is {record.status}).", "Name runs: sentiflow runs"
        )
    return sorted(below, key=lambda run: (run.kind == TRIAL, "recipe" not in run.params, _seed(run)))


def _seed(run: RunRecord) -> int:
    """Seeds that ran side by side began in any order."""
    return (whole_number(run.params.get("seed")) or 0) if run.kind == REPEAT else 0
