"""MLflow's client: its store is made safely and connected to once; the handle of an open run.

What a killed process left open is closed here, too.
"""

import logging
import os
import re
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from shlex import quote
from typing import Any

import mlflow
import requests
from mlflow import environment_variables
from mlflow.entities import LoggedModelStatus, Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from sqlalchemy.exc import SQLAlchemyError

from sentiflow.errors import DeletedError, ExternalError, first_line
from sentiflow.evaluation.scores import Epoch
from sentiflow.files import leftovers, make_folder, publish
from sentiflow.locks import brief_lock, names_own_lock, work_folder
from sentiflow.names import is_model_name
from sentiflow.redaction import redact, without_login, without_secrets
from sentiflow.run.record import EPOCH_METRICS, MONITOR, TIME, RunRecord
from sentiflow.settings import Settings, load_settings
from sentiflow.store.find import need_readable
from sentiflow.store.records import HTTP, LOCK, hint_for, local_path, renamed, time_of
from sentiflow.store.sqlite import DAMAGED, PATIENCE, find_move, is_damaged, locked_error, other_schema
from sentiflow.store.ui import UI_TAGS, VIEW, run_url

logger = logging.getLogger(__name__)

RUNNING = "attributes.status = 'RUNNING'"
_GONE = "its process is gone"

