"""Repair after a killed process: what it left open is closed."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import httpx
from mlflow.entities import LoggedModelStatus, Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, StateDetails, StateType
from prefect.exceptions import PrefectException

from sentiflow.console import Logger
from sentiflow.errors import BusyError, SentiflowError, first_line
from sentiflow.locks import HOUSEKEEPING, names_own_lock, place_of, training_lock, work_folder
from sentiflow.names import is_model_name
from sentiflow.notifications import wanted
from sentiflow.operations import flow_runs
from sentiflow.redaction import escape_markdown, redact
from sentiflow.runs.record import MONITOR
from sentiflow.settings import Settings
from sentiflow.store.client import connect, tracking_errors
from sentiflow.store.records import ATTEMPT, LOCK, time_of

RUNNING = "attributes.status = 'RUNNING'"
_GONE = ("KILLED", "its process is gone")
_TRAININGS = ("train", "repeat", "sweep", "baselines", "reproduce")
# A training promotes for seconds after its MLflow run has ended, and waits for the lock before it opens one.
_GRACE = timedelta(hours=1)
_NOTIFY_BACK = timedelta(days=30)  # older crashes are notified of no more


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


def reconcile(
    client: MlflowClient, experiment: str, name: str, settings: Settings, who: str, logger: Logger
) -> list[Run]:
    """Close what killed trainings of this model left; the caller holds their lock, so none of them is alive.

    Runs still RUNNING become KILLED; models never finished are deleted, their flow runs become crashed, and their
    work folders go. Returns the runs that were closed; their tag ``end`` names ``who`` did it.
    """
    with tracking_errors(settings.tracking_uri):
        found = client.search_runs([experiment], f"{RUNNING} and tags.registered_model = '{name}'")
        closed = [run for run in found if _has_local_lock(run, settings)]
        for run in closed:
            close(client, run, who, logger)
        _delete_unfinished_models(client, experiment, name)
    shutil.rmtree(work_folder(name, settings), ignore_errors=True)
    return closed


def close_checks(client: MlflowClient, experiment: str, lock: str, settings: Settings, logger: Logger) -> None:
    """Close the runs of killed drift checks; the caller holds their lock, so none of them is alive."""
    with tracking_errors(settings.tracking_uri):
        for run in client.search_runs([experiment], f"{RUNNING} and tags.kind = '{MONITOR}'"):
            if names_own_lock(run.data.tags.get(LOCK), lock, settings):
                close(client, run, "the next drift check", logger)


def _has_local_lock(run: Run, settings: Settings) -> bool:
    """Whether the lock of this run's model can be taken here, by which the run is judged."""
    name = run.data.tags.get("registered_model", "")
    return is_model_name(name) and names_own_lock(run.data.tags.get(LOCK), name, settings)


def close(client: MlflowClient, run: Run, who: str, logger: Logger, ending: tuple[str, str] = _GONE) -> None:
    """End a run whose process is gone, as ``ending`` says; crash its flow run, unless that was started again."""
    run_id, tags = run.info.run_id, run.data.tags
    status, why = ending
    why = f"{why}; closed by {who}"
    client.set_tag(run_id, "end", why)
    client.set_terminated(run_id, status)
    logger.warning("Closed run %s: %s.", run.info.run_name, why)
    with get_client(sync_client=True) as prefect:
        flow_run = flow_runs.find(prefect, tags.get("prefect.flow_run_id"))
        if flow_run is not None:
            flow_runs.crash(prefect, flow_run, f"{why[0].upper()}{why[1:]}.", logger, tags.get(ATTEMPT))


def _delete_unfinished_models(client: MlflowClient, experiment: str, name: str) -> None:
    """Delete pending models of this name, unless their run goes on, on another machine."""
    found = client.search_logged_models([experiment], f"name = '{name}'")
    pending = [model for model in found if model.status == LoggedModelStatus.PENDING]
    # After the models: what makes one meanwhile runs, and is found.
    running = {run.info.run_id for run in client.search_runs([experiment], RUNNING)} if pending else ()
    for model in pending:
        if model.source_run_id not in running:
            client.delete_logged_model(model.model_id)


def close_killed(settings: Settings, logger: Logger, now: datetime) -> CleanupReport:
    """Close MLflow runs and flow runs whose process is gone.

    A run is judged by the lock of its model: when the lock can be taken, the run's process is gone. A run whose
    lock is another machine's is judged by the state of its flow run.
    """
    client = connect(settings)
    with get_client(sync_client=True) as prefect:
        closing = _Closing(client, prefect, settings, logger, now)
        with tracking_errors(settings.tracking_uri):
            experiment = client.get_experiment_by_name(settings.experiment)
        if experiment is not None:
            closing.runs(experiment.experiment_id)
        with closing.report.attempt("close flow runs"):
            closing.flow_runs()
        if wanted(settings, "crashed"):
            with closing.report.attempt("notify of crashed flow runs"):
                flow_runs.notify_missed(prefect, now - _NOTIFY_BACK, logger)
    return closing.report


@dataclass
class _Closing:
    """One round of ``close_killed``."""

    client: MlflowClient
    prefect: SyncPrefectClient
    settings: Settings
    logger: Logger
    now: datetime
    report: CleanupReport = field(default_factory=CleanupReport)

    def runs(self, experiment: str) -> None:
        with tracking_errors(self.settings.tracking_uri):
            running = list(self.client.search_runs([experiment], RUNNING))
        local = [run for run in running if _has_local_lock(run, self.settings)]
        for model in sorted({run.data.tags["registered_model"] for run in local}):
            with (
                self.report.attempt(f"close the runs of {model}"),
                training_lock(model, self.settings, logger=self.logger, purpose=HOUSEKEEPING),
            ):
                closed = reconcile(self.client, experiment, model, self.settings, HOUSEKEEPING, self.logger)
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
            ending = "FAILED" if flow_run.state.is_failed() else "KILLED", f"its flow run ended as {state}"
            close(self.client, run, HOUSEKEEPING, self.logger, ending)
            self.report.closed.append(f"{what}, whose flow run ended as {state}")

    def flow_runs(self) -> None:
        """Crash trainings that Prefect takes for running, or promotions for waiting, and that cannot be."""
        self.report.closed += flow_runs.close_waiting(self.prefect, self.settings, self.logger)
        for flow_run in flow_runs.search(self.prefect, state={"type": {"any_": [StateType.PAUSED]}}):
            details = flow_run.state.state_details if flow_run.state else StateDetails()
            # One that lives ends itself in time; one that a person suspended has no process.
            if (until := details.pause_timeout) and not details.pause_reschedule and self.now - until > _GRACE:
                gone = "nobody answered in time, and its process is gone"
                flow_runs.crash(self.prefect, flow_run, f"{gone[0].upper()}{gone[1:]}.", self.logger)
                self.report.closed.append(f"flow run {flow_run.name}: {gone}")
        experiments = [found.experiment_id for found in self.client.search_experiments()]
        for flow_run in flow_runs.search(self.prefect, state={"type": {"any_": flow_runs.BEGUN}}):
            name = self.prefect.read_flow(flow_run.flow_id).name
            # Its start_time is that of its first attempt, and from before a person's answer.
            began = flow_run.state.timestamp if flow_run.state else self.now
            if name in _TRAININGS and (why := self._why_ended(flow_run, experiments, began)):
                flow_runs.crash(self.prefect, flow_run, f"{why}; closed by {HOUSEKEEPING}.", self.logger)
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
