"""Tasks: the summary of a training, of repeats and of baselines, in MLflow and in Prefect."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields

from mlflow.tracking import MlflowClient
from prefect import get_run_logger, task
from prefect.artifacts import create_link_artifact, create_markdown_artifact

from sentiflow.baselines.models import ABOUT
from sentiflow.baselines.table import Row, markdown
from sentiflow.data.prepare import Prepared
from sentiflow.evaluation.gate import ScoreTable
from sentiflow.evaluation.metrics import Measured, spread
from sentiflow.evaluation.statistics import compare
from sentiflow.reports import run as one
from sentiflow.reports.page import plain
from sentiflow.reports.run import STAGES
from sentiflow.reports.summary import Account
from sentiflow.settings import Settings, load_settings
from sentiflow.tracking.client import connect, log_metrics, run_url, timed, tracking_errors
from sentiflow.tracking.reports import NOTE, log_report, report_on
from sentiflow.tracking.results import Registered, RepeatsResult, RunContext, SeedResult, TrainingResult
from sentiflow.tracking.store import open_store, score_table

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
    spreads = {name: spread(values) for name, values in _seed_figures(seeds).items()}
    with tracking_errors(settings.tracking_uri):
        ends = [of.as_metrics(name) for name, of in spreads.items()]
        log_metrics(client, parent.run_id, {name: value for each in ends for name, value in each.items()})
        url = run_url(client, settings, parent.run_id)
        for result in seeds:
            _tell_of_parent(client, result.run.run_id, f"Seed {result.run.seed} of [{plain(parent.name)}]({url}).")
        text = _log_report(client, settings, parent, seeds, _repeats_lines(parent, prepared, seeds, best, model))
        seconds = time.time() - parent.began
        log_metrics(client, parent.run_id, {"time/total": seconds})
    create_markdown_artifact(text, key="repeats-summary", description=f"How {parent.name} went")
    create_link_artifact(url, link_text=f"MLflow run {parent.name}", key="mlflow-run")
    get_run_logger().info("MLflow run: %s", url)
    return RepeatsResult(
        parent.run_id, parent.name, url, tuple(seeds), best, model, spreads["test/accuracy"], seconds
    )


def _seed_figures(seeds: Sequence[SeedResult]) -> dict[str, list[float]]:
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


def _repeats_lines(
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


NETWORK = "network"  # in names of metrics, whatever the recipe is called


@dataclass(frozen=True)
class BaselinesResult:
    """The outcome of a set of baselines.

    Attributes:
        run_id: of the parent run in MLflow.
        run_name: likewise.
        run_url: where the MLflow UI shows it.
        rows: the network first, then the baselines in the order of their running.
        seconds: wall time of the whole.
    """

    run_id: str
    run_name: str
    run_url: str
    rows: tuple[Row, ...]
    seconds: float


@task(name="summarize", task_run_name="summarize", persist_result=False)
def summarize_baselines(
    parent: RunContext, prepared: Prepared, network: RunContext, baselines: Mapping[str, RunContext]
) -> BaselinesResult:
    """Gather what there is to tell.

    Written: figures of each model (``test/accuracy_tfidf``, ``test/difference_tfidf``, ..., of the network
    ``test/accuracy_network``), ``time/total``, a report that compares them and the description on the parent; a
    markdown summary and a link to it in Prefect.
    """
    settings = load_settings()
    client = connect(settings)
    with tracking_errors(settings.tracking_uri):
        rows = _rows(client, settings, network, baselines)
        log_metrics(client, parent.run_id, _baseline_figures(dict(zip((NETWORK, *baselines), rows, strict=True))))
        url = run_url(client, settings, parent.run_id)
        with timed(client, parent.run_id, "report"):
            runs = [network.run_id, *(run.run_id for run in baselines.values())]
            report = report_on(settings, runs, f"{parent.name}: {len(runs)} models compared")
            text = log_report(client, parent.run_id, report, _told(prepared, network, rows, list(baselines)))
        seconds = time.time() - parent.began
        log_metrics(client, parent.run_id, {"time/total": seconds})
    create_markdown_artifact(text, key="baselines-summary", description=f"How {parent.name} went")
    create_link_artifact(url, link_text=f"MLflow run {parent.name}", key="mlflow-run")
    get_run_logger().info("MLflow run: %s", url)
    return BaselinesResult(parent.run_id, parent.name, url, tuple(rows), seconds)


def _rows(
    client: MlflowClient, settings: Settings, network: RunContext, baselines: Mapping[str, RunContext]
) -> list[Row]:
    """The network's row, then one a baseline, all read from the store."""
    label = network.config.recipe + ("*" if network.config.changes() else "")
    reference = _scores(settings, network)
    rows = [_row(client, label, network, reference, None)]
    for name, run in baselines.items():
        rows.append(_row(client, name, run, _scores(settings, run), reference))
    return rows


def _scores(settings: Settings, run: RunContext) -> ScoreTable:
    store = open_store(settings)
    table = score_table(store, store.record(run.run_id), run.work)
    if table is None:
        raise ValueError(f"the run {run.run_id} holds no test scores")
    return table


def _row(client: MlflowClient, name: str, run: RunContext, scores: ScoreTable, network: ScoreTable | None) -> Row:
    metrics = client.get_run(run.run_id).data.metrics
    return Row(
        name,
        Measured(**{field.name: metrics[f"test/{field.name}"] for field in fields(Measured)}),
        None if network is None else compare(scores.in_order_of(network).right, network.right),
        metrics["val/best_loss"],
        int(metrics["model/parameters"]),
        metrics["time/train"],
        metrics["test/reviews_per_second"],
    )


def _baseline_figures(rows: Mapping[str, Row]) -> dict[str, float]:
    figures: dict[str, float] = {}
    for name, row in rows.items():
        figures |= {
            f"test/accuracy_{name}": row.measured.accuracy,
            f"val/best_loss_{name}": row.val_loss,
            f"model/parameters_{name}": float(row.parameters),
            f"time/train_{name}": row.seconds,
            f"test/reviews_per_second_{name}": row.reviews_per_second,
        }
        if row.comparison is not None:
            figures[f"test/difference_{name}"] = row.comparison.difference
            figures[f"test/p_value_{name}"] = row.comparison.p_value
    return figures


def _told(prepared: Prepared, network: RunContext, rows: Sequence[Row], names: Sequence[str]) -> str:
    changes = ", ".join(f"{key}={value}" for key, value in network.config.changes().items())
    about = "\n".join(f"- {name}: {ABOUT[name]}" for name in ABOUT if name in names)
    return f"""- dataset: {plain(prepared.name)}, digest `{prepared.digest[:12]}`, seed {network.seed}
- network: the recipe {plain(network.config.recipe)}{f" ({plain(changes)})" if changes else ""}
{about}

{markdown(rows)}

Same reviews, splits, vocabulary and length for all; differences are review by review, against the network. Nothing
of this is registered: train the recipe for a version."""
