"""The summary of a training, repeats or a reproduction: on its run, for what started it, and for the caller."""

from collections.abc import Sequence

from sentiflow.data.prepare import Prepared
from sentiflow.evaluation.metrics import Baseline, Measured, spread
from sentiflow.names import BUILT_IN
from sentiflow.redaction import escape_markdown
from sentiflow.reports import one_run as run_report
from sentiflow.reports.blocks import PAGE
from sentiflow.reports.one_run import STAGES
from sentiflow.reports.several_runs import report_on
from sentiflow.reports.summary import RunSummary
from sentiflow.reproduction import Original, compared
from sentiflow.results import (
    Registered,
    RepeatsResult,
    Reproduction,
    SeedResult,
    TrainingResult,
    seed_metrics,
    seeds_table,
)
from sentiflow.run.record import CAVEAT
from sentiflow.store.ui import run_url
from sentiflow.training.context import RunContext, TrainedFiles, content_of, scorer_of, tested_on
from sentiflow.training.open_run import changed_fields, log_baseline, publish_summary


def summarize(run: RunContext, prepared: Prepared, measured: Measured, model: Registered) -> TrainingResult:
    """Summarize a training on its run and where it was started from."""
    run.tag_seconds({"total": run.seconds})
    record = run.record()
    report = run_report.report(RunSummary(record, {}), {})
    lines = [
        f"- registered: {escape_markdown(model.name)} version {model.version}",
        f"- recipe: {recipe_text(run)}, seed {run.seed}",
        dataset_line(prepared),
        f"- MLflow run: [{escape_markdown(run.name)}]({run.url})",
    ]
    publish_summary(run, run.started, report.markdown(*lines), "training-summary")
    seconds = {stage: found for stage in (*STAGES, "total") if (found := record.seconds(stage)) is not None}
    baseline = Baseline.logged(record.metrics)
    return TrainingResult(
        run.run_id, run.name, run.url, model, measured, seconds, record.label_names, baseline=baseline,
        caveat=record.tags.get(CAVEAT, ""), tested_on=tested_on(prepared), rejected=prepared.rejected,
    )  # fmt: skip


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
    with parent.timed("report"):
        title = f"{parent.name}: {len(seeds)} seeds compared"
        report = report_on(parent.settings, [each.run.run_id for each in seeds], title)
        parent.text(report.page(), PAGE)
    summary = report.markdown(*lines, first=seeds_table(seeds).markdown())
    publish_summary(parent, parent.started, summary, "repeats-summary")
    parent.tag_seconds({"total": (seconds := parent.seconds)})
    return RepeatsResult(
        parent.run_id, parent.name, parent.url, model, tuple(seeds), best, spreads["test/accuracy"], seconds,
        baseline=baseline, caveat=caveat, tested_on=tested_on(prepared), rejected=prepared.rejected,
    )  # fmt: skip


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


def recipe_text(run: RunContext) -> str:
    changes = changed_fields(run.config)
    return escape_markdown(run.config.recipe) + (f" ({escape_markdown(changes)})" if changes else "")


def dataset_line(prepared: Prepared) -> str:
    came = "" if prepared.name in BUILT_IN else f": {content_of(prepared)}"
    rejected = f"; {prepared.rejected.text}" if prepared.rejected else ""
    named = f"- dataset: {escape_markdown(prepared.name)}, digest `{prepared.digest[:12]}`"
    return f"{named}{came}{escape_markdown(rejected)}"
