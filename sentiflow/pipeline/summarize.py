"""The summary of a training: on its run, for what started it, and for the caller."""

from sentiflow.data.prepare import Prepared
from sentiflow.evaluation.metrics import Baseline, Measured
from sentiflow.names import BUILT_IN
from sentiflow.redaction import escape_markdown
from sentiflow.reports import one_run as run_report
from sentiflow.reports.one_run import STAGES
from sentiflow.reports.summary import RunSummary
from sentiflow.results import Registered, TrainingResult
from sentiflow.run.record import CAVEAT
from sentiflow.training.context import RunContext, content_of, tested_on
from sentiflow.training.open_run import changed_fields, publish_summary


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


def recipe_text(run: RunContext) -> str:
    changes = changed_fields(run.config)
    return escape_markdown(run.config.recipe) + (f" ({escape_markdown(changes)})" if changes else "")


def dataset_line(prepared: Prepared) -> str:
    came = "" if prepared.name in BUILT_IN else f": {content_of(prepared)}"
    rejected = f"; {prepared.rejected.text}" if prepared.rejected else ""
    named = f"- dataset: {escape_markdown(prepared.name)}, digest `{prepared.digest[:12]}`"
    return f"{named}{came}{escape_markdown(rejected)}"
