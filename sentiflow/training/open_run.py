"""Runs in MLflow, opened and closed: their names, tags and parameters, and the summary of each."""

import platform
import shutil
import signal
import socket
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from mlflow.entities import LoggedModelInput
from mlflow.environment_variables import MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING
from prefect import get_run_logger, runtime
from prefect.artifacts import create_link_artifact, create_markdown_artifact
from prefect.exceptions import TerminationSignal

from sentiflow import children, environment, signals
from sentiflow.data.prepare import Prepared
from sentiflow.environment import startup_seconds, user
from sentiflow.errors import DeletedError, UsageError, first_line, prefect_away
from sentiflow.evaluation.metrics import BASELINE, Yardstick
from sentiflow.files import make_folder
from sentiflow.locks import lock_tag, training_lock, work_folder
from sentiflow.names import dataset_name, located, model_name
from sentiflow.operations.flow_runs import due
from sentiflow.operations.prefect_server import flow_run_url, lasting_api_url
from sentiflow.operations.repair import reconcile
from sentiflow.redaction import printable, redact
from sentiflow.runs.record import KIND, START_FROM, TRAINING
from sentiflow.settings import load_settings
from sentiflow.store.client import OpenRun, connect, experiment_id
from sentiflow.store.http import create_run
from sentiflow.store.records import ATTEMPT, LOCK, NOTE
from sentiflow.store.ui import COLOURS, RUN_COLOUR
from sentiflow.training.context import RunContext, log_dataset
from sentiflow.training.provenance import provenance_tags, write_files
from sentiflow.training.recipes import TrainConfig
from sentiflow.training.start_from import Start

NO_TAGS: Mapping[str, str] = MappingProxyType({})
LIBRARIES = ("prefect", "mlflow", "tensorflow", "keras", "numba", "numpy", "scipy", "pandas", "scikit-learn")


def provenance() -> dict[str, str]:
    """Tags of a new run: its flow run, with no link to a temporary server, its code, its machine, its user."""
    name, deployment, flow_run_id = user(), runtime.deployment.name, str(runtime.flow_run.id)
    return {
        "mlflow.source.name": f"flows/{runtime.flow_run.flow_name}.py",
        "mlflow.source.type": "LOCAL",
        **provenance_tags(),
        "prefect.flow_run_id": flow_run_id,
        "prefect.flow_run_name": str(runtime.flow_run.name),
        ATTEMPT: str(runtime.flow_run.run_count),
        **({"prefect.flow_run_url": flow_run_url(flow_run_id)} if lasting_api_url() else {}),
        "started_by": f"{name}, {f'deployment {deployment}' if deployment else 'by hand'}",
        "host": socket.gethostname(),
        "mlflow.user": name,
    }


_CHANGES = 40  # most characters of a run's name for changed fields


def changed_fields(config: TrainConfig) -> str:
    """The fields that differ from the recipe of that name, with their values; empty if none does."""
    return ", ".join(f"{key}={value}" for key, value in config.changes().items())


def planned_name(given: Mapping[str, Any], repeats: int = 1) -> str:
    """A name that begins with what runs differ by, as charts cut the ends off, and ends with its moment."""
    config = TrainConfig.model_validate(given["config"])
    changes = config.changes()
    changed = "".join(f"+{key}={value}" for key, value in changes.items())
    if len(changed) > _CHANGES:
        changed = f"+{len(changes)}changes"
    seeds = seeds_label(given["seed"], repeats)
    return f"{config.recipe}{changed}-{dataset_name(given['dataset'])}-{seeds}-{due()}"


def seeds_label(seed: int, repeats: int = 1) -> str:
    return f"seed{seed}" if repeats == 1 else f"seeds{seed}to{seed + repeats - 1}"


class Ready(NamedTuple):
    """A dataset whose model is held, MLflow's experiment, and since when, after how many seconds of start-up."""

    dataset: str
    experiment: str
    since: float
    startup: float


