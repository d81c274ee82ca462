"""Repair after a killed process: what it left open is closed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import httpx
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import PrefectException

from sentiflow.console import Logger
from sentiflow.errors import BusyError, SentiflowError, first_line
from sentiflow.locks import HOUSEKEEPING, place_of, training_lock
from sentiflow.operations import flow_runs
from sentiflow.operations.flow_runs import crash_flow_run
from sentiflow.redaction import escape_markdown, redact
from sentiflow.settings import Settings
from sentiflow.store.client import connect, tracking_errors
from sentiflow.store.left_open import RUNNING, close, has_local_lock, reconcile
from sentiflow.store.records import LOCK, time_of

_TRAININGS = ("train", "repeat", "sweep", "baselines", "reproduce")
# A training promotes for seconds after its MLflow run has ended, and waits for the lock before it opens one.
_GRACE = timedelta(hours=1)


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
        local = [run for run in running if has_local_lock(run, self.settings)]
        for model in sorted({run.data.tags["registered_model"] for run in local}):
            with (
                self.report.attempt(f"close the runs of {model}"),
                training_lock(model, self.settings, logger=self.logger, purpose=HOUSEKEEPING),
            ):
                closed = reconcile(self.client, experiment, model, self.settings, HOUSEKEEPING, crash_flow_run)
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
            close(self.client, run, HOUSEKEEPING, crash_flow_run, ending)
            self.report.closed.append(f"{what}, whose flow run ended as {state}")

    def flow_runs(self) -> None:
        """Crash trainings that Prefect takes for running, and that cannot be."""
        experiments = [found.experiment_id for found in self.client.search_experiments()]
        for flow_run in flow_runs.search(self.prefect, state={"type": {"any_": flow_runs.BEGUN}}):
            name = self.prefect.read_flow(flow_run.flow_id).name
            # Its start_time is that of its first attempt.
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
