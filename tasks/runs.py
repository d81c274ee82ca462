"""The life of an MLflow run: opened once, closed whatever happens, reconciled when its process was killed."""

import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

from mlflow.entities import LoggedModelStatus, Param, RunStatus, RunTag
from mlflow.tracking import MlflowClient
from prefect import get_run_logger, runtime
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed

from sentiment.data.prepare import Prepared, Source
from sentiment.names import dataset_name, model_name
from sentiment.recipes import TrainConfig, check_seeds
from sentiment.settings import Settings, load_settings
from tasks import interrupts, provenance
from tasks.clock import startup_seconds
from tasks.dataset_input import log_dataset
from tasks.locks import lock_file, training_lock
from tasks.results import RunContext
from tasks.tracking import connect, experiment_id, log_metrics, tracking_errors


def run_name(config: TrainConfig, dataset: str, seeds: str, moment: str) -> str:
    """A name that tells recipe, dataset and seeds, and differs from run to run."""
    changed = "*" if config.changes() else ""
    return f"{config.recipe}{changed}-{dataset_name(dataset)}-{seeds}-{moment}"


def seeds_label(seed: int, repeats: int = 1) -> str:
    """The seeds of a run, in its name."""
    return f"seed{seed}" if repeats == 1 else f"seeds{seed}to{seed + repeats - 1}"


@contextmanager
def training_run(config: TrainConfig, dataset: str, seed: int, repeats: int = 1) -> Iterator[RunContext]:
    """Hold the model's lock, clean up after killed trainings, and keep an MLflow run open meanwhile.

    With ``repeats`` it is the parent of so many runs, one a seed, made by ``seed_run``.

    Written: the run with its tags and parameters in the tracking store, a work folder that is gone at the end.

    Raises:
        UsageError: the last seed is beyond the last that there is.
        WorldError: the store fails, or another training of this model is running.
    """
    check_seeds(seed, repeats)
    settings = load_settings()
    model = model_name(dataset)
    startup = startup_seconds()
    began, opened = time.time() - startup, time.perf_counter()
    client = connect(settings)
    experiment = experiment_id(client, settings)
    with training_lock(model, settings):
        reconcile(client, experiment, model, settings)
        name = provenance.flow_run_tags()["prefect.flow_run_name"]
        planned = RunContext(
            "", name, config, dataset, dataset_name(dataset), seed, model, _work(model, settings), began
        )
        run = _open(client, experiment, planned, settings)
        try:
            with _closing(client, run):
                _log_parameters(client, run, settings, {} if repeats == 1 else {"repeats": repeats})
                spent = {"time/startup": startup, "time/open": time.perf_counter() - opened}
                log_metrics(client, run.run_id, spent)
                yield run
        finally:
            shutil.rmtree(run.work, ignore_errors=True)


@contextmanager
def seed_run(
    parent: RunContext, seed: int, repeats: int, source: Source, prepared: Prepared
) -> Iterator[RunContext]:
    """Keep the MLflow run of one seed open, below the run of the whole set, which holds the lock.

    Written: the run with its tags, parameters and dataset; its work folder stays until the parent ends.
    """
    settings = load_settings()
    client = connect(settings)
    name = parent.name.replace(seeds_label(parent.seed, repeats), seeds_label(seed))
    planned = replace(parent, name=name, seed=seed, began=time.time())
    run = _open(client, experiment_id(client, settings), planned, settings, parent.run_id)
    with _closing(client, run):
        _log_parameters(client, run, settings, {})
        with tracking_errors(settings.tracking_uri):
            log_dataset(client, run.run_id, source, prepared)
        yield run
        with tracking_errors(settings.tracking_uri):
            log_metrics(client, run.run_id, {"time/total": time.time() - run.began})


@contextmanager
def _closing(client: MlflowClient, run: RunContext) -> Iterator[None]:
    """Close the run as what it was: finished, failed, or killed by an interrupt."""
    try:
        run.work.mkdir(parents=True)
        yield
    except BaseException as err:
        failed = isinstance(err, Exception) and not interrupts.received
        _close(client, run, RunStatus.FAILED if failed else RunStatus.KILLED, err)
        raise
    with tracking_errors(load_settings().tracking_uri):
        client.set_terminated(run.run_id, RunStatus.to_string(RunStatus.FINISHED))


