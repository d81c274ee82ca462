"""Say how a set of repeats went: on the parent run, in Prefect, and to the caller."""

import time
from collections.abc import Sequence
from dataclasses import asdict

from mlflow.tracking import MlflowClient
from prefect import get_run_logger, task
from prefect.artifacts import create_link_artifact, create_markdown_artifact

from sentiment.data.prepare import Prepared
from sentiment.metrics import spread
from sentiment.reports.blocks import plain
from sentiment.settings import Settings, load_settings
from tasks.registry import run_url
from tasks.report import NOTE, log_report, report_on
from tasks.results import Registered, RepeatsResult, RunContext, SeedResult
from tasks.tracking import connect, log_metrics, timed, tracking_errors


def best_of(seeds: Sequence[SeedResult]) -> SeedResult:
    """The seed whose validation loss is lowest; the first of equals. The test split chooses nothing."""
    return min(seeds, key=lambda result: result.trained.kept.val_loss)


@task(name="summarize", task_run_name="summarize", persist_result=False)
def summarize_repeats(
    parent: RunContext, prepared: Prepared, seeds: Sequence[SeedResult], best: SeedResult, model: Registered
) -> RepeatsResult:
    """Gather what there is to tell.

    Written: mean, sd, min and max of each figure (``test/accuracy_mean``, ...), ``time/total``, the description
    and a report that compares the seeds on the parent; a markdown summary and a link to it in Prefect.
    """
    settings = load_settings()
    client = connect(settings)
    spreads = {name: spread(values) for name, values in _figures(seeds).items()}
    with tracking_errors(settings.tracking_uri):
        ends = [of.as_metrics(name) for name, of in spreads.items()]
        log_metrics(client, parent.run_id, {name: value for each in ends for name, value in each.items()})
        url = run_url(client, settings, parent.run_id)
        for result in seeds:
            _tell_of_parent(client, result.run.run_id, f"Seed {result.run.seed} of [{plain(parent.name)}]({url}).")
        text = _log_report(client, settings, parent, seeds, _lines(parent, prepared, seeds, best, model))
        seconds = time.time() - parent.began
        log_metrics(client, parent.run_id, {"time/total": seconds})
    create_markdown_artifact(text, key="repeats-summary", description=f"How {parent.name} went")
    create_link_artifact(url, link_text=f"MLflow run {parent.name}", key="mlflow-run")
    get_run_logger().info("MLflow run: %s", url)
    return RepeatsResult(
        parent.run_id, parent.name, url, tuple(seeds), best, model, spreads["test/accuracy"], seconds
    )


def _figures(seeds: Sequence[SeedResult]) -> dict[str, list[float]]:
    """Each figure over the seeds, without the ends of each accuracy's interval."""
    test = [asdict(result.measured) for result in seeds]
    figures = {f"test/{name}": [one[name] for one in test] for name in test[0] if "accuracy_" not in name}
    kept = [result.trained.kept for result in seeds]
    return figures | {
        "val/loss": [epoch.val_loss for epoch in kept],
        "val/accuracy": [epoch.val_accuracy for epoch in kept],
    }


def _tell_of_parent(client: MlflowClient, run_id: str, line: str) -> None:
    """Lead from a seed's description to the whole set."""
    note = client.get_run(run_id).data.tags.get(NOTE, "")
    client.set_tag(run_id, NOTE, f"{line}\n\n{note}")


def _log_report(
    client: MlflowClient, settings: Settings, parent: RunContext, seeds: Sequence[SeedResult], lines: str
) -> str:
    """Hold the seeds against each other, on the parent."""
    with timed(client, parent.run_id, "report"):
        title = f"{parent.name}: {len(seeds)} seeds compared"
        report = report_on(settings, [result.run.run_id for result in seeds], title)
        return log_report(client, parent.run_id, report, lines)


def _lines(
    parent: RunContext, prepared: Prepared, seeds: Sequence[SeedResult], best: SeedResult, model: Registered
) -> str:
    changes = ", ".join(f"{key}={value}" for key, value in parent.config.changes().items())
    lines = "\n".join(
        f"| {result.run.seed} | {result.trained.kept.number} | {result.trained.kept.val_loss:.4f} "
        f"| {result.trained.kept.val_accuracy:.2%} | {result.measured.accuracy:.2%} |"
        for result in seeds
    )
    return f"""- recipe: {plain(parent.config.recipe)}{f" ({plain(changes)})" if changes else ""}
- dataset: {plain(prepared.name)}, digest `{prepared.digest[:12]}`
- registered: {plain(model.name)} version {model.version}, of seed {best.run.seed}, whose validation loss is lowest

| seed | epoch kept | validation loss | validation accuracy | test accuracy |
|---:|---:|---:|---:|---:|
{lines}"""
