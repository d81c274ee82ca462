"""Runs in MLflow, opened and closed: their names, tags and parameters, and the summary of each."""

import logging
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

from sentiflow import children, signals
from sentiflow.data.prepare import Prepared
from sentiflow.environment import startup_seconds, user
from sentiflow.errors import DeletedError, UsageError, first_line, prefect_away
from sentiflow.evaluation.metrics import BASELINE_METRICS, Baseline
from sentiflow.files import make_folder
from sentiflow.locks import lock_tag, training_lock, work_folder
from sentiflow.names import dataset_name, located, model_name
from sentiflow.redaction import printable, redact
from sentiflow.run.record import BUILD, KIND, PARENT_RUN, START_FROM, TRAINING
from sentiflow.settings import load_settings
from sentiflow.store.client import OpenRun, connect, experiment_id, reconcile
from sentiflow.store.http import create_run
from sentiflow.store.records import LOCK, NOTE
from sentiflow.store.ui import COLOURS, RUN_COLOUR
from sentiflow.training.context import Build, RunContext, Started, log_dataset
from sentiflow.training.provenance import provenance_tags, write_files
from sentiflow.training.recipes import TrainConfig
from sentiflow.training.start_from import Start

logger = logging.getLogger(__name__)

NO_TAGS: Mapping[str, str] = MappingProxyType({})
LIBRARIES = ("prefect", "mlflow", "tensorflow", "keras", "numba", "numpy", "scipy", "pandas", "scikit-learn")


def provenance(started: Started) -> dict[str, str]:
    """Tags of a new run: what started it, its code, its machine, its user."""
    name = user()
    return {
        "mlflow.source.name": started.source,
        "mlflow.source.type": "LOCAL",
        **provenance_tags(),
        **started.tags(),
        "started_by": f"{name}, {started.by}",
        "host": socket.gethostname(),
        "mlflow.user": name,
    }


_CHANGES = 40  # most characters of a run's name for changed fields


def changed_fields(config: TrainConfig) -> str:
    """The fields that differ from the recipe of that name, with their values; empty if none does."""
    return ", ".join(f"{key}={value}" for key, value in config.changes().items())


def planned_name(given: Mapping[str, Any], due: str, repeats: int = 1) -> str:
    """A name that begins with what runs differ by, as charts cut the ends off, and ends with its moment."""
    config = TrainConfig.model_validate(given["config"])
    changes = config.changes()
    changed = "".join(f"+{key}={value}" for key, value in changes.items())
    if len(changed) > _CHANGES:
        changed = f"+{len(changes)}changes"
    seeds = seeds_label(given["seed"], repeats)
    return f"{config.recipe}{changed}-{dataset_name(given['dataset'])}-{seeds}-{due}"


def seeds_label(seed: int, repeats: int = 1) -> str:
    return f"seed{seed}" if repeats == 1 else f"seeds{seed}to{seed + repeats - 1}"


class Ready(NamedTuple):
    """What started, a dataset whose model is held, MLflow's experiment, since when, after how long a start-up."""

    started: Started
    dataset: str
    experiment: str
    since: float
    startup: float


@contextmanager
def alone(started: Started, dataset: str) -> Iterator[Ready]:
    """Hold a dataset's model, for which a deployment's run waits, and clean up after killed trainings."""
    settings, model = load_settings(), model_name(dataset)
    client = connect(settings)
    startup, since, waiting = startup_seconds(), time.time(), time.perf_counter()
    with training_lock(model, settings, started.patience):
        since += time.perf_counter() - waiting  # for another, which is no work of this one
        experiment = experiment_id(client, settings)
        reconcile(client, experiment, model, settings, "the next run", started.crash)
        yield Ready(started, located(dataset), experiment, since, startup)


@contextmanager
def training_run(
    ready: Ready,
    config: TrainConfig,
    seed: int,
    kind: str = TRAINING,
    tags: Mapping[str, str] = NO_TAGS,
    later: Collection[str] | None = None,
    build: Build | None = None,
) -> Iterator[RunContext]:
    """Keep an MLflow run open, of a model that is held ``alone``; its work folder is gone at the end.

    Tags are added to the usual ones. Fields of the recipe that are chosen ``later``, by default those that the
    table decides, are not logged as parameters yet: MLflow lets no parameter be changed.
    """
    settings = load_settings()
    planned = RunContext(
        "", ready.started.name, ready.experiment, settings, ready.started,
        config, ready.dataset, seed, work_folder(model_name(ready.dataset), settings), ready.since - ready.startup,
        build=build,
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
    run = _open(planned, {KIND: kind, PARENT_RUN: parent.run_id, **tags})
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
        logger.info("training starts %s", start.text())
    return replace(run, start=start)


def publish_summary(run: OpenRun, started: Started, text: str, key: str, about: str = "") -> None:
    """Publish what came of a run: its description in MLflow, a text and a link where it was started from."""
    run.tag({NOTE: text})
    started.publish(text, run.url, key, about or f"How {run.name} went")
    logger.info("MLflow run: %s", run.url)


def log_baseline(parent: OpenRun, best: OpenRun) -> Baseline | None:
    """Log on a parent what the run of its registered version says of the baseline."""
    metrics = best.record().metrics
    parent.log({name: value for name, value in metrics.items() if name.startswith(BASELINE_METRICS)})
    return Baseline.logged(metrics)


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
        **provenance(planned.started),
        LOCK: lock_tag(planned.model_name, planned.settings),
        RUN_COLOUR: _colour(planned),
        **more,
    }
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
        logger.warning("Could not close the MLflow run %s: %s", run.run_id, failure)


def _parameters(run: RunContext) -> dict[str, object]:
    fields = ({BUILD: run.build.__name__} if run.build else {}) | run.fields()
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
    if signals.first_signal() or not isinstance(err, (Exception, SystemExit)):  # such as Prefect's own
        return "it was asked to end"
    if isinstance(err, SystemExit):
        return f"its process ended itself, with exit code {err.code}"
    reason = printable(redact(prefect_away(err) or first_line(err)).removesuffix("."))
    kind = type(err).__name__
    return reason if " " in reason or reason == kind else f"{kind}: {reason}"
