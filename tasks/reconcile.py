"""Close what killed processes left open: MLflow runs, models that were never finished, Prefect's flow runs."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from mlflow.entities import LoggedModelStatus, Run
from mlflow.tracking import MlflowClient
from prefect.client.orchestration import get_client

from sentiment.settings import Settings
from tasks import endings, flow_runs
from tasks.creation import CREATION, runs_of
from tasks.endings import Ending
from tasks.locks import lock_tag, own_lock_tag
from tasks.loggers import Logger
from tasks.tracking import tracking_errors

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
