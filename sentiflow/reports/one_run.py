"""The report of one run, the page of its errors, and all that the evaluation of its model logs."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import resources
from typing import TYPE_CHECKING

from numpy import float64
from numpy.typing import NDArray

from sentiflow import scoring
from sentiflow.data.prepare import Prepared
from sentiflow.data.reviews import Reviews, in_both_splits
from sentiflow.evaluation import metrics
from sentiflow.evaluation.metrics import BASELINE_METRICS, SLICES, Baseline, Measured, reliability
from sentiflow.evaluation.scores import BASELINE, Epoch, ScoreTable
from sentiflow.names import BUILT_IN
from sentiflow.redaction import escape_markdown
from sentiflow.reports.blocks import (
    ERRORS,
    PAGE,
    Block,
    Heading,
    Legend,
    Link,
    Picture,
    Quote,
    Report,
    Section,
    SideBySide,
    Table,
    Text,
    marked_words,
    template,
)
from sentiflow.reports.summary import (
    BREAK,
    ECE,
    PARAMETERS,
    SPEED,
    RunSummary,
    TestData,
    without_breaks,
    wrong_rows,
)
from sentiflow.run.comparison import figure, figure_text, metric_names
from sentiflow.run.record import CAVEAT, NEUTRAL, NEUTRAL_COUNTS, TESTED_ON, RunRecord, start_text
from sentiflow.scoring import Attribution, TextScorer
from sentiflow.store.find import BASELINE_SCORES, SCORES
from sentiflow.store.records import NOTE
from sentiflow.training.recipes import RECIPES, TUTORIAL, TrainConfig

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from sentiflow.training.context import RunContext  # MLflow, which a terminal does without

STAGES = ("startup", "open", "fetch", "prepare", "load", "train", "baseline", "evaluate", "report", "register")
"""Stages of a training, timed one by one: tags ``time.<stage>``."""

_LONGEST = 20_000  # characters that the page of all errors shows of a text
_CHARACTERS = 8_000_000  # of all texts; IMDB's 2,949 errors of ``tuned`` have 3.7 million

_MEANINGS = {
    "accuracy": ("accuracy", "fraction of correct labels"),
    "accuracy_ci_low": ("accuracy, from", "lower end of its 95% interval"),
    "accuracy_ci_high": ("accuracy, to", "upper end"),
    "balanced_accuracy": ("balanced accuracy", "mean of that of reviews that are {0} and of those that are {1}"),
    "majority_share": ("majority share", "of the commoner label: the accuracy of giving it to every review"),
    "loss": ("loss", "binary cross-entropy in nats"),
    "f1_negative": ("F1 of {0}", "harmonic mean of precision and recall of the reviews that are {0}"),
    "f1_positive": ("F1 of {1}", "the same of those that are {1}"),
    "auc": ("AUC", "area under the ROC curve"),
    "brier": ("Brier score", "mean squared difference of score and label; a constant 0.5 gets 0.25"),
}
_COSTS = ("time.train", "time.evaluate", "time.total", "train/throughput", SPEED)
_ABOVE = (
    "Why validation can be above training: training is measured while an epoch goes on, with weights that still "
    "learn and with dropout, if the recipe has any; validation after the epoch, without dropout."
)
_ENDED = {"RUNNING": "is still running", "FAILED": "failed", "KILLED": "was killed", "FINISHED": "trained nothing"}
_ALT = {  # in the order of the page
    "reliability_curve": "Share of label 1 over the score, and how many reviews have such a score",
    "confusion_matrix": "Counts of true against predicted labels",
    "roc_curve": "True against false positive rate over all thresholds",
}


def report(
    run: RunSummary, figures: Mapping[str, "Figure"] | None = None, *, whole: bool = True, beside: str = ""
) -> Report:
    """The report of a run; its plots are given if they are drawn already.

    If not ``whole``, only what tells it briefly is there. ``beside`` is the name of the file with all errors, if
    one lies beside the page.
    """
    sections = [
        Section("Test split", _metrics(run)),
        Section("Slices", _slices(run)),
        Section("Three answers", _three_answers(run.record)),
        Section("Cost", figures_table([run.record], ["seconds, or reviews a second"], _COSTS)),
        Section("Parameters that differ", _changed(run.record.params)),
    ]
    if whole:
        drawn = pictures(run) if figures is None else figures
        calibration = [Picture(drawn[name], alt) for name, alt in _ALT.items() if name in drawn]
        sections += [
            Section("Learning curves", _curves(run, drawn.get("learning_curves")), brief=False),
            Section("Calibration", [SideBySide(calibration)] if calibration else [], brief=False),
            Section("Worst errors", _worst_errors(run, beside), brief=False),
            Section("Run", [_facts(run)], brief=False),
        ]
    sections.append(Section("Not available", [Text(sentence) for sentence in run.missing]))
    leads = [Text(lead(run), strong=True), *map(Text, _compared(run))]
    return Report(run.record.name, leads, [s for s in sections if s.blocks])


def figures_table(runs: Sequence[RunRecord], names: Sequence[str], begin: tuple[str, ...]) -> list[Block]:
    """Metrics and times of runs whose names begin so, a column a run; nothing if there are none."""
    metrics = [name for name in metric_names(runs) if name.startswith(begin)]
    rows = [(name, *(figure_text(name, figure(run, name)) for run in runs)) for name in metrics]
    return [Table(("metric", *names), rows)] if rows else []


def card(run: RunSummary) -> list[str]:
    """The model card of a run's model, as parts in Markdown, the most important ones first."""
    record = run.record
    text = template("card.md").render(
        run=run, record=record, params=record.params, tags=record.tags, lead=lead(run), compared=_compared(run),
        recipe=[name for name in TrainConfig.model_fields if name in record.params and name != "fit_to_table"],
        own=record.dataset not in BUILT_IN,
        figures=[Section("Test split", _metrics(run)), Section("Slices", _slices(run))],
    )  # fmt: skip
    return text.strip().split("\n\n\n")


