"""Say how a set of repeats went: on the parent run, in Prefect, and to the caller."""

import time
from collections.abc import Sequence
from dataclasses import asdict

from prefect import get_run_logger, task
from prefect.artifacts import create_link_artifact, create_markdown_artifact

from sentiment.data.prepare import Prepared
from sentiment.metrics import Spread, spread
from sentiment.settings import load_settings
from tasks.registry import run_url
from tasks.results import Registered, RepeatsResult, RunContext, SeedResult
from tasks.tracking import connect, log_metrics, tracking_errors

_ENDS = {"mean": "mean", "sd": "sd", "least": "min", "most": "max"}


def best_of(seeds: Sequence[SeedResult]) -> SeedResult:
    """The seed whose validation loss is lowest; the first of equals. The test split chooses nothing."""
    return min(seeds, key=lambda result: result.trained.kept.val_loss)


@task(name="summarize", task_run_name="summarize", persist_result=False)
def summarize_repeats(
    parent: RunContext, prepared: Prepared, seeds: Sequence[SeedResult], best: SeedResult, model: Registered
) -> RepeatsResult:
    """Gather what there is to tell.

    Written: mean, sd, min and max of each figure (``test/accuracy_mean``, ...), ``time/total`` and the description
    on the parent; a markdown summary and a link to it in Prefect.
    """
    settings = load_settings()
    client = connect(settings)
    spreads = {name: spread(values) for name, values in _figures(seeds).items()}
    seconds = time.time() - parent.began
    with tracking_errors(settings.tracking_uri):
        ends = {
            f"{name}_{end}": getattr(of, field) for name, of in spreads.items() for field, end in _ENDS.items()
        }
        log_metrics(client, parent.run_id, ends | {"time/total": seconds})
        url = run_url(client, settings, parent.run_id)
        text = _markdown(parent, prepared, seeds, best, model, spreads["test/accuracy"])
        client.set_tag(parent.run_id, "mlflow.note.content", text)
        for result in seeds:
            note = f"Seed {result.run.seed} of [{parent.name}]({url})."
            client.set_tag(result.run.run_id, "mlflow.note.content", note)
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


def _markdown(
    parent: RunContext,
    prepared: Prepared,
    seeds: Sequence[SeedResult],
    best: SeedResult,
    model: Registered,
    accuracy: Spread,
) -> str:
    changes = ", ".join(f"{key}={value}" for key, value in parent.config.changes().items())
    lines = "\n".join(
        f"| {result.run.seed} | {result.trained.kept.number} | {result.trained.kept.val_loss:.4f} "
        f"| {result.trained.kept.val_accuracy:.2%} | {result.measured.accuracy:.2%} |"
        for result in seeds
    )
    return f"""**Test accuracy over {len(seeds)} seeds: mean {accuracy.mean:.2%}, standard deviation \
{100 * accuracy.sd:.2f} points, {accuracy.least:.2%} to {accuracy.most:.2%}.**

- recipe: {parent.config.recipe}{f" ({changes})" if changes else ""}
- dataset: {prepared.name}, digest `{prepared.digest[:12]}`
- registered: {model.name} version {model.version}, of seed {best.run.seed}, whose validation loss is lowest

| seed | epoch kept | validation loss | validation accuracy | test accuracy |
|---:|---:|---:|---:|---:|
{lines}
"""
