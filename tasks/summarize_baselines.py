"""Say how baselines and network compare: on the parent run, in Prefect, and to the caller."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from mlflow.tracking import MlflowClient
from prefect import get_run_logger, task
from prefect.artifacts import create_link_artifact, create_markdown_artifact

from sentiment.baselines.names import ABOUT
from sentiment.baselines.table import Row, markdown
from sentiment.data.prepare import Prepared
from sentiment.gate import ScoreTable
from sentiment.metrics import Measured
from sentiment.paired import compare
from sentiment.reports.blocks import plain
from sentiment.settings import Settings, load_settings
from tasks.registry import run_url
from tasks.report import log_report, report_on
from tasks.results import RunContext
from tasks.run_store import open_store, score_table
from tasks.tracking import connect, log_metrics, timed, tracking_errors

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
        log_metrics(client, parent.run_id, _figures(dict(zip((NETWORK, *baselines), rows, strict=True))))
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


def _figures(rows: Mapping[str, Row]) -> dict[str, float]:
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
