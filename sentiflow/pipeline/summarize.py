"""Summaries of a training, repeats, a sweep, a reproduction: on the run, where it was started, for the caller."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from sentiflow.data.inputs import not_read
from sentiflow.data.prepare import Prepared
from sentiflow.evaluation.metrics import Baseline, Measured, spread
from sentiflow.names import BUILT_IN
from sentiflow.redaction import escape_markdown
from sentiflow.reports import one_run as run_report
from sentiflow.reports.blocks import PAGE, Table
from sentiflow.reports.one_run import STAGES
from sentiflow.reports.several_runs import report_on
from sentiflow.reports.summary import RunSummary
from sentiflow.reproduction import Original, compared
from sentiflow.results import (
    Registered,
    RepeatsResult,
    Reproduction,
    SeedResult,
    SweepResult,
    TrainingResult,
    TrialRow,
    by_loss,
    seed_metrics,
    seeds_table,
)
from sentiflow.run.record import CAVEAT, NEUTRAL, value_text
from sentiflow.store.ui import run_url
from sentiflow.training.context import RunContext, TrainedFiles, content_of, scorer_of, tested_on
from sentiflow.training.open_run import changed_fields, log_baseline, publish_summary
from sentiflow.training.recipes import TUTORIAL, TrainConfig

if TYPE_CHECKING:  # Optuna, which only a sweep needs
    from sentiflow.sweeps.study import Sweep

_MAX_SHOWN = 10  # trials in the description; the table has all


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
        caveat=record.tags.get(CAVEAT, ""), neutral=record.tags.get(NEUTRAL, ""),
        tested_on=tested_on(prepared), rejected=prepared.rejected,
        unread=unread(prepared),
    )  # fmt: skip


def summarize_repeats(
    parent: RunContext, prepared: Prepared, seeds: Sequence[SeedResult], best: SeedResult, model: Registered
) -> RepeatsResult:
    """Summarize a set of repeats: mean, sd, min and max of each metric, and a report."""
    spreads = {name: spread(values) for name, values in seed_metrics(seeds).items()}
    ends = [of.as_metrics(name) for name, of in spreads.items()]
    parent.log({name: value for each in ends for name, value in each.items()})
    baseline, tags = log_baseline(parent, best.run), best.run.record().tags
    caveat = tags.get(CAVEAT, "")
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
        baseline=baseline, caveat=caveat, neutral=tags.get(NEUTRAL, ""), tested_on=tested_on(prepared),
        rejected=prepared.rejected, unread=unread(prepared),
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


def summarize_sweep(
    run: RunContext,
    prepared: Prepared,
    sweep: "Sweep",
    rows: Sequence[TrialRow],
    config: TrainConfig,
    seeds: Sequence[SeedResult],
    best: SeedResult,
    model: Registered,
) -> SweepResult:
    """Sum a sweep up: the table of trials, the best recipe and its figures, on the parent and in Prefect."""
    folder = run.work / "artifacts"
    write_files(folder, rows, config, run.name)
    run.upload(folder)
    title = f"{run.name}: the best recipe, seed by seed"
    run.text(report_on(run.settings, [each.run.run_id for each in seeds], title).page(), PAGE)
    result = SweepResult(
        run_id=run.run_id,
        run_name=run.name,
        run_url=run.url,
        trials=tuple(rows),
        config=config,
        recipe=f"{run.record().artifact_uri}/best.toml",
        seeds=tuple(seeds),
        best=best,
        model=model,
        accuracy=spread([each.measured.accuracy for each in seeds]) if len(seeds) > 1 else None,
        seconds=run.seconds,
        baseline=log_baseline(run, best.run),
        caveat=best.run.record().tags.get(CAVEAT, ""),
        tested_on=tested_on(prepared),
        rejected=prepared.rejected,
        unread=unread(prepared),
    )
    run.log(result.metrics)
    run.tag_seconds({"total": result.seconds})
    searched = {name: getattr(config, name) for name in sweep.space.fields}
    run.params(searched)
    complete = len(by_loss(rows))
    trials = {"trials.complete": str(complete), "trials.pruned": str(len(rows) - complete)}
    run.tag({**trials, "recipe.changes": changed_fields(sweep.recipe(searched)) or "none"})
    publish_summary(run, run.started, _of_sweep(result, prepared, sweep), "sweep-summary")
    return result


def _of_sweep(result: SweepResult, prepared: Prepared, sweep: "Sweep") -> str:
    fields = list(sweep.space.fields)
    best = by_loss(result.trials)
    trials = [
        [str(row.number), f"{row.loss:.4f}", str(row.epochs)] + [value_text(row.values[name]) for name in fields]
        for row in best[:_MAX_SHOWN]
    ]
    return f"""**{result.accuracy_line}**

- trials: {len(best)} complete, {len(result.trials) - len(best)} pruned; trial {best[0].number} has the lowest \
validation loss
- searched: {", ".join(fields)}, from the recipe {escape_markdown(sweep.config.recipe)}
- dataset: {prepared.name}, digest `{prepared.digest[:12]}`
- registered: {result.model.name} version {result.model.version}, of seed {result.best.run.seed}, whose \
validation loss is lowest{"".join(f"; {sentence}" for sentence in result.comparisons)}
- the best recipe: `best.toml` among the artifacts, for `sentiflow train --recipe best.toml`

{Table(("trial", "validation loss", "epochs trained", *fields), trials, words=0).markdown()}

The best recipe, seed by seed, on the test split, which no trial has seen. All trials used seed {sweep.seed}: its \
validation loss is optimistic, as the best of the trials was chosen by it.

{seeds_table(result.seeds).markdown()}
"""


def recipe_file(config: TrainConfig, head: str) -> str:
    """A recipe of its own name as ``--recipe FILE`` reads it: what differs from tutorial."""
    base = TUTORIAL.model_dump(exclude={"recipe"})
    fields = {name: value for name, value in config.model_dump().items() if base.get(name) != value}
    lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in fields.items()]
    return f"# {' '.join(head.split())}\n{''.join(lines)}".replace("\x7f", "\\u007f")


def write_files(folder: Path, rows: Sequence[TrialRow], config: TrainConfig, name: str) -> None:
    """Write ``trials.csv`` and ``best.toml`` (the best recipe) of a sweep into a folder."""
    folder.mkdir(parents=True)
    own = pd.DataFrame([vars(row) for row in rows]).drop(columns="values")
    own = own.rename(columns={"number": "trial", "loss": "val_loss", "epochs": "epochs_trained"})
    trials = own.join(pd.DataFrame([row.values for row in rows]))  # whose fields may be epochs, too
    trials["run_id"] = trials.pop("run_id")  # last
    trials.to_csv(folder / "trials.csv", index=False)
    text = recipe_file(config, f"The best of the {len(rows)} trials of {name}, by validation.")
    (folder / "best.toml").write_text(text, encoding="utf-8")


def recipe_text(run: RunContext) -> str:
    changes = changed_fields(run.config)
    return escape_markdown(run.config.recipe) + (f" ({escape_markdown(changes)})" if changes else "")


def unread(prepared: Prepared) -> str:
    """What a user's folder holds besides and is not read, for people."""
    return " ".join(not_read(prepared.joined.unread)) if prepared.joined else ""


def dataset_line(prepared: Prepared) -> str:
    came = "" if prepared.name in BUILT_IN else f": {content_of(prepared)}"
    more = "".join(f"; {each}" for each in (prepared.rejected, unread(prepared)) if each)
    named = f"- dataset: {escape_markdown(prepared.name)}, digest `{prepared.digest[:12]}`"
    return f"{named}{came}{escape_markdown(more)}"
