"""Say how a run went: on the run itself, in Prefect, and to the caller."""

import time

from prefect import get_run_logger, task
from prefect.artifacts import create_link_artifact, create_markdown_artifact

from sentiment.data.prepare import Prepared
from sentiment.metrics import Measured
from sentiment.reports import one
from sentiment.reports.account import Account
from sentiment.reports.blocks import plain
from sentiment.reports.cost import STAGES
from sentiment.settings import load_settings
from tasks.registry import run_url
from tasks.report import NOTE
from tasks.results import Registered, RunContext, TrainingResult
from tasks.run_store import open_store
from tasks.tracking import connect, log_metrics, tracking_errors

WORK = ("fetch", "train", "evaluate")  # all else is what orchestration and tracking cost


@task(name="summarize", task_run_name="summarize", persist_result=False)
def summarize(run: RunContext, prepared: Prepared, measured: Measured, model: Registered) -> TrainingResult:
    """Gather what there is to tell.

    Written: ``time/other``, ``time/overhead`` and ``time/total`` and the description on the run; a markdown
    summary and a link to the MLflow run in Prefect.
    """
    settings = load_settings()
    client = connect(settings)
    with tracking_errors(settings.tracking_uri):
        seconds = _seconds(client.get_run(run.run_id).data.metrics, time.time() - run.began)
        log_metrics(client, run.run_id, {f"time/{stage}": value for stage, value in seconds.items()})
        url = run_url(client, settings, run.run_id)
        report = one.report(Account(open_store(settings).record(run.run_id), {}), {})
        text = report.markdown(*_lines(run, prepared, model, url))
        client.set_tag(run.run_id, NOTE, text)
    create_markdown_artifact(text, key="training-summary", description=f"How {run.name} went")
    create_link_artifact(url, link_text=f"MLflow run {run.name}", key="mlflow-run")
    get_run_logger().info("MLflow run: %s", url)
    return TrainingResult(run.run_id, run.name, url, model, measured, seconds)


def _seconds(metrics: dict[str, float], total: float) -> dict[str, float]:
    """Seconds by stage, what no stage accounts for, all that is no work on the model, and the total."""
    seconds = {stage: metrics[f"time/{stage}"] for stage in STAGES}
    seconds["other"] = total - sum(seconds.values())
    seconds["overhead"] = total - sum(seconds[stage] for stage in WORK)
    seconds["total"] = total
    return seconds


def _lines(run: RunContext, prepared: Prepared, model: Registered, url: str) -> list[str]:
    changes = ", ".join(f"{key}={value}" for key, value in run.config.changes().items())
    return [
        f"- recipe: {plain(run.config.recipe)}{f' ({plain(changes)})' if changes else ''}, seed {run.seed}",
        f"- dataset: {plain(prepared.name)}, digest `{prepared.digest[:12]}`",
        f"- registered: {plain(model.name)} version {model.version}",
        f"- MLflow run: [{plain(run.name)}]({url})",
    ]
