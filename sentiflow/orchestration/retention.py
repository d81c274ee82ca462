"""What housekeeping deletes: old runs with their files, and old files of the data folder."""

import json
import re
import shutil
import time
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import url2pathname

import numpy as np
from mlflow.entities import Run
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.tracking import MlflowClient
from mlflow.utils.uri import append_to_uri_path
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from sentiflow.data.reviews import used_at, vocabulary_file
from sentiflow.files import PARTIAL
from sentiflow.locks import HOUSEKEEPING, if_free, lock_file
from sentiflow.names import model_name
from sentiflow.orchestration.repair import Care, size_of
from sentiflow.settings import Settings
from sentiflow.tracking import creation
from sentiflow.tracking.client import connect, tracking_errors

_DAY = 86_400_000  # milliseconds
_PAGE = 1_000
_PARENT = "mlflow.parentRunId"
_ID = re.compile(r"[\w-]+")  # of a run or a model; one with a slash would name another folder


def retire_runs(settings: Settings) -> Care:
    """Delete MLflow runs that ended long ago, with their models and files.

    A set of repeats is judged as a whole, parent and seeds. Whatever has a registered version stays. So does a run
    whose files are not in its own folder below the experiment's: whoever can write to the store could name any
    folder there. Without ``SENTIFLOW_KEEP_RUNS_DAYS`` all stay.
    """
    care = Care()
    if settings.keep_runs_days is None:
        return care
    before = time.time() * 1000 - settings.keep_runs_days * _DAY
    client = connect(settings)
    with tracking_errors(settings.tracking_uri):
        experiment = client.get_experiment_by_name(settings.experiment)
        if experiment is None:
            return care
        runs = list(_all_runs(client, experiment.experiment_id))
        versioned = _versioned(client)
    for family in families(runs):
        if is_old(family, before) and not versioned & {run.info.run_id for run in family}:
            for run in sorted(
                family, key=lambda run: _PARENT not in run.data.tags
            ):  # seeds first, the parent last
                with care.attempt(f"delete run {run.info.run_name}"), tracking_errors(settings.tracking_uri):
                    _delete(client, run, experiment.artifact_location, settings, care)
    if care.removed and settings.artifacts is None:
        care.left.append("records of deleted runs: an MLflow server keeps them, marked as deleted")
    return care


def families(runs: Sequence[Run]) -> list[list[Run]]:
    """Runs with all that hang together with them by their parents, cycles and chains of any length among them."""
    places = {run.info.run_id: place for place, run in enumerate(runs)}
    parents = [places.get(run.data.tags.get(_PARENT, ""), place) for place, run in enumerate(runs)]
    edges = np.ones(len(runs)), (np.arange(len(runs)), np.array(parents, int))
    count, family_of = connected_components(coo_array(edges, shape=(len(runs), len(runs))), directed=False)
    found: list[list[Run]] = [[] for _ in range(count)]
    for run, family in zip(runs, family_of, strict=True):
        found[family].append(run)
    return found


def is_old(family: Sequence[Run], before: float) -> bool:
    """Whether all of these runs ended before a moment (milliseconds since the epoch)."""
    return all(run.info.status != "RUNNING" and (run.info.end_time or before) < before for run in family)


def _all_runs(client: MlflowClient, experiment: str) -> Iterator[Run]:
    page = client.search_runs([experiment], max_results=_PAGE)
    yield from page
    while page.token:
        page = client.search_runs([experiment], max_results=_PAGE, page_token=page.token)
        yield from page


def _versioned(client: MlflowClient) -> set[str]:
    """Runs that a registered version of any model came from."""
    page = client.search_model_versions(max_results=_PAGE)
    versions = list(page)
    while page.token:
        page = client.search_model_versions(max_results=_PAGE, page_token=page.token)
        versions += page
    found: set[str | None] = {version.run_id for version in versions}
    for version in versions:
        if version.model_id and not version.run_id:  # registered by hand, from the model alone
            found.add(client.get_logged_model(version.model_id).source_run_id)
    return {run_id for run_id in found if run_id}


def _delete(client: MlflowClient, run: Run, location: str, settings: Settings, care: Care) -> None:
    """Delete files first: a round that is killed in between finds the run again, and goes on.

    Args:
        client: of the store.
        run: to delete.
        location: of its experiment's files.
        settings: of the store.
        care: the account of what was done and left.
    """
    run_id = run.info.run_id
    models = list(client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run_id}'"))
    folders: dict[str, tuple[str, ...]] = {run.info.artifact_uri: (run_id, "artifacts")}
    folders |= {model.artifact_location: ("models", model.model_id, "artifacts") for model in models}
    foreign = [uri for uri, parts in folders.items() if not _is_own(uri, location, parts)]
    if foreign:
        care.left.append(
            f"run {run.info.run_name}: its files are at {', '.join(foreign)}, "
            f"not in its own folder below {location}"
        )
        return
    if client.search_model_versions(f"run_id = '{run_id}'"):  # registered this very moment
        return
    store: Any = client._tracking_client.store  # noqa: SLF001 - the client's own deletion only hides records
    size = 0
    for model in models:
        size += _delete_files(model.artifact_location, settings)
        client.delete_logged_model(model.model_id)
        if hasattr(store, "_hard_delete_logged_model"):
            store._hard_delete_logged_model(model.model_id)  # noqa: SLF001
    size += _delete_files(run.info.artifact_uri, settings)
    client.delete_run(run_id)
    if hasattr(store, "_hard_delete_run"):
        store._hard_delete_run(run_id)  # noqa: SLF001
    began = datetime.fromtimestamp(run.info.start_time / 1000, UTC)
    care.removed.append(f"run {run.info.run_name} of {began:%Y-%m-%d}, which has no version")
    care.freed += size


