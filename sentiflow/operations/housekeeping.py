"""Housekeeping: what killed processes left open is closed, and what is old goes: runs of MLflow, and files."""

import re
import shutil
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import mlflow
from mlflow.entities import LoggedModel, Run
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.tracking import MlflowClient
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import PrefectException

from sentiflow.data.reviews import used_at, vocabulary_file
from sentiflow.data.rows import REJECTS
from sentiflow.errors import BusyError, SentiflowError, first_line
from sentiflow.files import PARTIAL
from sentiflow.locks import HOUSEKEEPING, if_free, lock_file, place_of, training_lock
from sentiflow.names import is_model_name, model_name
from sentiflow.operations import flow_runs
from sentiflow.redaction import escape_markdown, redact
from sentiflow.run.record import DIGEST, PARENT_RUN
from sentiflow.settings import Settings
from sentiflow.store.client import RUNNING, close_run, connect, has_local_lock, reconcile, tracking_errors
from sentiflow.store.find import champion_of, open_store, with_dataset
from sentiflow.store.records import LOCK, SHA256, local_path, time_of

_TRAININGS = ("train", "repeat", "sweep", "reproduce")
# A training promotes for seconds after its MLflow run has ended, and waits for the lock before it opens one.
_GRACE = timedelta(hours=1)
_DAY = 86_400  # seconds
_ID = re.compile(r"[\w-]+")  # of a run or a model; one with a slash would name another folder
_PAGE = 1_000  # runs; a server takes milliseconds for each, and has 10 s for an answer


@dataclass
class CleanupReport:
    """What a step of the clean-up did, or all of them; what looks like work and was left alone."""

    closed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @contextmanager
    def attempt(self, what: str) -> Iterator[None]:
        """Note an external failure, or that another process is at work there, and go on with the next thing."""
        try:
            yield
        except BusyError as err:
            self.left.append(str(err.args[0]))
        except (SentiflowError, OSError, MlflowException, httpx.HTTPError, PrefectException) as err:
            self.failures.append(f"{what}: {redact(first_line(err))}")

    def add(self, other: "CleanupReport") -> None:
        for name in vars(self):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def lines(self) -> list[str]:
        """A line for each thing; one line when there was nothing to do."""
        titles = {"Closed": self.closed, "Removed": self.removed, "Left alone": self.left, "Failed": self.failures}
        lines = [f"{title}: {line}" for title, entries in titles.items() for line in entries]
        return lines or ["Nothing to do: no run was left open, and nothing is old enough to be removed."]

    @property
    def summary(self) -> str:
        return "\n".join(self.lines())

    def markdown(self) -> str:
        return "\n".join(f"- {escape_markdown(line)}" for line in self.lines())


def close_killed(settings: Settings, now: datetime) -> CleanupReport:
    """Close MLflow runs and flow runs whose process is gone.

    A run is judged by the lock of its model: when the lock can be taken, the run's process is gone. A run whose
    lock is another machine's is judged by the state of its flow run.
    """
    client = connect(settings)
    with get_client(sync_client=True) as prefect:
        closing = _Closing(client, prefect, settings, now)
        with tracking_errors(settings.tracking_uri):
            experiment = client.get_experiment_by_name(settings.experiment)
        if experiment is not None:
            closing.runs(experiment.experiment_id)
        with closing.report.attempt("close flow runs"):
            closing.flow_runs()
    return closing.report