# One bar a file, for files that are there at once, in the middle of a log.
_QUIET = {"MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}


@contextmanager
def tracking_errors(uri: str) -> Iterator[None]:
    """Turn MLflow's failures into errors that say what to do."""
    try:
        yield
    except (MlflowException, SQLAlchemyError, requests.RequestException) as err:
        reason = first_line(err)
        if "database is locked" in reason:
            raise locked_error(redact(uri)) from without_secrets(err)
        if "Current state is deleted" in reason:
            raise DeletedError(redact(reason), "Restore it in MLflow, or train again.") from without_secrets(err)
        if is_damaged(reason):
            hint = DAMAGED
        elif uri.startswith("http"):  # of files, MLflow's client passes the errors of requests on
            code = re.search(r"error code (\d+)|^(\d+) \w+ Error", reason)
            hint = hint_for(int(code[1] or code[2]) if code else 0)
        else:
            hint = "Check SENTIFLOW_TRACKING_URI, and that its folder can be written and is not full."
        what = "it does not answer." if "Max retries exceeded" in reason else redact(reason)
        raise ExternalError(f"The tracking store {redact(uri)} failed: {what}", hint) from without_secrets(err)


_clients: dict[str, MlflowClient] = {}  # by address: tests and benchmarks use several stores in one process


def connect(settings: Settings) -> MlflowClient:
    """The client of the settings' store, made and tried once a process; MLflow's global address follows."""
    uri, file = settings.tracking_uri, settings.sqlite_file
    if uri not in _clients or (file is not None and not file.exists()):
        _clients[uri] = _first_connection(settings)
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    return _clients[uri]


def _first_connection(settings: Settings) -> MlflowClient:
    need_readable(settings)
    for name, value in (HTTP | _QUIET).items():
        os.environ.setdefault(name, value)
    for name, variable in vars(environment_variables).items():
        if name in os.environ and hasattr(variable, "get"):
            variable.get()  # a wrong value fails here, and not after a training
    if settings.sqlite_file is not None:
        _create_sqlite(settings.sqlite_file)
        _settle(settings, settings.sqlite_file)
    with tracking_errors(settings.tracking_uri):
        client = MlflowClient(settings.tracking_uri, settings.tracking_uri)
        client.search_experiments(max_results=1)
    return client


def experiment_id(client: MlflowClient, settings: Settings) -> str:
    with tracking_errors(settings.tracking_uri):
        found = client.get_experiment_by_name(settings.experiment)
        if found is None:
            location = settings.artifacts.as_uri() if settings.artifacts else None
            if settings.artifacts:
                make_folder(settings.artifacts)
            try:
                return str(client.create_experiment(settings.experiment, location, UI_TAGS))
            except MlflowException:  # another process was quicker, or the answer of the server did not come
                if client.get_experiment_by_name(settings.experiment) is None:
                    raise
                return experiment_id(client, settings)
        if found.lifecycle_stage == "deleted":
            raise ExternalError(
                f"The experiment {settings.experiment!r} was deleted in MLflow.",
                f"Restore it (MLFLOW_TRACKING_URI={quote(without_login(settings.tracking_uri))} "
                f"mlflow experiments restore -x {found.experiment_id}) "
                "or set SENTIFLOW_EXPERIMENT to another name.",
            )
        for name, value in UI_TAGS.items() - found.tags.items():
            if name not in found.tags or VIEW in name:  # made elsewhere; what a person chose stays
                client.set_experiment_tag(found.experiment_id, name, value)
        return str(found.experiment_id)


def _create_sqlite(file: Path) -> None:
    """Make a database beside its place, then rename it: one that was half migrated would never open again."""
    if file.exists():
        # MLflow would upgrade some older ones without a backup, and retry a damaged one for many minutes.
        if other := other_schema(file):
            raise ExternalError(*other)
        return
    with brief_lock(file.with_name(f".{file.name}.lock"), f"The making of {file.name} by another process"):
        for leftover in leftovers(file):  # the lock is held: no other process is making it
            leftover.unlink()
        if not file.exists():
            for noisy in ("alembic", "mlflow.store.db.utils"):  # a hundred lines of migrations
                logging.getLogger(noisy).setLevel(logging.WARNING)
            with tracking_errors(f"sqlite:///{file}"):
                publish(file, _make_sqlite)


def _make_sqlite(path: Path) -> None:
    MlflowClient(f"sqlite:///{path}").search_experiments(max_results=1)
    path.chmod(0o600)  # who can read it can keep writers waiting; SQLite gives its journals the same mode


# Columns with the addresses of files.
_ADDRESSES = (
    ("experiments", "artifact_location", ""),
    ("runs", "artifact_uri", ""),
    ("logged_models", "artifact_location", ""),
    ("model_versions", "storage_location", ""),
    ("model_versions", "source", ""),
    ("trace_tags", "value", "AND key = 'mlflow.artifactLocation'"),
)


def _settle(settings: Settings, file: Path) -> None:
    """Make a store at home where it is now, so that nothing is written to where it was."""
    if find_move(settings, file) is None:
        return
    with brief_lock(file.with_name(f".{file.name}.lock"), f"A change of {file.name} by another process"):
        move = find_move(settings, file)
        if move is None:  # another process was quicker
            return
        try:
            with closing(sqlite3.connect(file, timeout=PATIENCE)) as database, database:
                for table, column, more in _ADDRESSES:
                    database.execute(
                        f"UPDATE {table} SET {column} = :new || substr({column}, length(:old) + 1)"
                        f" WHERE substr({column} || '/', 1, length(:old) + 1) = :old || '/' {more}",
                        {"old": move.old, "new": move.new},
                    )
        except sqlite3.Error as err:
            problem = f"The store {file} was moved here, and cannot be written to: {err}."
            raise ExternalError(problem, "Let nobody else use it for a moment, and run again.") from err
    told = "The store was moved or copied: its files are in %s from now on, and no longer in %s."
    logger.warning(told, settings.artifacts, local_path(move.old))


@dataclass(frozen=True)
class OpenRun:
    """An MLflow run to write to; in another process, with the settings and the client of that one."""

    run_id: str
    name: str
    experiment: str
    settings: Settings = field(repr=False, compare=False)

    @property
    def client(self) -> MlflowClient:
        """This process's, for what has no method here; use it within ``errors``."""
        return connect(self.settings)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "settings"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, settings=load_settings())

    @property
    def url(self) -> str:
        return run_url(self.settings, self.experiment, self.run_id)

    def errors(self) -> AbstractContextManager[None]:
        return tracking_errors(self.settings.tracking_uri)

    def log(self, metrics: Mapping[str, float]) -> None:
        now = int(time.time() * 1000)
        self.write(metrics=[Metric(name, value, now, 0) for name, value in metrics.items()])

    def params(self, values: Mapping[str, object]) -> None:
        self.write(params=[Param(name, str(value)) for name, value in values.items()])

    def tag(self, tags: Mapping[str, str]) -> None:
        self.write(tags=[RunTag(name, value) for name, value in tags.items()])

    def write(self, **entities: Any) -> None:
        """Log MLflow's ``metrics``, ``params`` and ``tags``, in one call."""
        with self.errors():
            self.client.log_batch(self.run_id, **entities, synchronous=True)

    def tag_seconds(self, seconds: Mapping[str, float]) -> None:
        """Log how many seconds stages took, as tags ``time.<stage>``: no results, so no charts."""
        self.tag({f"{TIME}{stage}": f"{value:.2f}" for stage, value in seconds.items()})

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Log how many seconds a stage took."""
        started = time.perf_counter()
        yield
        self.tag_seconds({stage: time.perf_counter() - started})

    def text(self, content: str, name: str) -> None:
        with self.errors():
            self.client.log_text(self.run_id, content, name)

    def upload(self, folder: Path) -> None:
        with self.errors():
            self.client.log_artifacts(self.run_id, str(folder))

    def close(self, status: str = "FINISHED") -> None:
        with self.errors():
            self.client.set_terminated(self.run_id, status)

    def record(self) -> RunRecord:
        """The run as the store holds it now."""
        with self.errors():
            return record_of(self.client.get_run(self.run_id))


def record_of(run: Run) -> RunRecord:
    return RunRecord(
        run_id=run.info.run_id,
        name=run.info.run_name or "",
        status=run.info.status,
        started=time_of(run.info.start_time),
        params=run.data.params,
        metrics=run.data.metrics,
        tags=renamed(run.data.tags),
        artifact_uri=run.info.artifact_uri or "",
    )


class EpochLog:
    """Logs epochs, and keeps those that a server does not take: it may be away for an epoch or two."""

    def __init__(self, run: OpenRun, epochs: int) -> None:
        self._run, self._epochs = run, epochs
        self._waiting: list[Metric] = []
        self._last: Epoch | None = None

    def add(self, epoch: Epoch) -> None:
        """Log one epoch, and whatever waits."""
        self._last = epoch
        self._add(epoch, epoch.number, EPOCH_METRICS)
        try:
            self._flush()
        except DeletedError:  # a person ends a training so
            raise
        except ExternalError as err:
            logger.warning("Epoch %d is not in MLflow yet: %s", epoch.number, err.args[0])
        logger.info(
            f"epoch {epoch.number}/{self._epochs}: train loss {epoch.train_loss:.4f} accuracy "
            f"{epoch.train_accuracy:.2%}, val loss {epoch.val_loss:.4f} accuracy {epoch.val_accuracy:.2%} "
            f"({epoch.seconds:.1f} s)"
        )

    def end(self, kept: Epoch | None = None) -> None:
        """Log what waits, and a kept epoch as one step more: MLflow shows the last step's values as the run's."""
        if kept is not None and self._last is not None and kept != self._last:
            self._add(kept, self._last.number + 1, ("train_loss", "train_accuracy", "val_loss", "val_accuracy"))
        self._flush()

    def _add(self, epoch: Epoch, step: int, names: Iterable[str]) -> None:
        now, values = int(time.time() * 1000), asdict(epoch)
        self._waiting += [Metric(EPOCH_METRICS[name], values[name], now, step) for name in names]

    def _flush(self) -> None:
        if self._waiting:
            self._run.write(metrics=self._waiting)
            self._waiting = []


Crash = Callable[[Run, str], None]
"""Marks what a run was part of as crashed, a flow run of Prefect's say, with the reason as a sentence."""


