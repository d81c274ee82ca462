"""Old runs are deleted, with their files, unless a registered version came of them."""

import re
import time
from collections.abc import Iterator, Sequence
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

from sentiment.settings import Settings
from tasks.care import Care
from tasks.tracking import connect, tracking_errors

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
