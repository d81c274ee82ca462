"""The tracking store, opened and searched, without MLflow: a local one by its SQLite file, a server over HTTP."""

import difflib
import os
import re
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlparse

from sentiflow.errors import ExternalError, UsageError
from sentiflow.names import dataset_of
from sentiflow.redaction import redact
from sentiflow.runs.record import (
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
from sentiflow.store.sqlite import SqliteStore
from sentiflow.store.types import CHAMPION, RegisteredModel, Store, VersionRecord

if TYPE_CHECKING:
    from sentiflow.evaluation.score_table import ScoreTable

PARENTS = (REPEATS, SWEEP, BASELINES)
SCORES = "test_scores.parquet"
YARDSTICK_SCORES = "baseline"  # its column of the yardstick's scores
_COLUMNS = {"review_id": "str", "label": "int8", "score": "float64", "n_tokens": "int32"}
_MIN_DIGITS = 4  # digits of the beginning of an id
_ID = re.compile(rf"[0-9a-f]{{{_MIN_DIGITS},32}}")  # a run's id, or the beginning of one
_VERSION = re.compile(r"(?:models:/)?(?P<name>[^@/]+)(?:@(?P<alias>[^@/]+)|/(?P<number>\d{1,9}))")
_WHOLE = 32  # digits of a whole id
_MAX_SHOWN = 8  # candidates that an error names


# Logins that only MLflow's own client knows: by plugins, by AWS, by workspaces.
_LOGINS_OF_MLFLOW = ("MLFLOW_TRACKING_AUTH", "MLFLOW_TRACKING_AWS_SIGV4", "MLFLOW_WORKSPACE")
_HEADERS_BY_PLUGIN = "mlflow.request_header_provider"


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
    """Check that the store is one that can be read without MLflow's client.

    Raises:
        UsageError: it is not.
    """
    if settings.sqlite_file is not None:
        return
    uri = redact(settings.tracking_uri)
    if urlparse(settings.tracking_uri).scheme not in ("http", "https"):
        raise UsageError(
            f"The tracking store {uri} is neither an SQLite file nor a server.",
            "Start a server over it, mlflow server --backend-store-uri ..., and set SENTIFLOW_TRACKING_URI.",
        )
    login = next((name for name in _LOGINS_OF_MLFLOW if os.environ.get(name)), None)
    if login or entry_points(group=_HEADERS_BY_PLUGIN):
        raise UsageError(
            f"The tracking store {uri} wants a login by {login or 'a plugin of MLflow'}, which is not supported.",
            "Use a name and a password, or a token: MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_TOKEN.",
        )


def find_run(store: Store, text: str) -> RunRecord:
    """Find the run that a user means.

    The text is its whole id, a beginning of at least 4 digits that no other id shares, its name (also the short
    one that ``sentiflow runs`` shows), or the registered version that it made: ``imdb-sentiment/3`` or, by any
    alias, ``imdb-sentiment@champion``, also as MLflow writes them, with ``models:/`` before.

    Raises:
        UsageError: there is no such run, or several; the hint names what there is.
    """
    beginning = text.lower()
    is_id = _ID.fullmatch(beginning) is not None
    if is_id and len(text) == _WHOLE:
        return store.record(beginning)
    found = store.called(text, beginning if is_id else "")
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(f"{text!r} means {len(found)} runs: {_named(found)}.", "Type more characters of the id.")
    if named := named_version(store, text):
        name, made = named
        if made.run_id is None:
            raise UsageError(f"{name} version {made.number} was registered without a run.", "Choose another.")
        return store.record(made.run_id)
    runs = store.runs()
    short = [run for run in runs if run.short_name == text]  # as `sentiflow runs` shows it
    short = short or [run for run in runs if without_seeds(run.short_name) == text]
    if len(short) == 1:
        return short[0]
    if short:
        raise UsageError(f"{text!r} means {len(short)} runs: {_named(short)}.", "Type the beginning of an id.")
    if version := _VERSION.fullmatch(text):
        names = store.models()
        there = f"There are: {', '.join(names)}." if names else "Train one first: sentiflow train"
        raise UsageError(f"No model is registered as {version['name']}.", there)
    raise UsageError(f"There is no run {text!r}.", _nearest(runs, text))


def named_version(store: Store, text: str) -> tuple[str, VersionRecord] | None:
    """The model and the version that a text names, as ``find_run`` takes it; None if it names no model."""
    found = _VERSION.fullmatch(text)
    model = store.model(found["name"]) if found else None
    return (found["name"], _version_of(store, model, **found.groupdict())) if found and model else None


def find_runs(store: Store, names: Sequence[str]) -> list[RunRecord]:
    """The runs that users mean by some texts.

    Raises:
        UsageError: two of them mean the same run.
    """
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

    Raises:
        ExternalError: they cannot be read.
    """
    path = store.file(record, SCORES, folder)
    if path is None:
        return None
    import numpy as np
    import pyarrow.parquet as pq  # this and the gate's scipy only when there is something to read

    from sentiflow.evaluation.score_table import ScoreTable

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


def _version_of(
    store: Store, model: RegisteredModel, name: str, alias: str | None, number: str | None
) -> VersionRecord:
    """A version, which an alias or its number names."""
    wanted = model.aliases.get(str(alias)) if number is None else int(number)
    if wanted is None or (version := store.version(name, wanted)) is None:
        missing = f"version {wanted}" if number else alias if alias == CHAMPION else f"alias {alias}"
        there = f"See what there is: sentiflow versions --dataset {dataset_of(name)}"
        raise UsageError(f"{name} has no {missing}.", there)
    return version


def _nearest(runs: Sequence[RunRecord], text: str) -> str:
    if not runs:
        return "There are no runs yet. Make one: sentiflow train"
    close = difflib.get_close_matches(text, [run.name for run in runs], n=3, cutoff=0.5)
    near = [run for run in runs if run.name in close or (text and text in run.name)]
    if near:
        return f"Did you mean {_named(near)}?"
    expected = f"An id, its beginning ({_MIN_DIGITS} digits at least) or a name is expected"
    return f"{expected}; see them with: sentiflow runs"


def _named(runs: Sequence[RunRecord]) -> str:
    shown = ", ".join(f"{run.run_id[:8]} ({run.name})" for run in runs[:_MAX_SHOWN])
    return shown if len(runs) <= _MAX_SHOWN else f"{shown} and {len(runs) - _MAX_SHOWN} more"


def child_runs(store: Store, record: RunRecord) -> list[RunRecord]:
    """The run itself, or the finished runs below a parent: trainings of a recipe first, a sweep's trials last.

    Raises:
        UsageError: there is none, or the run trained nothing.
    """
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
