"""The life of an MLflow run: opened once, closed whatever happens, reconciled when its process was killed."""

import shutil
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from mlflow.entities import Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from prefect import get_run_logger, runtime
from prefect.exceptions import TerminationSignal

from sentiment.data.prepare import Prepared, Source
from sentiment.names import dataset_name, model_name
from sentiment.output import redact
from sentiment.recipes import TrainConfig, check_seeds
from sentiment.run_record import KIND, REPEATS, SEED, TRAINING
from sentiment.settings import Settings, load_settings
from tasks import endings, interrupts, parent, provenance
from tasks.clock import startup_seconds
from tasks.creation import CREATION, create_run, token
from tasks.dataset_input import log_dataset
from tasks.endings import Ending
from tasks.locks import Held, lock_tag, training_lock
from tasks.prefect_away import prefect_away
from tasks.reconcile import reconcile, work_folder
from tasks.results import RunContext
from tasks.tracking import connect, experiment_id, log_metrics, tracking_errors

_CHANGES = 40  # most characters of a run's name that tell of changed fields


def run_name(config: TrainConfig, dataset: str, seeds: str, moment: str) -> str:
    """A name that tells recipe, changes, dataset and seeds, and differs from run to run.

    It begins with what runs differ by: charts and tables cut the ends of names off.
    """
    changes = config.changes()
    changed = "".join(f"+{key}={value}" for key, value in changes.items())
    if len(changed) > _CHANGES:
        changed = f"+{len(changes)}changes"
    return f"{config.recipe}{changed}-{dataset_name(dataset)}-{seeds}-{moment}"


def planned_name(repeats: int = 1) -> str:
    """Name of the flow run of a training that is about to begin, by its parameters and the moment it is due."""
    given = runtime.flow_run.parameters
    config, seeds = TrainConfig.model_validate(given["config"]), seeds_label(given["seed"], repeats)
    return run_name(config, given["dataset"], seeds, f"{runtime.flow_run.scheduled_start_time:%y%m%d-%H%M%S}")


def seeds_label(seed: int, repeats: int = 1) -> str:
    """The seeds of a run, in its name."""
    return f"seed{seed}" if repeats == 1 else f"seeds{seed}to{seed + repeats - 1}"


@contextmanager
def training_run(
    config: TrainConfig, dataset: str, seed: int, repeats: int = 1, kind: str | None = None
) -> Iterator[RunContext]:
    """Hold the model's lock, clean up after killed trainings, and keep an MLflow run open meanwhile.

    With ``repeats`` it is the parent of so many runs, one a seed, made by ``seed_run``. ``kind`` is for other
    parents, whose runs ``child_run`` makes.

    Written: the run with its tags and parameters in the tracking store, a work folder that is gone at the end.

    Raises:
        UsageError: the last seed is beyond the last that there is.
        WorldError: the store fails, or another training of this model is running; what a deployment started
            waits for it, as long as the settings say.
    """
    check_seeds(seed, repeats)
    settings = load_settings()
    model = model_name(dataset)
    startup = startup_seconds()
    began, opened = time.time() - startup, time.perf_counter()
    client = connect(settings)
    experiment = experiment_id(client, settings)
    with training_lock(model, settings, _patience(settings), get_run_logger()) as held:
        began, opened = began + held.waited, opened + held.waited  # waiting for another is no work of this one
        reconcile(client, experiment, model, settings, "the next run", get_run_logger())
        name = provenance.flow_run_tags()["prefect.flow_run_name"]
        planned = RunContext(
            "", name, config, dataset, dataset_name(dataset), seed, model, work_folder(model, settings), began
        )
        kind = kind or (TRAINING if repeats == 1 else REPEATS)
        run = _open(client, experiment, planned, settings, {KIND: kind})
        try:
            with _closing(client, run):
                more = {} if repeats == 1 else {"repeats": repeats}
                _log_parameters(client, run, settings, _fields(run) | more)
                spent = {"time/startup": startup, "time/open": time.perf_counter() - opened}
                log_metrics(client, run.run_id, spent)
                yield run
        finally:
            shutil.rmtree(run.work, ignore_errors=True)
            _tell_of_lost_lock(client, run, held)


@contextmanager
def seed_run(
    parent: RunContext, seed: int, repeats: int, source: Source, prepared: Prepared
) -> Iterator[RunContext]:
    """Keep the MLflow run of one seed open, below the run of the whole set."""
    name = parent.name.replace(seeds_label(parent.seed, repeats), seeds_label(seed))
    with child_run(parent, name, SEED, source, prepared, seed=seed) as run:
        yield run


