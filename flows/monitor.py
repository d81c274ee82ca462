"""A drift check of the texts that were scored and served."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from prefect import task

from sentiflow.locks import lock_tag
from sentiflow.monitoring import accuracy
from sentiflow.monitoring import check as checking
from sentiflow.monitoring.accuracy import LiveAccuracy
from sentiflow.monitoring.check import CheckOutcome, DriftCheck, DriftResult, RecentTexts, drift_check
from sentiflow.names import dataset_name, dataset_of
from sentiflow.notifications import announce
from sentiflow.operations.job import job, this_flow_run
from sentiflow.reports.blocks import PAGE, Section
from sentiflow.run.record import DIGEST, KIND, MONITOR
from sentiflow.settings import Notification
from sentiflow.store.client import OpenRun, close_checks, connect, experiment_id
from sentiflow.store.find import open_store
from sentiflow.store.records import LOCK, QUOTED
from sentiflow.training.open_run import closing, create, provenance, publish_summary

logger = logging.getLogger(f"sentiflow.{__name__}")


@task(name="measure accuracy", task_run_name="measure accuracy", persist_result=False)
def measure_accuracy(check: DriftCheck) -> list[LiveAccuracy]:
    """Measure the accuracy in use by the labels of samples; what is new is reported, and a drop is told."""
    found = accuracy.watched(check.model, check.settings)
    if not (news := accuracy.news(found)):
        return found
    for each in news:
        logger.info("%s", each.headline)
    latest, page = news[-1], accuracy.report(found)
    with _run(check, latest.sample.version, {"live.sample": str(latest.sample.number)}) as run:
        run.log(accuracy.metrics(latest))
        run.text(page.page(), PAGE)
        publish_summary(run, this_flow_run(), page.markdown(), "accuracy", latest.headline)
    for each in accuracy.new_drops(news, check.settings):
        _tell(check, run, each.sample.version, "dropped", f"{each.headline}.")
    accuracy.mark(found, check.log, check.settings)
    return found


@task(name="collect", task_run_name="collect", persist_result=False)
def collect(check: DriftCheck) -> RecentTexts:
    """Collect the texts since the last check, each once."""
    texts = checking.collect_texts(check.log, check.model)
    logger.info("%s", f"{texts.distinct:,} new texts, {texts.repeated:,} repeated")
    if not texts.distinct and not open_store(check.settings).versions(check.model):
        logger.warning("No version is registered as %s", check.model)
    return texts


@task(name="compare", task_run_name="compare", persist_result=False)
def compare(check: DriftCheck, texts: RecentTexts, more: Sequence[Section]) -> DriftResult:
    """Measure texts and reviews in the same way, with the version in use, and compare them."""
    result = checking.compare(check, texts, more)
    logger.info("%s", result.headline)
    return result


@task(name="report", task_run_name="report", persist_result=False)
def report(check: DriftCheck, texts: RecentTexts, result: DriftResult) -> OpenRun:
    """Report the outcome in a run of MLflow and in Prefect; drift is told."""
    tags = {
        DIGEST: result.digest,
        "monitor.drift": ", ".join(result.drifted) or "none",
        QUOTED: " ".join(text.id for text in result.unusual),
    }
    with _run(check, result.version, tags) as run:
        run.log({**result.metrics(), "drift/texts": texts.distinct, "drift/repeated": texts.repeated})
        run.upload(check.artifacts)
        publish_summary(run, this_flow_run(), checking.report(result, {}).markdown(), "drift", result.headline)
    if result.drifted:
        _tell(check, run, result.version, "drifted", f"{result.headline[0].lower()}{result.headline[1:]}.")
    return run


@task(name="mark checked", task_run_name="mark checked", persist_result=False)
def mark_checked(check: DriftCheck, texts: RecentTexts, result: DriftResult) -> None:
    """Note up to where the texts have been checked; a check that was killed before is repeated."""
    check.log.mark(check.model, id=texts.last_id, psi={each.name: each.psi for each in result.features})


@contextmanager
def _run(check: DriftCheck, version: int, more: Mapping[str, str]) -> Iterator[OpenRun]:
    """A run of MLflow for a check; what killed checks left open is closed."""
    settings, client = check.settings, connect(check.settings)
    experiment = experiment_id(client, settings)
    start = this_flow_run()
    close_checks(client, experiment, check.lock, settings, start.crash)
    tags = {
        KIND: MONITOR,
        LOCK: lock_tag(check.lock, settings),
        "dataset": dataset_of(check.model),
        "monitor.model": check.model,
        "monitor.version": str(version),
        **more,
        **provenance(start),
    }
    run = create(OpenRun("", start.name, experiment, settings), tags)
    with closing(run):
        yield run


def _tell(check: DriftCheck, run: OpenRun, version: int, what: Notification, text: str) -> None:
    """Send a message that says what can be done, too."""
    fields = {"model": check.model, "model_version": str(version), "mlflow_run_url": run.url}
    message = f"{check.model}: {text} {checking.what_to_do(check.model)} {run.url}"
    announce(check.settings, what, message, **fields)


@job(lambda given, due: f"monitor-{dataset_name(given['dataset'])}-{due}")
def monitor(dataset: str = "imdb") -> CheckOutcome:
    """Compare the texts since the last check with the reviews that the model was trained on.

    1. measure accuracy: in use, from new labels of samples; a drop is told as drift is
    2. collect: the new texts of the log; if they are too few, they are left to the next check
    3. compare: vocabulary, length and score, with the version in use
    4. report: pictures and metrics in MLflow, a table in Prefect; a message if there is drift
    5. mark checked: where the next check begins

    Args:
        dataset: The model's dataset: imdb, sample, or the name of your table.
    """
    with drift_check(dataset) as check:
        found = measure_accuracy(check)
        news = accuracy.news(found)
        told = tuple(f"{each.headline}." for each in news)
        dropped = bool(accuracy.new_drops(news, check.settings))
        texts = collect(check)
        if texts.distinct < (minimum := check.settings.monitor_min_texts):
            few = f"Only {texts.distinct:,} new texts (minimum {minimum:,}); they are left to the next check."
            return CheckOutcome(check.model, texts.distinct, few, accuracy=told, dropped=dropped)
        result = compare(check, texts, [accuracy.section(found)] if found else [])
        run = report(check, texts, result)
        mark_checked(check, texts, result)
    return CheckOutcome(check.model, texts.distinct, f"{result.headline}.", result, run.url, told, dropped)