@dataclass
class _Closing:
    """One round of ``close_killed``."""

    client: MlflowClient
    prefect: SyncPrefectClient
    settings: Settings
    now: datetime
    report: CleanupReport = field(default_factory=CleanupReport)

    def runs(self, experiment: str) -> None:
        with tracking_errors(self.settings.tracking_uri):
            running = list(self.client.search_runs([experiment], RUNNING))
        local = [run for run in running if has_local_lock(run, self.settings)]
        for model in sorted({run.data.tags["registered_model"] for run in local}):
            with (
                self.report.attempt(f"close the runs of {model}"),
                training_lock(model, self.settings, purpose=HOUSEKEEPING),
            ):
                closed = reconcile(
                    self.client, experiment, model, self.settings, HOUSEKEEPING, flow_runs.crash_flow_run
                )
                self.report.closed += [f"run {run.info.run_name}, whose process is gone" for run in closed]
        for run in running:
            if run not in local:
                with self.report.attempt(f"close run {run.info.run_name}"):
                    self._remote_run(run)

    def _remote_run(self, run: Run) -> None:
        """Judge a run of another machine by its flow run; one without a flow run is not ours."""
        flow_run_id = run.data.tags.get("prefect.flow_run_id")
        if flow_run_id is None:
            return
        flow_run, what = flow_runs.find(self.prefect, flow_run_id), f"run {run.info.run_name}"
        if flow_run is None or flow_run.state is None or not flow_run.state.is_final():
            place = place_of(run.data.tags.get(LOCK))
            self.report.left.append(f"{what}: it began {place}; if it was killed, what runs next there closes it")
        else:
            state = flow_run.state.name or flow_run.state.type.value
            ending = "FAILED" if flow_run.state.is_failed() else "KILLED"
            why = f"its flow run ended as {state}"
            close_run(self.client, run, HOUSEKEEPING, flow_runs.crash_flow_run, ending, why)
            self.report.closed.append(f"{what}, whose flow run ended as {state}")

    def flow_runs(self) -> None:
        """Crash trainings that Prefect takes for running, and that cannot be."""
        experiments = [found.experiment_id for found in self.client.search_experiments()]
        for flow_run in flow_runs.search(self.prefect, state={"type": {"any_": flow_runs.BEGUN}}):
            name = self.prefect.read_flow(flow_run.flow_id).name
            # Its start_time is that of its first attempt.
            began = flow_run.state.timestamp if flow_run.state else self.now
            if name in _TRAININGS and (why := self._why_ended(flow_run, experiments, began)):
                flow_runs.crash(self.prefect, flow_run, f"{why}; closed by {HOUSEKEEPING}.")
                self.report.closed.append(f"flow run {flow_run.name}: {why[0].lower()}{why[1:]}")

    def _why_ended(self, flow_run: FlowRun, experiments: list[str], began: datetime) -> str | None:
        """Why a training cannot be running any more; None while it can."""
        runs = self.client.search_runs(experiments, f"tags.`prefect.flow_run_id` = '{flow_run.id}'")
        if any(run.info.status == "RUNNING" for run in runs):
            return None
        if not runs and flow_run.deployment_id is None:  # a person started it, and it may log to another store
            return None
        ended, patience = max((time_of(run.info.end_time or 0) for run in runs), default=began), _GRACE
        if ended <= began:  # it may wait for the lock
            patience += timedelta(seconds=self.settings.lock_timeout)
        if self.now - max(began, ended) <= patience:
            return None
        return "Its MLflow run ended long ago" if runs else "It never opened an MLflow run"


def digests_of_champions(settings: Settings) -> set[str]:
    store = open_store(settings)
    found = set()
    for name in store.models():
        if (number := champion_of(store, name)) and (champion := store.version(name, number)):
            found.add(with_dataset(store, champion).tags.get(DIGEST, ""))
    return found


def delete_old_runs(settings: Settings, report: CleanupReport) -> None:
    """Delete the files of MLflow runs that ended long ago, and of their models, and mark both as deleted.

    `mlflow gc` would also remove every experiment that somebody marked as deleted, with its files. A parent and
    its children are judged as a whole. What has a version stays, and so does a run whose files are not in its own
    folder below the experiment's: anyone who can write to the store could name any folder there.
    """
    if settings.keep_runs_days is None:
        return
    before = (time.time() - settings.keep_runs_days * _DAY) * 1000
    client = connect(settings)
    with tracking_errors(settings.tracking_uri):
        experiment = client.get_experiment_by_name(settings.experiment)
        if experiment is None:
            return
        runs = _all_runs(client, experiment.experiment_id)
        versions = mlflow.search_model_versions()
        versioned = {version.run_id for version in versions}
        # One that was registered by hand, from a folder, names no run.
        used = [
            client.get_model_version_download_uri(version.name, version.version)
            for version in versions
            if not version.run_id
        ]
    for family in _families(runs):
        ended = (run.info.status != "RUNNING" and (run.info.end_time or before) < before for run in family)
        ids = {run.info.run_id for run in family}
        if all(ended) and not versioned & ids and not (used and _hold(client, family, used)):
            # Seeds first, the parent last.
            for run in sorted(family, key=lambda run: PARENT_RUN not in run.data.tags):
                with report.attempt(f"delete run {run.info.run_name}"), tracking_errors(settings.tracking_uri):
                    _delete(client, run, experiment.artifact_location, settings, report)
    if report.removed:
        report.left.append("records of deleted runs: MLflow keeps them, marked as deleted")


def _families(runs: Sequence[Run]) -> list[list[Run]]:
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(run.data.tags.get(PARENT_RUN, run.info.run_id), []).append(run)
    return list(found.values())


def _all_runs(client: MlflowClient, experiment: str) -> list[Run]:
    page = client.search_runs([experiment], max_results=_PAGE)
    runs = list(page)
    while page.token:
        page = client.search_runs([experiment], max_results=_PAGE, page_token=page.token)
        runs += page
    return runs


def _delete(client: MlflowClient, run: Run, location: str, settings: Settings, report: CleanupReport) -> None:
    """Delete files first: a round that is killed in between finds the run again, and continues."""
    run_id = run.info.run_id
    models = _models(client, run)
    folders: dict[str, tuple[str, ...]] = {run.info.artifact_uri: (run_id, "artifacts")}
    folders |= {model.artifact_location: ("models", model.model_id, "artifacts") for model in models}
    foreign = [uri for uri, parts in folders.items() if not _is_own(uri, location, parts)]
    if foreign:
        places = f"its files are at {', '.join(foreign)}, not in its own folder below {location}"
        report.left.append(f"run {run.info.run_name}: {places}")
        return
    if client.search_model_versions(f"run_id = '{run_id}'"):  # registered this very moment
        return
    for uri in folders:
        _delete_files(uri, settings)
    for model in models:
        client.delete_logged_model(model.model_id)
    client.delete_run(run_id)
    began = time_of(run.info.start_time)
    report.removed.append(f"run {run.info.run_name} of {began:%Y-%m-%d}, which has no version")


