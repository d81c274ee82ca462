"""Tasks: the steps of a drift check."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from prefect import get_run_logger, runtime, task
from prefect.client.orchestration import get_client
from prefect.events import Event

from sentiflow.data import prepare, reviews
from sentiflow.errors import ExternalError
from sentiflow.files import make_folder
from sentiflow.locks import file_lock, lock_file, names_own_lock, own_lock_tag, work_folder
from sentiflow.monitoring import drift
from sentiflow.monitoring.check import DriftCheck, DriftResult, RecentTexts, collect_texts, measure, pictures
from sentiflow.monitoring.check import report as drift_report
from sentiflow.monitoring.drift import UNKNOWN
from sentiflow.monitoring.text_log import DamagedLogError, need_log
from sentiflow.names import BUILT_IN, dataset_name, model_name
from sentiflow.notifications import announce
from sentiflow.operations.repair import RUNNING, close
from sentiflow.reports import plots
from sentiflow.reports.build import PAGE
from sentiflow.runs.record import KIND, MONITOR
from sentiflow.settings import Settings, load_settings
from sentiflow.store.client import OpenRun, connect, experiment_id, tracking_errors
from sentiflow.store.find import open_store
from sentiflow.store.types import Version, need_number
from sentiflow.store.versions import find_version, load_scorer, need_dataset, need_versions, with_dataset
from sentiflow.training.open_run import closing, create, provenance, publish_summary

LOCK = "monitor.lock"
"""Tag of a monitoring run: the lock that is held while it is open."""

EVENT = "sentiflow.drift"
_ARTIFACTS = "artifacts"  # in the work folder


@contextmanager
def monitoring_run(dataset: str) -> Iterator[DriftCheck]:
    """Hold the lock of a model's drift checks, and close what killed checks left open."""
    settings, model = load_settings(), model_name(dataset)
    log = need_log(settings)
    name = f"{model}.monitor"  # in the data folder: the service, which strangers ask, can write to the log's
    lock, work = lock_file(name, settings), work_folder(name, settings)
    check = DriftCheck(dataset_name(dataset), model, settings, log, own_lock_tag(name, settings), work)
    with file_lock(lock, f"Another drift check of {model}", "monitoring", shared=settings.lock_url):
        try:
            _close_killed(check)
            make_folder(work)
            yield check
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _close_killed(check: DriftCheck) -> None:
    """Close the runs of killed checks: their lock is held here, so none of them is alive."""
    shutil.rmtree(check.work, ignore_errors=True)
    client = connect(check.settings)
    with tracking_errors(check.settings.tracking_uri):
        experiment = experiment_id(client, check.settings)
        for run in client.search_runs([experiment], f"{RUNNING} and tags.kind = '{MONITOR}'"):
            if names_own_lock(run.data.tags.get(LOCK), f"{check.model}.monitor", check.settings):
                close(client, run, "the next drift check", get_run_logger())


@task(name="collect", task_run_name="collect", persist_result=False)
def collect(check: DriftCheck) -> RecentTexts:
    """Collect the texts since the last check, each once.

    Written: a table in the work folder.
    """
    try:
        texts = collect_texts(check.log, check.model, check.work / "texts.parquet")
    except DamagedLogError as err:
        raise ExternalError(
            f"The log of texts is damaged: {err}.", "Move that file away; the next text makes a new one."
        ) from err
    get_run_logger().info("%d new texts, %d repeated", texts.distinct, texts.repeated)
    if not texts.distinct and not open_store(check.settings).versions(check.model):
        get_run_logger().warning("No version is registered as %s", check.model)
    return texts


@task(name="compare", task_run_name="compare", persist_result=False)
def compare(check: DriftCheck, texts: RecentTexts) -> DriftResult:
    """Measure texts and reviews in the same way, with the version in use, and compare them.

    Written: plots and the report in the work folder.
    """
    settings = check.settings
    version = find_version(settings, check.model, None)
    scorer = load_scorer(settings, version)
    digest, table = _training_reviews(version, settings)
    reference = drift.features_of_reviews(reviews.read(table), scorer)
    recent, unusual = measure(texts.file, scorer, reference)
    limits = settings.monitor_psi, settings.monitor_alpha
    features = drift.compare(reference, recent, *limits)
    sources = " and ".join(f"{count:,} {source}" for source, count in sorted(texts.sources.items()))
    facts = {
        "model": f"{version.name} version {version.number} ({version.why})",
        "dataset digest": digest,
        "texts": f"{texts.distinct:,} different ones, {texts.repeated:,} repeated; {sources}",
        "from": texts.first,
        "until": texts.last,
        "unknown words": f"{recent[UNKNOWN].mean():.2%} of a text on average are not in the vocabulary, against "
        f"{reference[UNKNOWN].mean():.2%} of a training review that only this one brought into it",
    }
    result = DriftResult(check.model, version.number, digest, features, *limits, facts, unusual)
    get_run_logger().info("%s", result.headline)
    figures, folder = pictures(reference, recent, features), check.work / _ARTIFACTS
    plots.save(figures, folder / "plots")
    (folder / PAGE).write_text(drift_report(result, figures).page(), encoding="utf-8")
    return result


