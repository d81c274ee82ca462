"""Tasks: the summary of repeats and reproductions, in MLflow and in Prefect."""

from collections.abc import Sequence

from prefect import task

from sentiflow.data.prepare import Prepared
from sentiflow.evaluation.metrics import spread
from sentiflow.pipeline.summarize import dataset_line, recipe_text
from sentiflow.redaction import escape_markdown
from sentiflow.reports.blocks import PAGE
from sentiflow.reports.several_runs import report_on
from sentiflow.reproduction import Original, compared, find_original, need_data
from sentiflow.results import Registered, RepeatsResult, Reproduction, SeedResult, seed_metrics, seeds_table
from sentiflow.run.record import CAVEAT
from sentiflow.settings import load_settings
from sentiflow.store.ui import run_url
from sentiflow.training.context import RunContext, TrainedFiles, scorer_of, tested_on
from sentiflow.training.open_run import log_baseline, publish_summary
from sentiflow.training.start_from import load_start


@task(name="summarize", task_run_name="summarize", persist_result=False)
def summarize_repeats(
    parent: RunContext, prepared: Prepared, seeds: Sequence[SeedResult], best: SeedResult, model: Registered
) -> RepeatsResult:
    """Summarize a set of repeats: mean, sd, min and max of each metric, and a report."""
    spreads = {name: spread(values) for name, values in seed_metrics(seeds).items()}
    ends = [of.as_metrics(name) for name, of in spreads.items()]
    parent.log({name: value for each in ends for name, value in each.items()})
    baseline, caveat = log_baseline(parent, best.run), best.run.record().tags.get(CAVEAT, "")
    lines = [
        *([f"- {caveat}"] if caveat else []),
        f"- registered: {escape_markdown(model.name)} version {model.version}, of seed {best.run.seed}, "
        "whose validation loss is lowest",
        *([] if baseline is None else [f"- of it: {baseline.text}"]),
        f"- recipe: {recipe_text(parent)}",
        dataset_line(prepared),
    ]
    runs = [each.run for each in seeds]
    seconds = _compare(parent, runs, "seeds", "repeats-summary", seeds_table(seeds).markdown(), lines)
    return RepeatsResult(
        parent.run_id, parent.name, parent.url, model, tuple(seeds), best, spreads["test/accuracy"], seconds,
        baseline=baseline, caveat=caveat, tested_on=tested_on(prepared), rejected=prepared.rejected,
    )  # fmt: skip


def _compare(
    parent: RunContext, runs: Sequence[RunContext], what: str, key: str, table: str, lines: Sequence[str]
) -> float:
    """Log a comparison of runs and a description on their parent; returns its seconds so far."""
    with parent.timed("report"):
        title = f"{parent.name}: {len(runs)} {what} compared"
        report = report_on(parent.settings, [run.run_id for run in runs], title)
        parent.text(report.page(), PAGE)
    publish_summary(parent, parent.started, report.markdown(*lines, first=table), key)
    seconds = parent.seconds
    parent.tag_seconds({"total": seconds})
    return seconds


@task(name="check", task_run_name="check", persist_result=False)
def check_original(called: str) -> Original:
    """Find a run, with the data that it was trained on: what is gone is named before the training."""
    settings = load_settings()
    original = find_original(called, settings)
    load_start(original.start, settings)
    need_data(original, settings)
    return original


@task(name="compare", task_run_name="compare", persist_result=False)
def summarize_reproduction(
    run: RunContext, prepared: Prepared, trained: TrainedFiles, original: Original
) -> Reproduction:
    """Compare a training with the run that it repeats; the outcome is a tag of that one's version."""
    with run.errors():
        result = compared(run, scorer_of(run, prepared, trained), original)
        run.tag_seconds({"total": run.seconds})
    name, url = original.record.name, run_url(run.settings, run.experiment, original.record.run_id)
    lines = [f"**{escape_markdown(result.summary)}**", f"Repeats [{escape_markdown(name)}]({url})."]
    publish_summary(run, run.started, "\n\n".join(lines) + "\n", "reproduction")
    return result