def _is_own(uri: str, location: str, parts: Sequence[str]) -> bool:
    """Whether files are where MLflow puts them by itself, and no link on the way leads elsewhere."""
    if uri != "/".join([location.rstrip("/"), *parts]) or not all(_ID.fullmatch(part) for part in parts):
        return False
    own, root = local_path(uri), local_path(location)
    return own is None or root is None or own.resolve() == root.resolve().joinpath(*parts)


def _models(client: MlflowClient, run: Run) -> list[LoggedModel]:
    return list(client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run.info.run_id}'"))


def _hold(client: MlflowClient, runs: Sequence[Run], used: Sequence[str]) -> bool:
    """Whether files that are used belong to some runs or to their models: each has a folder of its id."""
    ids = [run.info.run_id for run in runs] + [model.model_id for run in runs for model in _models(client, run)]
    return any(f"/{each}/" in f"{uri}/" for uri in used for each in ids)


def _delete_files(uri: str, settings: Settings) -> None:
    repository: Any = get_artifact_repository(uri, tracking_uri=settings.tracking_uri)
    repository.delete_artifacts()
    folder = local_path(uri)
    if folder is not None and folder.parent.is_dir() and not any(folder.parent.iterdir()):
        folder.parent.rmdir()  # what held them is left, empty


def delete_old_files(settings: Settings, kept: Collection[str], report: CleanupReport) -> None:
    """Remove what no process uses from the data folder; champions were tested on the datasets that are ``kept``.

    A link in it may lead to other files: only what has names as ours have is looked at.
    """
    data = settings.data_dir
    before = time.time() - settings.keep_files_days * _DAY
    for folder in _folders_of_models(data / "work"):
        with report.attempt(f"remove {folder}"), if_free(lock_file(folder.name, settings), HOUSEKEEPING) as free:
            if free and any(folder.iterdir()):
                _remove(folder, "no process uses them", report, f"work files of {folder.name} in this data folder")
    for folder in (found for found in _folders(data / "datasets") if (found / ".lock").exists()):
        lock = lock_file(model_name(folder.name), settings)
        with report.attempt(f"clean {folder}"), if_free(lock, HOUSEKEEPING) as free:
            if free:
                _clean_dataset(folder, before, kept, report)
    for folder in _folders(data / "downloads"):
        with report.attempt(f"clean {folder}"):
            for lock in sorted(folder.glob(".*.lock")):
                _clean_download(lock, before, report)
    for folder in _folders_of_models(data / "sweeps"):
        with report.attempt(f"clean {folder}"), if_free(lock_file(folder.name, settings), HOUSEKEEPING) as free:
            for study in sorted(folder.glob("*/*/study.db")) if free else ():
                if study.stat().st_mtime < before:
                    _remove(study.parent, "a sweep that was never resumed", report)


def _clean_dataset(folder: Path, before: float, kept: Collection[str], report: CleanupReport) -> None:
    """Remove old tables with their words, and what a killed preparation left."""
    with if_free(folder / ".lock") as free:
        if not free:  # it is being prepared
            return
        for table in sorted(folder.glob("*.parquet")):
            if SHA256.fullmatch(table.stem) and table.stem not in kept and used_at(table) < before:
                _remove(table, f"dataset {folder.name}, unused", report)
                vocabulary_file(table).unlink(missing_ok=True)
        for rejects in sorted(folder.glob(f"*/*{REJECTS}")):
            if rejects.stat().st_mtime < before:
                _remove(rejects, f"rejects of {folder.name}, old", report)
        for leftover in folder.glob(f".*{PARTIAL}"):
            _remove(leftover, "left by a killed preparation", report)


def _clean_download(lock: Path, before: float, report: CleanupReport) -> None:
    """Remove what killed downloads left, and a file that nothing used; its lock is beside it."""
    target = lock.with_name(lock.name.removeprefix(".").removesuffix(".lock"))
    with if_free(lock) as free:
        if not free:  # it is being fetched
            return
        for leftover in sorted(lock.parent.iterdir()):
            if leftover.is_file() and leftover.name.startswith("tmp"):
                _remove(leftover, "left by a killed download", report)
        if target.exists() and target.stat().st_mtime < before:
            _remove(target, "download, unused", report)


def _remove(path: Path, why: str, report: CleanupReport, what: str = "") -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    report.removed.append(f"{what or path.name} ({why})")


def _folders_of_models(parent: Path) -> list[Path]:
    return [folder for folder in _folders(parent) if is_model_name(folder.name)]


def _folders(parent: Path) -> list[Path]:
    return sorted(path for path in parent.glob("*") if path.is_dir())
