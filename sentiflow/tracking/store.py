"""Runs of the tracking store, found and read for people and commands.

A local store is read from its SQLite file and a server over HTTP, both without MLflow, which takes seconds to
import; any other store, and a server whose login only MLflow's client knows, through that client.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sentiflow.errors import UsageError, WorldError
from sentiflow.runs.record import RunRecord
from sentiflow.settings import Settings
from sentiflow.tracking.types import CHAMPION, Registry

if TYPE_CHECKING:
    from sentiflow.evaluation.gate import ScoreTable

SCORES = "test_scores.parquet"
_COLUMNS = {"review_id": "str", "label": "int8", "score": "float64", "n_tokens": "int32"}
_LEAST = 4  # digits of the beginning of an id
_ID = re.compile(rf"[0-9a-f]{{{_LEAST},32}}")  # a run's id, or the beginning of one
_VERSION = re.compile(rf"(?P<name>[^@/]+)(?:@{CHAMPION}|/(?P<number>\d{{1,9}}))")
_WHOLE = 32  # digits of a whole id
_TOLD = 8  # candidates that an error names at most


class RunStore(Protocol):
    """A place to look runs up; every call raises WorldError when it cannot be read. Deleted runs are not there."""

    @property
    def registry(self) -> Registry | None:
        """The registered models of the same store; None before there is one."""

    def runs(self) -> list[RunRecord]:
        """All runs of the experiment of the settings, children and monitor's among them, newest first."""

    def names(self) -> list[tuple[str, str]]:
        """Id and name of each of them, in the same order; quicker than ``runs``."""

    def called(self, name: str, beginning: str) -> list[tuple[str, str]]:
        """Id and name of those with a name, or an id that begins so (unless empty); newest first."""

    def record(self, run_id: str) -> RunRecord:
        """The run with this whole id, of any experiment.

        Raises:
            UsageError: there is none.
        """

    def children(self, run_id: str) -> list[RunRecord]:
        """The runs below a run, oldest first."""

    def history(self, run_id: str) -> dict[str, list[tuple[int, float]]]:
        """Metrics logged per epoch (at steps from 1): step and value of each point, in the order of steps."""

    def file(self, record: RunRecord, name: str, folder: Path) -> Path | None:
        """Path of one of a run's files, in place or a copy in the folder; None if it has no such file."""

    def versions(self) -> Mapping[str, str]:
        """Registered versions by the id of their run, like ``imdb-sentiment v3``; the newest of several."""


def open_store(settings: Settings) -> RunStore:
    """The store of the settings; a local one that is not there yet is empty, and is not made.

    Raises:
        WorldError: it does not answer.
    """
    if settings.sqlite_file is not None:
        from sentiflow.tracking.sqlite_runs import SqliteRuns

        return SqliteRuns(settings, settings.sqlite_file)
    from sentiflow.tracking import server_api  # and what else is imported here: only what the store needs

    if server_api.suffices(settings):
        from sentiflow.tracking.server_runs import ServerRuns

        return ServerRuns(settings)
    from sentiflow.tracking.mlflow_runs import MlflowRuns

    return MlflowRuns(settings)


def find_run(store: RunStore, text: str) -> RunRecord:
    """Find the run that a user means.

    Args:
        store: to look in.
        text: its whole id, a beginning of at least 4 digits that no other id shares, its name, or the registered
            version that it made: ``imdb-sentiment@champion`` or ``imdb-sentiment/3``.

    Raises:
        UsageError: there is no such run, or several; the hint names what there is.
    """
    beginning = text.lower()
    is_id = _ID.fullmatch(beginning) is not None
    if is_id and len(text) == _WHOLE:
        return store.record(beginning)
    found = store.called(text, beginning if is_id else "")
    if len(found) == 1:
        return store.record(found[0][0])
    if found:
        raise UsageError(f"{text!r} means {len(found)} runs: {_told(found)}.", "Type more of the id of one.")
    if version := _VERSION.fullmatch(text):
        return store.record(_run_of_version(store, version["name"], version["number"]))
    raise UsageError(f"There is no run {text!r}.", _nearest(store.names(), text))