def _is_own(uri: str, location: str, parts: Sequence[str]) -> bool:
    """Whether files are where MLflow puts them by itself, and no link on the way leads elsewhere."""
    append: Any = append_to_uri_path
    if uri != append(location, *parts) or not all(_ID.fullmatch(part) for part in parts):
        return False
    own, root = _local(uri), _local(location)
    return own is None or root is None or own.resolve() == root.resolve().joinpath(*parts)


def _local(uri: str) -> Path | None:
    """The folder of this machine that an address names; None when it is a server's or a cloud's."""
    return Path(url2pathname(urlparse(uri).path)) if urlparse(uri).scheme in ("", "file") else None


def _delete_files(uri: str, settings: Settings) -> int:
    """Delete all artifacts of a run or a model; gives how many bytes they had."""
    repository: Any = get_artifact_repository(uri, tracking_uri=settings.tracking_uri)
    size = _size(repository)
    repository.delete_artifacts()
    folder = _local(uri)
    if folder is not None and folder.parent.is_dir() and not any(folder.parent.iterdir()):
        folder.parent.rmdir()  # what held them is left, empty
    return size


def _size(repository: Any, path: str | None = None) -> int:
    found = repository.list_artifacts(path)
    return sum(_size(repository, each.path) if each.is_dir else each.file_size or 0 for each in found)


_DAY_SECONDS = 86_400.0


def remove_old_files(settings: Settings, kept: Collection[str]) -> Care:
    """Remove what no process uses from the data folder.

    Work folders go when no training holds their model's lock; datasets, and what they were made from, when nothing
    used them for as long as the settings say.

    Args:
        settings: the data folder, and for how long unused files stay.
        kept: digests of datasets that stay: those of champions, by which candidates are judged.
    """
    care, data = Care(), settings.data_dir
    before = time.time() - settings.keep_files_days * _DAY_SECONDS
    for folder in _folders(data / "work"):
        with care.attempt(f"remove {folder}"), if_free(lock_file(folder.name, settings), HOUSEKEEPING) as free:
            if free:
                _remove(folder, "work files of no living run", care)
    for folder in _folders(data / "datasets"):
        with (
            care.attempt(f"clean {folder}"),
            if_free(lock_file(model_name(folder.name), settings), HOUSEKEEPING) as free,
        ):
            if free:
                _clean_dataset(folder, before, kept, care)
    for folder in _folders(data / "downloads"):
        with care.attempt(f"clean {folder}"):
            _clean_download(folder, before, care)
    for note in sorted(creation.folder(settings).glob("*.json")):
        with care.attempt(f"remove {note}"):
            if note.stat().st_mtime < before:
                _remove(note, "how a run ended that no store knows", care)
    return care


def _clean_dataset(folder: Path, before: float, kept: Collection[str], care: Care) -> None:
    """Remove old tables with their words, what a killed preparation left, and notes that lead nowhere."""
    with if_free(folder / ".lock") as free:
        if not free:  # it is being prepared
            return
        for table in sorted(folder.glob("*.parquet")):
            if table.stem not in kept and used_at(table) < before:
                _remove(table, f"dataset {folder.name}, unused", care)
                words = vocabulary_file(table)
                if words.exists():
                    care.freed += size_of(words)
                    words.unlink()
        for leftover in folder.glob(f".*{PARTIAL}"):
            _remove(leftover, "left by a killed preparation", care)
        tables = {table.stem for table in folder.glob("*.parquet")}
        for note in folder.glob(".*.json"):
            if _digest(note) not in tables:
                note.unlink()


def _digest(note: Path) -> str | None:
    try:
        return str(json.loads(note.read_text(encoding="utf-8"))["digest"])
    except (ValueError, KeyError, TypeError):  # cut off by a full disk: it leads nowhere
        return None


def _clean_download(folder: Path, before: float, care: Care) -> None:
    """Remove what killed downloads left, and files that nothing used; each has a lock beside it."""
    for path in sorted(folder.glob(".*.lock")):
        target = folder / path.name.removeprefix(".").removesuffix(".lock")
        with if_free(path) as free:
            if not free:  # it is being fetched
                continue
            for leftover in sorted(folder.iterdir()):
                if leftover.is_file() and leftover != target and leftover.suffix != ".lock":
                    _remove(leftover, "left by a killed download", care)
            if target.exists() and target.stat().st_mtime < before:
                _remove(target, "download, unused", care)


def _remove(path: Path, why: str, care: Care) -> None:
    size = size_of(path)
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    care.freed += size
    care.removed.append(f"{path.name} ({why})")


def _folders(parent: Path) -> list[Path]:
    return sorted(path for path in parent.glob("*") if path.is_dir())
