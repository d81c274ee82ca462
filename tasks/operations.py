"""The steps of housekeeping and of monitoring."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from uuid import NAMESPACE_URL, uuid5

from prefect import get_run_logger, runtime, task
from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.events import Event

from sentiflow.errors import ExternalError
from sentiflow.locks import lock_tag
from sentiflow.monitoring import check as checking
from sentiflow.monitoring import live
from sentiflow.monitoring.accuracy import LiveAccuracy
from sentiflow.monitoring.check import DriftCheck, DriftResult, RecentTexts
from sentiflow.monitoring.follow_up import FollowUp, follow_up
from sentiflow.names import dataset_of
from sentiflow.notifications import announce
from sentiflow.operations import repair
from sentiflow.operations.cleanup import delete_old_files, delete_old_runs, digests_of_champions
from sentiflow.operations.flow_runs import delete_ended
from sentiflow.operations.repair import CleanupReport, close_checks
from sentiflow.reports.blocks import PAGE, Section
from sentiflow.runs.record import KIND, MONITOR
from sentiflow.settings import Notification, load_settings
from sentiflow.store.client import OpenRun, connect, experiment_id
from sentiflow.store.find import find_version, open_store
from sentiflow.store.records import LOCK, QUOTED
from sentiflow.training.open_run import closing, create, provenance, publish_summary


@task(name="close killed runs", task_run_name="close killed runs", persist_result=False)
def close_killed() -> CleanupReport:
    """Close what no living process owns, in MLflow and in Prefect."""
    report = CleanupReport()
    with report.attempt("close killed runs"):
        report.add(repair.close_killed(load_settings(), get_run_logger(), datetime.now(UTC)))
    return report


@task(name="remove old files", task_run_name="remove old files", persist_result=False)
def remove_old_files() -> CleanupReport:
    """Remove what nothing uses from the data folder."""
    report, settings = CleanupReport(), load_settings()
    with report.attempt("remove old files"):
        delete_old_files(settings, digests_of_champions(settings), report)
    return report


@task(name="retire runs", task_run_name="retire runs", persist_result=False)
def retire_runs() -> CleanupReport:
    """Delete old MLflow runs without a version, if the settings say after how long."""
    report = CleanupReport()
    with report.attempt("retire runs"):
        delete_old_runs(load_settings(), report)
    return report


@task(name="retire flow runs", task_run_name="retire flow runs", persist_result=False)
def retire_flow_runs() -> CleanupReport:
    """Delete old flow runs from Prefect, with their logs, if the settings say after how long."""
    report, days = CleanupReport(), load_settings().keep_flow_runs_days
    if days is None:
        return report
    with report.attempt("retire flow runs"), get_client(sync_client=True) as prefect:
        count = delete_ended(prefect, datetime.now(UTC) - timedelta(days=days))
        if count:
            report.removed.append(f"{count} flow run{'s' * (count > 1)} of Prefect")
    return report


@task(name="report", task_run_name="report", persist_result=False)
def publish_report(steps: list[CleanupReport]) -> CleanupReport:
    """Add up what was done; an error if something could not be."""
    report = CleanupReport()
    for step in steps:
        report.add(step)
    create_markdown_artifact(report.markdown(), key="housekeeping", description="What was closed and cleared away")
    if report.failures:
        for line in report.lines():
            get_run_logger().info("%s", line)
        raise ExternalError(
            f"Housekeeping could not {'; '.join(report.failures)}.",
            "The rest is done. Run again once the cause is removed: sentiflow housekeeping",
        )
    return report


EVENT, DROPPED = "sentiflow.drift", "sentiflow.dropped"


@task(name="measure accuracy", task_run_name="measure accuracy", persist_result=False)
def measure_accuracy(check: DriftCheck) -> tuple[list[LiveAccuracy], FollowUp | None]:
    """Measure the accuracy in use by the labels of samples; what is new is reported, and a drop is told.

    Gives what follows a drop, too. A drop of a version that was replaced meanwhile is reported alone.
    """
    found = live.watched(check.model, check.settings)
    news = live.news(found)
    for each in news:
        get_run_logger().info("%s", each.headline)
    then = None
    if not news:
        return found, then
    latest, page = news[-1], live.report(found)
    with _run(check, latest.sample.version, {"live.sample": str(latest.sample.number)}) as run:
        run.log(live.metrics(latest))
        run.text(page.page(), PAGE)
        publish_summary(run, page.markdown(), "accuracy", latest.headline)
    in_use = find_version(check.settings, check.model, None).number
    for each in news:
        if each.dropped and not each.sample.dropped and each.sample.version == in_use:
            sample = each.sample
            payload = {"accuracy": each.value, "interval": each.interval, "labels": each.labels}
            key = f"{sample.title} {sample.told}"  # told something else in between, it is another drop
            then = _emit(check, DROPPED, key, run, sample.version, "dropped", f"{each.headline}.", payload)
    if found[-1].complete and found[-1].enough:
        check.log.mark_accuracy(check.model, found[-1].value)
    live.mark_told(found, check.settings)
    return found, then


@task(name="collect", task_run_name="collect", persist_result=False)
def collect(check: DriftCheck) -> RecentTexts:
    """Collect the texts since the last check, each once."""
    texts = checking.collect_texts(check.log, check.model, check.work / "texts.parquet")
    get_run_logger().info("%s", f"{texts.distinct:,} new texts, {texts.repeated:,} repeated")
    if not texts.distinct and not open_store(check.settings).versions(check.model):
        get_run_logger().warning("No version is registered as %s", check.model)
    return texts


@task(name="compare", task_run_name="compare", persist_result=False)
def compare(check: DriftCheck, texts: RecentTexts, more: Sequence[Section]) -> DriftResult:
    """Measure texts and reviews in the same way, with the version in use, and compare them."""
    result = checking.compare(check, texts, more)
    get_run_logger().info("%s", result.headline)
    return result


@task(name="report", task_run_name="report", persist_result=False)
def report(check: DriftCheck, texts: RecentTexts, result: DriftResult) -> OpenRun:
    """Report the outcome in a run of MLflow and in Prefect; what killed checks left open is closed."""
    tags = {
        "dataset.digest": result.digest,
        "monitor.drift": ", ".join(result.drifted) or "none",
        QUOTED: " ".join(text.id for text in result.unusual),
    }
    with _run(check, result.version, tags) as run:
        run.log({**result.metrics(), "drift/texts": texts.distinct, "drift/repeated": texts.repeated})
        run.upload(check.artifacts)
        publish_summary(run, checking.report(result, {}).markdown(), "drift", result.headline)
    return run


@task(name="emit event", task_run_name="emit event", persist_result=False)
def emit_event(check: DriftCheck, texts: RecentTexts, result: DriftResult, run: OpenRun) -> FollowUp | None:
    """Emit the event that starts a training, if there is drift; gives what follows."""
    if not result.drifted:
        return None
    text = f"{result.headline[0].lower()}{result.headline[1:]}."
    payload = {"texts": texts.distinct, "features": [asdict(feature) for feature in result.features]}
    return _emit(check, EVENT, texts.key, run, result.version, "drifted", text, payload)


@contextmanager
def _run(check: DriftCheck, version: int, more: Mapping[str, str]) -> Iterator[OpenRun]:
    """A run of MLflow for a check; what killed checks left open is closed."""
    settings, client = check.settings, connect(check.settings)
    experiment = experiment_id(client, settings)
    close_checks(client, experiment, check.lock, settings, get_run_logger())
    tags = {
        KIND: MONITOR,
        LOCK: lock_tag(check.lock, settings),
        "dataset": dataset_of(check.model),
        "monitor.model": check.model,
        "monitor.version": str(version),
        **more,
        **provenance(),
    }
    run = create(OpenRun("", str(runtime.flow_run.name), experiment, settings), tags)
    with closing(run):
        yield run


def _emit(
    check: DriftCheck, name: str, key: str, run: OpenRun, version: int, what: Notification, text: str,
    payload: Mapping[str, object],
) -> FollowUp:  # fmt: skip
    """Emit an event of a model, which starts a training if its dataset has something new, and send a message.

    The event's id depends on a key, so that a check which is repeated after a kill emits the same event, which
    Prefect stores once.
    """
    settings, model, then = check.settings, check.model, follow_up(check.model, check.settings)
    get_run_logger().info("%s", then.text)
    related = {"flow-run": f"prefect.flow-run.{runtime.flow_run.id}", "report": f"mlflow.run.{run.run_id}"}
    event = Event(
        id=uuid5(NAMESPACE_URL, f"{name} {model} {key}"),
        event=name,
        resource={
            "prefect.resource.id": f"sentiflow.model.{model}",
            "prefect.resource.name": model,
            "sentiflow.new": "yes" if then.dataset else "no",
        },
        related=[
            {"prefect.resource.id": resource, "prefect.resource.role": role} for role, resource in related.items()
        ],
        payload={
            "model": model, "version": version, "dataset": dataset_of(model), **payload, "mlflow_run": run.url,
        },
    )  # fmt: skip
    with get_client(sync_client=True) as client:  # returns once the server has it, unlike emit_event
        client.request("POST", "/events", json=[event.model_dump(mode="json")])
    get_run_logger().info("Emitted %s for %s", name, model)
    fields = {"model": model, "model_version": str(version), "mlflow_run_url": run.url}
    announce(settings, get_run_logger(), what, f"{model}: {text} {then.text} {run.url}", **fields)
    return then


@task(name="mark checked", task_run_name="mark checked", persist_result=False)
def mark_checked(check: DriftCheck, texts: RecentTexts, result: DriftResult) -> None:
    """Note up to where the texts have been checked; a check that was killed before is repeated."""
    check.log.mark_checked(check.model, texts.last_id, {each.name: each.psi for each in result.features})