@contextmanager
def child_run(
    parent: RunContext,
    name: str,
    kind: str,
    source: Source,
    prepared: Prepared,
    *,
    config: TrainConfig | None = None,
    seed: int | None = None,
    parameters: Mapping[str, object] | None = None,
    tags: Mapping[str, str] | None = None,
) -> Iterator[RunContext]:
    """Keep an MLflow run open below another, which holds the lock.

    Written: the run with its tags, parameters and dataset; its work folder stays until the parent ends.

    Args:
        parent: an open run.
        name: of this one.
        kind: of this one, see ``sentiment.run_record``.
        source: of the dataset.
        prepared: likewise.
        config: by default the parent's.
        seed: by default the parent's.
        parameters: logged in place of the recipe's fields, by what is no training of a recipe.
        tags: more of them, or others in place of the usual ones.
    """
    settings = load_settings()
    client = connect(settings)
    planned = replace(
        parent,
        name=name,
        config=parent.config if config is None else config,
        seed=parent.seed if seed is None else seed,
        began=time.time(),
    )
    more = {KIND: kind, "mlflow.parentRunId": parent.run_id, **(tags or {})}
    run = _open(client, experiment_id(client, settings), planned, settings, more)
    with _closing(client, run):
        _log_parameters(client, run, settings, _fields(run) if parameters is None else parameters)
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
        _close(client, run, Ending("FAILED" if failed else "KILLED", _why(err)))
        raise
    settings = load_settings()
    try:
        with tracking_errors(settings.tracking_uri):
            client.set_terminated(run.run_id, "FINISHED")
    except BaseException as err:
        _keep(run.run_id, Ending("FINISHED", f"it finished, but could not be closed: {_why(err)}"), settings)
        raise


def _patience(settings: Settings) -> float:
    """Nobody waits before a terminal's closed door; a schedule does."""
    return settings.training_wait if runtime.deployment.id else 0.0


def _tell_of_lost_lock(client: MlflowClient, run: RunContext, held: Held) -> None:
    """Say on the run that another training may have run beside it."""
    if held.lost_to is None:
        return
    try:
        client.set_tag(run.run_id, "lock.lost_to", held.lost_to)
    except MlflowException as err:
        get_run_logger().warning("Could not note on the MLflow run that its lock was lost: %s", err.message)


def _open(
    client: MlflowClient,
    experiment: str,
    planned: RunContext,
    settings: Settings,
    more: Mapping[str, str],
) -> RunContext:
    """Make the run that is planned, with more tags; gives it its id and a work folder below the planned one."""
    config, model = planned.config, planned.model_name
    changes = config.changes()
    tags = {
        **more,  # first: MLflow shows tags in the order of their making
        "recipe": config.recipe,
        "recipe.changes": ", ".join(f"{key}={value}" for key, value in changes.items()) or "none",
        "dataset": planned.dataset_name,
        "registered_model": model,
        "mlflow.source.name": f"flows/{runtime.flow_run.flow_name}.py",
        "mlflow.source.type": "LOCAL",
        **provenance.git_tags(),
        **provenance.flow_run_tags(),
        **provenance.origin_tags(),
        "lock": lock_tag(model, settings),
        CREATION: token(),
        **more,
    }
    try:
        with tracking_errors(settings.tracking_uri):
            run_id = create_run(client, experiment, tags, planned.name).info.run_id
    except BaseException as err:  # the store may have made it all the same
        _keep(tags[CREATION], Ending("FAILED", _why(err)), settings)
        raise
    return replace(planned, run_id=run_id, work=planned.work / run_id)


def _fields(run: RunContext) -> dict[str, object]:
    return run.config.model_dump() | {"seed": run.seed}


def _log_parameters(
    client: MlflowClient, run: RunContext, settings: Settings, parameters: Mapping[str, object]
) -> None:
    values = {**parameters, "dataset": run.dataset, **provenance.versions()}
    with tracking_errors(settings.tracking_uri):
        client.log_batch(run.run_id, params=[Param(key, str(value)) for key, value in values.items()])


def _close(client: MlflowClient, run: RunContext, ending: Ending) -> None:
    """Say on the run how it ended; when even that fails, the error on its way matters more."""
    try:
        client.log_batch(run.run_id, tags=[RunTag("end", ending.why)])
        client.set_terminated(run.run_id, ending.status)
    except Exception as failure:  # noqa: BLE001
        get_run_logger().warning("Could not close the MLflow run %s: %s", run.run_id, failure)
        shutil.rmtree(run.work, ignore_errors=True)  # first: the disk may be full
        _keep(run.run_id, ending, load_settings())


def _keep(key: str, ending: Ending, settings: Settings) -> None:
    """Let the next start say how a run ended; when even that fails, the error on its way matters more."""
    try:
        endings.keep(key, ending, settings)
    except OSError as failure:
        get_run_logger().warning("Could not keep how the run ended (%s): %s", ending.why, failure)


def _why(err: BaseException) -> str:
    """What ended a run, without a full stop: it stands within sentences, as what ``reconcile`` says does."""
    if parent.gone.is_set():
        return "the schedule that ran it ended"
    if signal.SIGINT in interrupts.received or isinstance(err, KeyboardInterrupt):
        return "it was interrupted"
    if interrupts.received or isinstance(err, TerminationSignal):  # Prefect's own, within a flow
        return "it was asked to end"
    if isinstance(err, SystemExit):
        return f"its process ended itself, with exit code {err.code}"
    reason = redact(prefect_away(err) or (str(err).splitlines() or [""])[0][:500])
    reason = reason.removesuffix(".")
    return reason if " " in reason else f"{type(err).__name__}: {reason}".removesuffix(": ")