def _training_reviews(version: Version, settings: Settings) -> tuple[str, Path]:
    """Digest and table of the reviews of a version's training; missing ones of a built-in dataset are made."""
    store = open_store(settings)
    versions = need_versions(store, version.name)
    found = versions[need_number(versions, version.name, version.number)]
    dataset, digest = need_dataset(version.name, with_dataset(store, found))
    table = prepare.kept_table(dataset, digest, settings)
    if not table.exists() and dataset in BUILT_IN:
        prepare.prepare(prepare.fetch(dataset, settings), settings)
    if not table.exists():
        raise ExternalError(
            f"The reviews that {version.name} version {version.number} was trained on are not at {table}.",
            f"Train again on this machine, or copy it and {reviews.vocabulary_file(table).name} there.",
        )
    reviews.mark_used(table)  # housekeeping removes what is not
    return digest, table


@task(name="report", task_run_name="report", persist_result=False)
def report(check: DriftCheck, texts: RecentTexts, result: DriftResult) -> OpenRun:
    """Report the outcome.

    Written: an MLflow run with metrics ``drift/*``, plots and the report; in Prefect a table and a link.
    """
    tags = {
        KIND: MONITOR,
        LOCK: check.lock,
        "dataset": check.dataset,
        "dataset.digest": result.digest,
        "monitor.model": result.model,
        "monitor.version": str(result.version),
        "monitor.drift": ", ".join(result.drifted) or "none",
        **provenance(),
    }
    experiment = experiment_id(connect(check.settings), check.settings)
    run = create(OpenRun("", str(runtime.flow_run.name), experiment, check.settings), tags)
    with closing(run):
        run.log({**result.metrics(), "drift/texts": texts.distinct, "drift/repeated": texts.repeated})
        run.upload(check.work / _ARTIFACTS)
        publish_summary(run, drift_report(result, {}).markdown(), "drift", result.headline)
    return run


@task(name="emit event", task_run_name="emit event", persist_result=False)
def emit_event(check: DriftCheck, texts: RecentTexts, result: DriftResult, run: OpenRun) -> None:
    """Emit the event that starts a training, if there is drift.

    Written: the event, in Prefect. Its id depends on the first text, so that a check which is repeated after a
    kill emits the same event, which Prefect stores once.
    """
    if not result.drifted:
        return
    related = {"flow-run": f"prefect.flow-run.{runtime.flow_run.id}", "report": f"mlflow.run.{run.run_id}"}
    event = Event(
        id=uuid5(NAMESPACE_URL, f"{EVENT} {result.model} {texts.key}"),
        event=EVENT,
        resource={"prefect.resource.id": f"sentiflow.model.{result.model}", "prefect.resource.name": result.model},
        related=[
            {"prefect.resource.id": resource, "prefect.resource.role": role} for role, resource in related.items()
        ],
        payload={
            "model": result.model,
            "version": result.version,
            "dataset": check.dataset,
            "texts": texts.distinct,
            "features": [asdict(feature) for feature in result.features],
            "mlflow_run": run.url,
        },
    )
    with get_client(sync_client=True) as client:  # returns once the server has it, unlike emit_event
        client.request("POST", "/events", json=[event.model_dump(mode="json")])
    get_run_logger().info("Emitted %s for %s", EVENT, result.model)
    text = f"{result.model}: {result.headline[0].lower()}{result.headline[1:]}. {run.url}"
    fields = {"model": result.model, "model_version": str(result.version), "mlflow_run_url": run.url}
    announce(check.settings, get_run_logger(), "drifted", text, **fields)


@task(name="mark checked", task_run_name="mark checked", persist_result=False)
def mark_checked(check: DriftCheck, texts: RecentTexts, result: DriftResult) -> None:
    """Note up to where the texts have been checked; a check that was killed before is repeated.

    Written: the id of the last text, and the PSI of each feature, beside the log; the service shows the latter.
    """
    check.log.mark_checked(check.model, texts.last_id, {each.name: each.psi for each in result.features})