def reconcile(
    client: MlflowClient, experiment: str, name: str, settings: Settings, who: str, crash: Crash
) -> list[Run]:
    """Close what killed trainings of this model left; the caller holds their lock, so none of them is alive.

    Runs still RUNNING become KILLED; models never finished are deleted, their flow runs become crashed, and their
    work folders go. Returns the runs that were closed; their tag ``end`` names ``who`` did it.
    """
    with tracking_errors(settings.tracking_uri):
        found = client.search_runs([experiment], f"{RUNNING} and tags.registered_model = '{name}'")
        closed = [run for run in found if has_local_lock(run, settings)]
        for run in closed:
            close_run(client, run, who, crash)
        _delete_unfinished_models(client, experiment, name)
    shutil.rmtree(work_folder(name, settings), ignore_errors=True)
    return closed


def close_checks(client: MlflowClient, experiment: str, lock: str, settings: Settings, crash: Crash) -> None:
    """Close the runs of killed drift checks; the caller holds their lock, so none of them is alive."""
    with tracking_errors(settings.tracking_uri):
        for run in client.search_runs([experiment], f"{RUNNING} and tags.kind = '{MONITOR}'"):
            if names_own_lock(run.data.tags.get(LOCK), lock, settings):
                close_run(client, run, "the next drift check", crash)


def has_local_lock(run: Run, settings: Settings) -> bool:
    """Whether the lock of this run's model can be taken here, by which the run is judged."""
    name = run.data.tags.get("registered_model", "")
    return is_model_name(name) and names_own_lock(run.data.tags.get(LOCK), name, settings)


def close_run(
    client: MlflowClient, run: Run, who: str, crash: Crash, status: str = "KILLED", why: str = _GONE
) -> None:
    """End a run whose process is gone."""
    why = f"{why}; closed by {who}"
    client.set_tag(run.info.run_id, "end", why)
    client.set_terminated(run.info.run_id, status)
    logger.warning("Closed run %s: %s.", run.info.run_name, why)
    crash(run, f"{why[0].upper()}{why[1:]}.")


def _delete_unfinished_models(client: MlflowClient, experiment: str, name: str) -> None:
    """Delete pending models of this name, unless their run goes on, on another machine."""
    found = client.search_logged_models([experiment], f"name = '{name}'")
    pending = [model for model in found if model.status == LoggedModelStatus.PENDING]
    # After the models: what makes one meanwhile runs, and is found.
    running = {run.info.run_id for run in client.search_runs([experiment], RUNNING)} if pending else ()
    for model in pending:
        if model.source_run_id not in running:
            client.delete_logged_model(model.model_id)
