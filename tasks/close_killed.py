"""Find the runs that no living process owns, on either side, and close them."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from prefect.client.orchestration import SyncPrefectClient, get_client

from sentiment.errors import BusyError
from sentiment.names import is_model_name
from sentiment.settings import Settings
from tasks import flow_runs
from tasks.care import Care
from tasks.locks import training_lock
from tasks.loggers import Logger
from tasks.reconcile import RUNNING, close, lock_tags, reconcile
from tasks.shared_lock import HOUSEKEEPING
from tasks.tracking import connect, tracking_errors

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