def find_runs(store: RunStore, names: Sequence[str]) -> list[RunRecord]:
    """The runs that users mean by some texts.

    Raises:
        UsageError: ``find_run``'s, or two of them mean the same run.
    """
    runs: list[RunRecord] = []
    for name in names:
        found = find_run(store, name)
        if found in runs:
            raise UsageError(f"The run {found.run_id[:8]} ({found.name}) is named twice.", "Name each run once.")
        runs.append(found)
    return runs


def score_table(store: RunStore, record: RunRecord, folder: Path) -> "ScoreTable | None":
    """The scores of a run's test reviews, or None if the run keeps none.

    A run that does not say how many ids it reads of a review reads all of them.

    Raises:
        WorldError: they cannot be read.
    """
    path = store.file(record, SCORES, folder)
    if path is None:
        return None
    import numpy as np
    import pyarrow.parquet as pq  # this and the gate's scipy only when there is something to read

    from sentiflow.evaluation.gate import ScoreTable

    try:
        with pq.ParquetFile(path) as file:
            table = file.read(columns=list(_COLUMNS))
        # By lists: read_table and to_numpy import pandas, which takes longer than these milliseconds.
        ids, label, score, n_tokens = (np.array(table[name].to_pylist(), _COLUMNS[name]) for name in _COLUMNS)
        length = int(record.params.get("sequence_length", n_tokens.max(initial=1)))
        return ScoreTable(ids, label, score, n_tokens, length)
    except (OSError, ValueError, TypeError, KeyError) as err:  # Arrow's are ValueErrors or KeyErrors
        raise WorldError(
            f"The test scores of {record.name} cannot be read: {err}.", f"Is {path} damaged? Train that run again."
        ) from err


def _run_of_version(store: RunStore, name: str, number: str | None) -> str:
    """Id of the run that made a version, by default the champion."""
    registry = store.registry
    names = [] if registry is None else registry.names()
    if registry is None or name not in names:
        there = f"There are: {', '.join(names)}." if names else "Train one first: sentiflow train"
        raise UsageError(f"No model is registered as {name}.", there)
    wanted = registry.champion(name) if number is None else int(number)
    facts = None if wanted is None else registry.facts(name, wanted)
    if wanted is None or facts is None:
        told = "champion" if wanted is None else f"version {wanted}"
        raise UsageError(f"{name} has no {told}.", "See what there is: sentiflow versions")
    if facts.run_id is None:
        raise UsageError(f"{name} version {wanted} was registered without a run.", "Name another.")
    return facts.run_id


def _nearest(runs: Sequence[tuple[str, str]], text: str) -> str:
    """What the user may have meant."""
    if not runs:
        return "There are no runs yet. Make one: sentiflow train"
    if re.fullmatch(f"[0-9a-f]{{1,{_LEAST - 1}}}", text.lower()):
        begun = [run for run in runs if run[0].startswith(text.lower())]
        so_far = f" It begins {_told(begun)}." if begun else ""
        return f"The beginning of an id needs {_LEAST} digits at least, and this has {len(text)}.{so_far}"
    close = difflib.get_close_matches(text, [name for _, name in runs], n=3, cutoff=0.5)
    near = [run for run in runs if run[1] in close or (text and text in run[1])]
    if not near:
        return "An id, its beginning (4 digits at least) or a name is expected; see them with: sentiflow runs"
    return f"Did you mean {_told(near)}?"


def _told(runs: Sequence[tuple[str, str]]) -> str:
    told = ", ".join(f"{run_id[:8]} ({name})" for run_id, name in runs[:_TOLD])
    return told if len(runs) <= _TOLD else f"{told} and {len(runs) - _TOLD} more"