def _compared(run: RunSummary) -> list[str]:
    """What the accuracy is worth, against one answer for all and the baseline; what the training began with."""
    baseline = Baseline.logged(run.metrics)
    start = start_text(run.record.tags)
    sentences = ["" if baseline is None else f"{baseline.text}.", f"Started {start}." if start else ""]
    sentences += [f"{run.record.tags[NEUTRAL]}."] if NEUTRAL in run.record.tags else []
    return [each for each in (run.record.tags.get(CAVEAT, ""), *sentences) if each]


def lead(run: RunSummary) -> str:
    on = run.record.tags.get(TESTED_ON, "")
    if run.measured is not None:
        return f"Test accuracy {run.measured.text(run.record.label_names, on)}."
    if (accuracy := run.metrics.get("test/accuracy")) is not None:
        return f"Test accuracy {accuracy:.2%}{f' on {on}' if on else ''}."
    record, loss = run.record, run.metrics.get("val/loss")
    if loss is not None and record.status == "FINISHED":
        return f"Validation loss {loss:.4f}; the test split was not scored."
    end = record.tags.get("end")
    return f"No test metrics: the run {_ENDED.get(record.status, 'ended')}{f': {end}' if end else ''}."


def pictures(run: RunSummary) -> dict[str, "Figure"]:
    """The plots of a run, by name; none without their data."""
    from sentiflow.reports import plots  # matplotlib, which a terminal does without

    drawn = {"learning_curves": plots.learning_curves(run.curves)} if run.curves.get("val/loss") else {}
    table, measured = run.table, run.measured
    if table is None or measured is None:
        return drawn
    return drawn | {
        "confusion_matrix": plots.confusion(table.label, table.score, run.record.label_names),
        "roc_curve": plots.roc(table.label, table.score, measured),
        "reliability_curve": plots.reliability(table.label, table.score, measured, run.record.label_names[1]),
    }


def quote(text: str, reading: Attribution | None, caption: str = "") -> Quote:
    """A review, explained word by word if a reading is given; the words of HTML's line breaks are left out."""
    words = None if reading is None else marked_words(reading)
    if words is not None and BREAK.search(text):
        words = [word for word in words if word.text != "br"]
    return Quote(without_breaks(text), words, caption)