@contextmanager
def alone(dataset: str) -> Iterator[Ready]:
    """Hold a dataset's model, for which a deployment's run waits, and clean up after killed trainings."""
    settings, model, logger = load_settings(), model_name(dataset), get_run_logger()
    client = connect(settings)
    patience = settings.lock_timeout if runtime.deployment.id else 0.0  # interactive runs fail at once
    startup, since, waiting = startup_seconds(), time.time(), time.perf_counter()
    with training_lock(model, settings, patience, logger):
        since += time.perf_counter() - waiting  # for another, which is no work of this one
        experiment = experiment_id(client, settings)
        reconcile(client, experiment, model, settings, "the next run", logger)
        yield Ready(located(dataset), experiment, since, startup)


@contextmanager
def training_run(
    ready: Ready,
    config: TrainConfig,
    seed: int,
    kind: str = TRAINING,
    tags: Mapping[str, str] = NO_TAGS,
    later: Collection[str] | None = None,
) -> Iterator[RunContext]:
    """Keep an MLflow run open, of a model that is held ``alone``; its work folder is gone at the end.

    Tags are added to the usual ones. Fields of the recipe that are chosen ``later``, by default those that the
    table decides, are not logged as parameters yet: MLflow lets no parameter be changed.
    """
    settings = load_settings()
    for line in environment.ignored():
        get_run_logger().warning(line)
    planned = RunContext(
        "", str(runtime.flow_run.name), ready.experiment, settings,
        config, ready.dataset, seed, work_folder(model_name(ready.dataset), settings), ready.since - ready.startup,
    )  # fmt: skip
    run = _open(planned, {KIND: kind, **tags})
    try:
        with closing(run), _system_metrics(run):
            make_folder(run.work)
            later = config.fit_to_table if later is None else later
            _describe(run, {name: value for name, value in _parameters(run).items() if name not in later})
            run.tag_seconds({"startup": ready.startup, "open": time.time() - ready.since})
            yield run
    finally:
        shutil.rmtree(run.work, ignore_errors=True)


@contextmanager
def child_run(
    parent: RunContext,
    name: str,
    kind: str,
    prepared: Prepared,
    *,
    config: TrainConfig | None = None,
    seed: int | None = None,
    tags: Mapping[str, str] = NO_TAGS,
) -> Iterator[RunContext]:
    """Keep an MLflow run open below another, which holds the lock and whose end removes the work folder.

    Recipe and seed are the parent's by default. Tags are added to the usual ones, or replace them.
    """
    seed, config = parent.seed if seed is None else seed, config or parent.config
    planned = replace(parent, name=name, config=config, seed=seed, began=time.time(), parent=parent)
    tags = {**parent.start.tags(), **tags}
    run = _open(planned, {KIND: kind, "mlflow.parentRunId": parent.run_id, **tags})
    with closing(run), _system_metrics(run):
        make_folder(run.work)
        _describe(run, {**_parameters(planned), START_FROM: parent.start.name})
        log_dataset(run, prepared)
        yield run
        run.tag_seconds({"total": run.seconds})


def start_from_it(run: RunContext, start: Start) -> RunContext:
    """The run with what its training starts from, which is logged as a parameter, tags and a model."""
    run.params({START_FROM: start.name})
    run.tag(start.tags())
    if start.version is not None:
        with run.errors():
            version = run.client.get_model_version(start.version.name, str(start.version.number))
            scheme, _, model = str(version.source).rpartition("/")
            if scheme == "models:":  # of one that a person registered it may be a folder
                run.client.log_inputs(run.run_id, models=[LoggedModelInput(model)])
    if start or start.why:
        get_run_logger().info("training starts %s", start.text())
    return replace(run, start=start)


def publish_summary(run: OpenRun, text: str, key: str, about: str = "") -> None:
    """Publish what came of a run: its description in MLflow, a text and a link in Prefect."""
    run.tag({NOTE: text})
    create_markdown_artifact(text, key=key, description=about or f"How {run.name} went")
    create_link_artifact(run.url, link_text=f"MLflow run {run.name}", key="mlflow-run", description=_LINK)
    get_run_logger().info("MLflow run: %s", run.url)


def log_yardstick(parent: OpenRun, best: OpenRun) -> Yardstick | None:
    """Log on a parent what the run of its registered version says of the yardstick."""
    metrics = best.record().metrics
    parent.log({name: value for name, value in metrics.items() if name.startswith(BASELINE)})
    return Yardstick.logged(metrics)


