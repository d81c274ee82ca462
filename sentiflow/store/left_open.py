"""Runs that a killed process left open in MLflow are closed."""

import logging
import shutil
from collections.abc import Callable

from mlflow.entities import LoggedModelStatus, Run
from mlflow.tracking import MlflowClient

from sentiflow.locks import names_own_lock, work_folder
from sentiflow.names import is_model_name
from sentiflow.run.record import MONITOR
from sentiflow.settings import Settings
from sentiflow.store.client import tracking_errors
from sentiflow.store.records import LOCK

RUNNING = "attributes.status = 'RUNNING'"
_GONE = ("KILLED", "its process is gone")

logger = logging.getLogger(__name__)

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
            close(client, run, who, crash)
        _delete_unfinished_models(client, experiment, name)
    shutil.rmtree(work_folder(name, settings), ignore_errors=True)
    return closed


def close_checks(client: MlflowClient, experiment: str, lock: str, settings: Settings, crash: Crash) -> None:
    """Close the runs of killed drift checks; the caller holds their lock, so none of them is alive."""
    with tracking_errors(settings.tracking_uri):
        for run in client.search_runs([experiment], f"{RUNNING} and tags.kind = '{MONITOR}'"):
            if names_own_lock(run.data.tags.get(LOCK), lock, settings):
                close(client, run, "the next drift check", crash)


def has_local_lock(run: Run, settings: Settings) -> bool:
    """Whether the lock of this run's model can be taken here, by which the run is judged."""
    name = run.data.tags.get("registered_model", "")
    return is_model_name(name) and names_own_lock(run.data.tags.get(LOCK), name, settings)


def close(client: MlflowClient, run: Run, who: str, crash: Crash, ending: tuple[str, str] = _GONE) -> None:
    """End a run whose process is gone, as ``ending`` says."""
    status, why = ending
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
