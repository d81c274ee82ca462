"""Repair after a killed process: what it left open is closed."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
from mlflow.entities import LoggedModelStatus, Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import PrefectException

from sentiflow.console import Logger
from sentiflow.errors import BusyError, SentiflowError
from sentiflow.locks import HOUSEKEEPING, lock_tag, own_lock_tag, training_lock
from sentiflow.names import is_model_name
from sentiflow.orchestration import flow_runs
from sentiflow.settings import Settings
from sentiflow.tracking import creation as endings
from sentiflow.tracking.client import connect, tracking_errors
from sentiflow.tracking.creation import CREATION, Ending, runs_of


@dataclass
class Care:
    """The account of one step, or of all of them.

    Attributes:
        closed: runs that a killed process left open.
        removed: what was deleted.
        left: what looks like work but was left alone, and why.
        failures: what could not be done.
        freed: bytes.
    """

    closed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    freed: int = 0

    @contextmanager
    def attempt(self, what: str) -> Iterator[None]:
        """Note a failure of the world and go on: one thing that cannot be done keeps nothing else from it."""
        try:
            yield
        except (SentiflowError, OSError, MlflowException, httpx.HTTPError, PrefectException) as err:
            reason = err.args[0] if isinstance(err, SentiflowError) else err
            self.failures.append(f"{what}: {(str(reason).splitlines() or [type(err).__name__])[0][:300]}")

    def add(self, other: "Care") -> None:
        """Take over the account of another step."""
        self.closed += other.closed
        self.removed += other.removed
        self.left += other.left
        self.failures += other.failures
        self.freed += other.freed

    def lines(self) -> list[str]:
        """The account for people; one line when there was nothing to do."""
        titles = {"Closed": self.closed, "Removed": self.removed, "Left alone": self.left, "Failed": self.failures}
        told = [f"{title}: {line}" for title, lines in titles.items() for line in lines]
        if self.removed:
            told.append(f"Freed {in_words(self.freed)}")
        return told or ["Nothing to do: no run was left open, nothing is old enough to go."]

    def markdown(self) -> str:
        """The same as a list for Prefect's page."""
        return "\n".join(f"- {line}" for line in self.lines())


def in_words(size: int) -> str:
    """Bytes for people.

    Example:
        >>> in_words(999), in_words(12_345_678)
        ('999 bytes', '12.3 MB')
    """
    return f"{size} bytes" if size < 1_000 else f"{size / 1e6:,.1f} MB"


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files of a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files if not file.is_dir())


RUNNING = "attributes.status = 'RUNNING'"
_KILLED = Ending("KILLED", "its process was killed")


def work_folder(name: str, settings: Settings) -> Path:
    """Where trainings of a model keep files while they run, a folder a run."""
    return settings.data_dir / "work" / name


def lock_tags(name: str, settings: Settings) -> set[str]:
    """The tags of runs that whoever holds the lock of a model may judge."""
    return {lock_tag(name, settings), own_lock_tag(name, settings)}


def reconcile(
    client: MlflowClient, experiment: str, name: str, settings: Settings, who: str, logger: Logger
) -> list[Run]:
    """Close what trainings of this model left behind when they were killed; their lock is held, so none lives.

    Runs still RUNNING become KILLED, or what they were when the store could not be told; models never finished are
    deleted, their flow runs become crashed, and their work folders go. What a server made a second time, when it
    carried out a request again, is deleted. Returns the runs that were closed.

    Args:
        client: of the store.
        experiment: whose runs.
        name: of the registered model.
        settings: where locks and work folders are.
        who: closes them, for the tag ``end``.
        logger: is told of each.
    """
    with tracking_errors(settings.tracking_uri):
        found = client.search_runs([experiment], f"{RUNNING} and tags.registered_model = '{name}'")
        tags = lock_tags(name, settings)
        left = [run for run in found if run.data.tags.get("lock") in tags]
        left = _delete_twins(client, experiment, left, logger)
        for run in left:
            ending = endings.find(run, settings) or _KILLED
            close(client, run, f"{ending.why}; closed by {who}", logger, ending.status)
            endings.drop(run, settings)
        _delete_unfinished_models(client, experiment, name)
    shutil.rmtree(work_folder(name, settings), ignore_errors=True)
    return left


def _delete_twins(client: MlflowClient, experiment: str, left: Sequence[Run], logger: Logger) -> list[Run]:
    """Delete those runs of whose creation another run came, too; gives those that stay."""
    stay = []
    for run in left:
        creation = run.data.tags.get(CREATION)
        if creation and len(runs_of(client, experiment, creation)) > 1:
            logger.warning("Deleted a second record of run %s, which the MLflow server made.", run.info.run_name)
            client.delete_run(run.info.run_id)
        else:
            stay.append(run)
    return stay


def close(client: MlflowClient, run: Run, why: str, logger: Logger, status: str = "KILLED") -> None:
    """End a run whose process is gone, and say so on both sides."""
    run_id = run.info.run_id
    client.set_tag(run_id, "end", why)
    client.set_terminated(run_id, status)
    logger.warning("Closed run %s: %s.", run.info.run_name, why)
    with get_client(sync_client=True) as prefect:
        flow_run = flow_runs.find(prefect, run.data.tags.get("prefect.flow_run_id"))
        if flow_run is not None:
            flow_runs.crash(prefect, flow_run, f"{why[0].upper()}{why[1:]}.", logger)


def _delete_unfinished_models(client: MlflowClient, experiment: str, name: str) -> None:
    """Models of this name that are still pending: killed while stored, or met by a full disk."""
    for model in client.search_logged_models([experiment], f"name = '{name}'"):
        if model.status == LoggedModelStatus.PENDING and not _runs(client, model.source_run_id):
            client.delete_logged_model(model.model_id)