def _changed(params: Mapping[str, str]) -> list[Block]:
    """Fields of a run's recipe that are not as in the recipe of that name, else in ``tutorial``."""
    base = RECIPES.get(params.get("recipe", ""), TUTORIAL)
    usual = {field: str(value) for field, value in base.model_dump(exclude={"recipe", "fit_to_table"}).items()}
    usual |= dict.fromkeys(base.fit_to_table, "by rule")
    rows = [(name, params[name], usual[name]) for name in usual if params.get(name, usual[name]) != usual[name]]
    return [Table(("field", "this run", base.recipe), rows)] if rows else []


def _facts(run: RunSummary) -> Table:
    record = run.record
    facts = {
        "run id": record.run_id,
        "status": "" if record.status == "RUNNING" else record.status,  # so that a page stays true
        "started": f"{record.started:%Y-%m-%d %H:%M:%S %Z}",
        "registered as": run.version or "",
        "dataset and digest": f"{record.dataset} {record.digest or ''}",
        "git commit": record.tags.get("git.commit", ""),
        "tree dirty": record.tags.get("git.dirty", ""),
        "processor": f"{record.tags.get('processor', '-')}, threads: {record.tags.get('threads', '-')}",
        "started by": record.tags.get("started_by", ""),
        "weights of epoch": "" if record.kept_epoch is None else str(record.kept_epoch),
    }
    known = [(name, value) for name, value in facts.items() if value]
    return Table(("fact", "value"), [*known, *record.params.items()], words=2)


def _worst_errors(run: RunSummary, beside: str) -> list[Block]:
    """The worst errors: explained, or as texts."""
    errors = run.misclassified
    if errors is None:
        return []
    if not errors:
        return [Text("None: no test review is misclassified.")]
    link = Link(f"All errors, to filter and sort: {beside}, beside this page", beside)
    blocks: list[Block] = [*([link] if beside else []), *([Legend()] if run.scorer else [])]
    for error in errors:
        blocks += [Heading(error.heading), quote(error.text, error.reading)]
    return blocks


def _metrics(run: RunSummary) -> list[Block]:
    if run.measured is None:
        return []
    values, names = asdict(run.measured), run.record.label_names
    rows = [(*(part.format(*names) for part in about), f"{values[name]:.4f}") for name, about in _MEANINGS.items()]
    logged = {
        ECE: ("expected calibration error", "mean distance of score and share, over ten bins"),
        "val/loss": ("validation loss", "of the weights that were kept"),
        f"{BASELINE_METRICS}accuracy": (f"{BASELINE}, accuracy", "of the baseline"),
        f"{BASELINE_METRICS}balanced_accuracy": (f"{BASELINE}, balanced accuracy", "of the baseline"),
    }
    rows += [(*about, f"{run.metrics[name]:.4f}") for name, about in logged.items() if name in run.metrics]
    return [Table(("metric", "meaning", "value"), rows, words=2)]


def _slices(run: RunSummary) -> list[Block]:
    if not run.slices:
        return []
    rows = [
        (SLICES[each.name], f"{each.reviews:,}", f"{each.accuracy:.2%}", f"{each.low:.2%} to {each.high:.2%}")
        for each in run.slices
    ]
    heading = ("slice", "reviews", "accuracy", "95% interval")
    note = "Quarters are of the test split, by length in ids."
    return [Table(heading, rows), Text(note)]


def _three_answers(record: RunRecord) -> list[Block]:
    """How test texts are answered where neutral is a third answer."""
    if NEUTRAL_COUNTS not in record.tags:
        return []
    zero, one = record.label_names
    names, counts = (zero, scoring.NEUTRAL, one), json.loads(record.tags[NEUTRAL_COUNTS])
    rows = [(name, *map("{:,}".format, row)) for name, row in zip(names, counts, strict=True)]
    return [Table(("texts that are", *(f"called {name}" for name in names)), rows)]