def reconcile(client: MlflowClient, experiment: str, name: str, settings: Settings) -> list[str]:
    """Close what trainings of this model left behind when they were killed; their lock is held, so none lives.

    Runs still RUNNING become KILLED, models never finished are deleted, their flow runs become crashed, and
    their work folders go. Returns the ids of the runs.
    """
    with tracking_errors(settings.tracking_uri):
        left = client.search_runs(
            [experiment],
            f"attributes.status = 'RUNNING' and tags.registered_model = '{name}' "
            f"and tags.lock = '{_lock_tag(name, settings)}'",
        )
        for run in left:
            run_id = run.info.run_id
            client.set_tag(run_id, "end", "its process was killed; closed by the next run")
            client.set_terminated(run_id, RunStatus.to_string(RunStatus.KILLED))
            get_run_logger().warning("Closed run %s, whose process was killed.", run.info.run_name)
            _crash_flow_run(run.data.tags.get("prefect.flow_run_id"))
        _delete_unfinished_models(client, experiment, name)
    shutil.rmtree(_work(name, settings), ignore_errors=True)
    return [run.info.run_id for run in left]


def _delete_unfinished_models(client: MlflowClient, experiment: str, name: str) -> None:
    """Models of this name that are still pending: killed while stored, or met by a full disk."""
    for model in client.search_logged_models([experiment], f"name = '{name}'"):
        if model.status == LoggedModelStatus.PENDING:
            client.delete_logged_model(model.model_id)


def _crash_flow_run(flow_run_id: str | None) -> None:
    if flow_run_id is None:
        return
    with get_client(sync_client=True) as prefect:
        try:
            state = prefect.read_flow_run(UUID(flow_run_id)).state
        except ObjectNotFound:  # it belongs to another server
            return
        if state is not None and not state.is_final():
            crashed: State[Any] = Crashed(message="Its process was killed; closed by the next run.")
            prefect.set_flow_run_state(UUID(flow_run_id), crashed, force=True)


def _open(
    client: MlflowClient,
    experiment: str,
    planned: RunContext,
    settings: Settings,
    parent: str | None = None,
) -> RunContext:
    """Make the run that is planned; gives it its id and a work folder below the planned one."""
    config, model = planned.config, planned.model_name
    changes = config.changes()
    tags = {
        "recipe": config.recipe,
        "recipe.changes": ", ".join(f"{key}={value}" for key, value in changes.items()) or "none",
        "dataset": planned.dataset_name,
        "registered_model": model,
        "lock": _lock_tag(model, settings),
        "mlflow.source.name": f"flows/{runtime.flow_run.flow_name}.py",
        "mlflow.source.type": "LOCAL",
        **({} if parent is None else {"mlflow.parentRunId": parent}),
        **provenance.git_tags(),
        **provenance.flow_run_tags(),
        **provenance.origin_tags(),
    }
    with tracking_errors(settings.tracking_uri):
        run_id = client.create_run(experiment, tags=tags, run_name=planned.name).info.run_id
    return replace(planned, run_id=run_id, work=planned.work / run_id)


def _log_parameters(client: MlflowClient, run: RunContext, settings: Settings, more: dict[str, int]) -> None:
    values = run.config.model_dump() | {"seed": run.seed, "dataset": run.dataset} | more | provenance.versions()
    with tracking_errors(settings.tracking_uri):
        client.log_batch(run.run_id, params=[Param(key, str(value)) for key, value in values.items()])


def _close(client: MlflowClient, run: RunContext, status: int, err: BaseException) -> None:
    """Say on the run how it ended; when even that fails, the error on its way matters more."""
    reason = str(err).splitlines()[0][:500] if str(err) else type(err).__name__
    try:
        client.log_batch(run.run_id, tags=[RunTag("end", reason)])
        client.set_terminated(run.run_id, RunStatus.to_string(status))
    except Exception as failure:  # noqa: BLE001
        get_run_logger().warning("Could not close the MLflow run %s: %s", run.run_id, failure)


def _lock_tag(name: str, settings: Settings) -> str:
    return f"{socket.gethostname()}:{lock_file(name, settings)}"


def _work(name: str, settings: Settings) -> Path:
    return settings.data_dir / "work" / name