def _runs(client: MlflowClient, run_id: str | None) -> bool:
    """Whether a run goes on, elsewhere: what has a lock of this machine was closed just now."""
    return run_id is not None and client.get_run(run_id).info.status == "RUNNING"


_WHO = "housekeeping"
# After its MLflow run a flow still promotes: seconds. And before it opens one it waits for the lock.
_GRACE = timedelta(hours=1)
_LONG = timedelta(days=1)
_TOLD_BACK = timedelta(days=30)  # a crash that was told is marked, and not told again
_TRAIN = ("train", "repeat", "sweep", "baselines")


def close_killed(settings: Settings, logger: Logger, now: datetime) -> Care:
    """Close MLflow runs and flow runs whose process is gone, and say so on both sides.

    A run is judged by the lock of its model: who can take it knows that its process is gone. One whose lock is
    another machine's is judged by what Prefect says of its flow run.
    """
    care, client = Care(), connect(settings)
    with get_client(sync_client=True) as prefect:
        with tracking_errors(settings.tracking_uri):
            experiments = [found.experiment_id for found in client.search_experiments()]
            experiment = client.get_experiment_by_name(settings.experiment)
        if experiment is not None:
            _close_runs(client, prefect, experiment.experiment_id, settings, care, logger)
        with care.attempt("close flow runs"):
            _close_flow_runs(client, prefect, experiments, now, settings, care, logger)
        if settings.notify_url is not None:
            with care.attempt("tell of crashed flow runs"):
                flow_runs.tell_unheard(prefect, now - _TOLD_BACK, logger)
    return care


def _close_runs(
    client: MlflowClient,
    prefect: SyncPrefectClient,
    experiment: str,
    settings: Settings,
    care: Care,
    logger: Logger,
) -> None:
    """Close the MLflow runs whose process is gone."""
    with tracking_errors(settings.tracking_uri):
        running = list(client.search_runs([experiment], RUNNING))
    mine = [
        run
        for run in running
        if is_model_name(_model(run)) and run.data.tags.get("lock") in lock_tags(_model(run), settings)
    ]
    for model in sorted({_model(run) for run in mine}):
        with care.attempt(f"close the runs of {model}"):
            _close_mine(client, experiment, model, settings, care, logger)
    for run in running:
        if run not in mine:
            with care.attempt(f"close run {run.info.run_name}"):
                _close_foreign(client, prefect, run, care, logger)


def _model(run: Run) -> str:
    return run.data.tags.get("registered_model", "")


def _close_mine(
    client: MlflowClient, experiment: str, model: str, settings: Settings, care: Care, logger: Logger
) -> None:
    try:
        with training_lock(model, settings, logger=logger, purpose=HOUSEKEEPING):
            closed = reconcile(client, experiment, model, settings, _WHO, logger)
    except BusyError as err:
        care.left.append(str(err.args[0]))
        return
    care.closed += [f"run {run.info.run_name}, whose process is gone" for run in closed]


def _close_foreign(client: MlflowClient, prefect: SyncPrefectClient, run: Run, care: Care, logger: Logger) -> None:
    """Judge a run of another machine by its flow run; one that no flow made is none of ours."""
    flow_run_id = run.data.tags.get("prefect.flow_run_id")
    if flow_run_id is None:
        return
    flow_run = flow_runs.find(prefect, flow_run_id)
    if flow_run is None or flow_run.state is None:
        care.left.append(f"run {run.info.run_name}: running elsewhere, and this Prefect server does not know it")
    elif not flow_run.state.is_final():
        care.left.append(f"run {run.info.run_name}: running elsewhere, says Prefect")
    else:
        state = flow_run.state.name or flow_run.state.type.value
        status = "FAILED" if flow_run.state.is_failed() else "KILLED"
        close(client, run, f"its flow run ended as {state}; closed by {_WHO}", logger, status)
        care.closed += [f"run {run.info.run_name}, whose flow run ended as {state}"]


def _close_flow_runs(
    client: MlflowClient,
    prefect: SyncPrefectClient,
    experiments: list[str],
    now: datetime,
    settings: Settings,
    care: Care,
    logger: Logger,
) -> None:
    """Crash trainings that Prefect takes for running, and that are no more."""
    for flow_run in list(flow_runs.begun(prefect)):
        name, began = flow_runs.flow_name(prefect, flow_run), flow_run.start_time or now
        why = None
        if name in _TRAIN:
            runs = client.search_runs(experiments, f"tags.`prefect.flow_run_id` = '{flow_run.id}'")
            # One that a person started may log to another store than this one.
            why = _gone(runs, began, now, settings) if runs or flow_run.deployment_id else None
        if why is not None:
            flow_runs.crash(prefect, flow_run, f"{why}; closed by {_WHO}.", logger)
            care.closed.append(f"flow run {flow_run.name}: {why[0].lower()}{why[1:]}")
        elif name not in _TRAIN and now - began > _LONG:
            care.left.append(
                f"flow run {flow_run.name}, {name}: running since {began:%Y-%m-%d %H:%M}, says Prefect"
            )


def _gone(runs: Sequence[Run], began: datetime, now: datetime, settings: Settings) -> str | None:
    """Why a training with these MLflow runs cannot be running any more; None while it can."""
    if any(run.info.status == "RUNNING" for run in runs):
        return None
    if runs:
        ended = max(datetime.fromtimestamp((run.info.end_time or 0) / 1000, UTC) for run in runs)
        return "Its MLflow run ended long ago" if now - ended > _GRACE else None
    waited = timedelta(seconds=settings.training_wait) + _GRACE
    return "It never opened an MLflow run" if now - began > waited else None