def _curves(run: RunSummary, drawn: "Figure | None") -> list[Block]:
    """Loss and accuracy, and why validation may lie above training."""
    if drawn is None:
        return []
    blocks: list[Block] = [Picture(drawn, "Loss and accuracy of training and validation over the epochs")]
    training, validation = (dict(run.curves.get(f"{split}/accuracy", ())) for split in ("train", "val"))
    if any(value > training.get(epoch, value) for epoch, value in validation.items()):
        blocks.append(Text(_ABOVE))
    return blocks


def errors_page(record: RunRecord, table: ScoreTable, test_data: TestData) -> str:
    """All errors to filter and sort, on a page that loads nothing from outside; the most confident first."""
    rows, left = wrong_rows(table.label, table.score), _CHARACTERS
    errors: list[tuple[str, int, float, int, str]] = []
    for row in rows:
        name = str(table.review_id[row])
        text = without_breaks(test_data.text(name))
        words, left = len(text.split()), left - min(len(text), _LONGEST)
        if left < 0:
            break
        text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."
        label, score = int(table.label[row]), round(float(table.score[row]), 4)
        errors.append((test_data.place(name), label, score, words, text))
    script = resources.files("sentiflow.reports").joinpath("templates/errors.js").read_text(encoding="utf-8")
    return template("errors.html").render(
        run=record.name,
        names=record.label_names,
        total=len(rows),
        tested=len(table.label),
        errors=errors,
        script=script,
        digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def record_evaluation(
    run: "RunContext",
    prepared: Prepared,
    content: Reviews,
    scorer: TextScorer,
    scores: NDArray[float64],
    speed: float,
    history: Sequence[Epoch],
    baseline: NDArray[float64] | None,
) -> tuple[Measured, Baseline | None]:
    """Measure the scores of the test reviews, shape (n,), 0 to 1, and log metrics, files and the report.

    ``speed`` is reviews scored per second. ``baseline`` are the baseline's scores for the same reviews, (n,): kept
    beside the others, with the metrics ``baseline/*``.
    """
    import pandas as pd

    from sentiflow.reports import plots

    test, words = content.of("test"), scorer.vocabulary
    table = ScoreTable(test.review_id, test.label, scores, test.n_tokens, run.config.sequence_length)
    test_data = TestData.of(prepared.table, content, words)
    measured = metrics.measure(test.label, scores)
    slices = metrics.measure_slices(table)
    found = {f"test/{key}": value for key, value in asdict(measured).items()}
    found |= {ECE: reliability(test.label, scores).error, SPEED: speed}
    if baseline is not None:
        found |= metrics.baseline_metrics(table, baseline)
    run.log(found | metrics.slice_metrics(slices))
    run.tag(metrics.slice_tags(slices))
    truncated = f"{(test.n_tokens > run.config.sequence_length).mean():.4f}"
    in_both = in_both_splits(content)
    run.params({PARAMETERS: scorer.parameters, "dataset.truncated": truncated})
    run.params({"dataset.in_both_splits": in_both})
    with run.timed("report"):
        explaining = scorer if scorer.explains else None
        summary = RunSummary(run.record(), plots.curves_of(history), table, test_data, explaining)
        columns = {"review_id": table.review_id, "label": table.label, "score": table.score}
        columns |= {"n_tokens": table.n_tokens} | ({} if baseline is None else {BASELINE_SCORES: baseline})
        folder, drawn = run.work / "artifacts", pictures(summary)
        plots.save(drawn, folder / "plots")
        made = report(summary, drawn, beside="" if run.parent else ERRORS)
        pd.DataFrame(columns).to_parquet(folder / SCORES, index=False)
        (folder / PAGE).write_text(made.page(), encoding="utf-8")
        if run.parent is None:  # of others it is megabytes that are seldom read
            (folder / ERRORS).write_text(errors_page(summary.record, table, test_data), encoding="utf-8")
        run.upload(folder)
        if run.parent is not None:  # other runs get their description with their summary
            part = f"Part of [{escape_markdown(run.parent.name)}]({run.parent.url})."
            run.tag({NOTE: made.markdown(part)})
    return measured, Baseline.logged(found)
