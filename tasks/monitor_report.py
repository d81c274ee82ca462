"""The report of a look for drift, as a Prefect task."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from mlflow.tracking import MlflowClient
from prefect import get_run_logger, runtime, task
from prefect.artifacts import create_link_artifact, create_markdown_artifact

from sentiment import drift_report
from sentiment.drift import Floats
from sentiment.run_record import KIND, MONITOR
from sentiment.settings import Settings, load_settings
from tasks import provenance
from tasks.creation import CREATION, create_run, token
from tasks.monitor import NOW, REFERENCE
from tasks.registry import run_url
from tasks.tracking import connect, experiment_id, log_metrics, tracking_errors
from tasks.watch import LOCK, Comparison, Reported, Texts, Watch


@task(name="report", task_run_name="report", persist_result=False)
def report(watch: Watch, texts: Texts, comparison: Comparison) -> Reported:
    """Tell what was found.

    Written: an MLflow run with metrics ``drift/*``, pictures and the report; in Prefect a table and a link.
    """
    settings = load_settings()
    client = connect(settings)
    folder = _draw(watch, comparison)
    with tracking_errors(settings.tracking_uri):
        run_id = _open(client, settings, watch, comparison)
        try:
            log_metrics(client, run_id, _metrics(texts, comparison))
            client.log_artifacts(run_id, str(folder))
        except BaseException:
            client.set_terminated(run_id, "FAILED")
            raise
        client.set_terminated(run_id)
        url = run_url(client, settings, run_id)
    text = drift_report.markdown(comparison.told)
    create_markdown_artifact(text, key="drift", description=comparison.told.headline)
    create_link_artifact(url, link_text=f"MLflow run of {runtime.flow_run.name}", key="mlflow-run")
    get_run_logger().info("MLflow run: %s", url)
    return Reported(run_id, url)


def _open(client: MlflowClient, settings: Settings, watch: Watch, comparison: Comparison) -> str:
    tags = {
        KIND: MONITOR,
        LOCK: watch.lock,
        "dataset": watch.dataset,
        "dataset.digest": comparison.digest,
        "monitor.model": watch.model,
        "monitor.version": str(comparison.version),
        "monitor.drift": ", ".join(comparison.told.drifted) or "none",
        "mlflow.note.content": drift_report.markdown(comparison.told),
        "mlflow.source.name": "flows/monitor.py",
        "mlflow.source.type": "LOCAL",
        **provenance.git_tags(),
        **provenance.flow_run_tags(),
        **provenance.origin_tags(),
        CREATION: token(),
    }
    experiment = experiment_id(client, settings)
    return str(create_run(client, experiment, tags, str(runtime.flow_run.name)).info.run_id)


def _metrics(texts: Texts, comparison: Comparison) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for figure in comparison.told.compared:
        metrics[f"drift/{figure.name}_psi"] = figure.psi
        metrics[f"drift/{figure.name}_p"] = figure.p
        metrics[f"drift/{figure.name}_median"] = figure.now
        metrics[f"drift/{figure.name}_median_reviews"] = figure.reference
    counts = {"texts": texts.distinct, "repeated": texts.repeated, "skipped": texts.skipped}
    return metrics | {f"drift/{name}": float(count) for name, count in counts.items()}


def _draw(watch: Watch, comparison: Comparison) -> Path:
    """Pictures and the page, in a folder of their own."""
    reference, now = (_read(watch.work / name) for name in (REFERENCE, NOW))
    figures: dict[str, Figure] = drift_report.pictures(reference, now, comparison.told.compared)
    folder = watch.work / "artifacts"
    (folder / "plots").mkdir(parents=True)
    for name, figure in figures.items():
        figure.savefig(folder / "plots" / f"{name}.png", dpi=120)
    page = drift_report.page(comparison.told, figures)
    (folder / "report.html").write_text(page, encoding="utf-8")
    return folder


def _read(file: Path) -> dict[str, Floats]:
    with np.load(file, allow_pickle=False) as arrays:
        return dict(arrays)