_LINK = "The run in MLflow: its curves, parameters, metrics and files, the report among them"
R = TypeVar("R", bound=OpenRun)


def create(planned: R, tags: Mapping[str, str]) -> R:
    """Make the MLflow run that is planned; gives it its id."""
    with planned.errors():
        return replace(planned, run_id=create_run(planned.client, planned.experiment, tags, planned.name))


def _open(planned: RunContext, more: Mapping[str, str]) -> RunContext:
    """Make the run that is planned; gives it its id, and a work folder below the planned one."""
    config = planned.config
    tags = {
        **more,  # first: MLflow shows tags in the order of their making
        "recipe": config.recipe,
        "recipe.changes": changed_fields(config) or "none",
        "dataset": planned.dataset_name,
        "registered_model": planned.model_name,
        **provenance(),
        LOCK: lock_tag(planned.model_name, planned.settings),
        RUN_COLOUR: _colour(planned),
        **more,
    }
    if planned.parent is not None:  # a worker process takes a temporary server for a lasting one
        tags.pop("prefect.flow_run_url", None)
    run = create(planned, tags)
    return replace(run, work=planned.work / run.run_id)


def _colour(planned: RunContext) -> str:
    """The colour after that of the newest run, so that runs beside each other differ."""
    with planned.errors():
        newest = planned.client.search_runs([planned.experiment], max_results=1)
    last = newest[0].data.tags.get(RUN_COLOUR) if newest else None
    return COLOURS[(COLOURS.index(last) + 1) % len(COLOURS) if last in COLOURS else 0]


@contextmanager
def closing(run: OpenRun) -> Iterator[None]:
    """Close the run as what it was: finished, failed, or killed by an interrupt."""
    try:
        yield
    except BaseException as err:
        _close(run, err)
        raise
    run.close()


@contextmanager
def _system_metrics(run: RunContext) -> Iterator[None]:
    """Let MLflow's own monitor log the machine's load, if it is asked to, as ``mlflow.start_run`` would."""
    if not MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING.get():  # type: ignore[no-untyped-call]
        yield
        return
    try:
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor
    except ImportError as err:
        raise UsageError(f"{MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING.name} needs psutil: {err}.") from err
    monitor = SystemMetricsMonitor(run.run_id, tracking_uri=run.settings.tracking_uri)  # type: ignore[no-untyped-call]
    monitor.start()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        monitor.finish()  # type: ignore[no-untyped-call]


def _close(run: OpenRun, err: BaseException) -> None:
    """Say on the run how it ended; if even that fails, the error on its way matters more."""
    failed = isinstance(err, Exception) and not signals.first_signal()
    try:
        run.tag({"end": _why(err)})
        run.close("FAILED" if failed else "KILLED")
    except DeletedError:  # by a person: there is nothing to close
        return
    except Exception as failure:  # noqa: BLE001
        get_run_logger().warning("Could not close the MLflow run %s: %s", run.run_id, failure)


def _parameters(run: RunContext) -> dict[str, object]:
    fields = run.config.model_dump()
    by_rule = ", ".join(fields.pop("fit_to_table"))
    return {**fields, **({"fit_to_table": by_rule} if by_rule else {}), "seed": run.seed}


def _describe(run: RunContext, parameters: Mapping[str, object]) -> None:
    versions = {f"version.{library}": version(library) for library in LIBRARIES}
    run.params({**parameters, "dataset": run.dataset, "version.python": platform.python_version(), **versions})
    write_files(kept := run.work / "provenance")
    run.upload(kept)


def _why(err: BaseException) -> str:
    """What ended a run, without a full stop: it stands within sentences, as what ``reconcile`` says does."""
    if children.gone.is_set():
        return "the schedule that ran it ended"
    if signals.first_signal() == signal.SIGINT or isinstance(err, KeyboardInterrupt):
        return "it was interrupted"
    if signals.first_signal() or isinstance(err, TerminationSignal):  # Prefect's own, within a flow
        return "it was asked to end"
    if isinstance(err, SystemExit):
        return f"its process ended itself, with exit code {err.code}"
    reason = printable(redact(prefect_away(err) or first_line(err)).removesuffix("."))
    kind = type(err).__name__
    return reason if " " in reason or reason == kind else f"{kind}: {reason}"
