"""The report of several runs side by side."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sentiflow.evaluation.metrics import SLICES, spread
from sentiflow.evaluation.statistics import beyond_chance, format_p, format_points
from sentiflow.reports import plots
from sentiflow.reports.page import (
    Block,
    Heading,
    Legend,
    Picture,
    Quote,
    Report,
    Section,
    Table,
    Text,
    format_cell,
)
from sentiflow.reports.run import STRIP, costs, quote, side_by_side
from sentiflow.reports.summary import RunSummary, label_name
from sentiflow.runs.comparison import ACCURACY, AccuracyDifference, accuracy_difference, figure
from sentiflow.runs.record import REPEAT, RunRecord
from sentiflow.scoring import is_positive

MAX_RUNS = 12
"""Runs in plots and side-by-side tables: the first, and those of the lowest validation loss."""

_MAX_COLUMNS = 6  # runs; with more, a table has one row per run
_MAX_REVIEWS = 8


@dataclass(frozen=True)
class _Runs:
    """Runs in the order of the report, and their labels in it: a number from 1, and a title."""

    summaries: Sequence[RunSummary]
    labels: Sequence[str]

    def shown(self) -> "_Runs":
        """Those in plots and side-by-side tables."""
        if len(self.summaries) <= MAX_RUNS:
            return self
        order = sorted(range(1, len(self.summaries)), key=lambda i: _loss(self.summaries[i]))
        return self.take(sorted([0, *order[: MAX_RUNS - 1]]))

    def take(self, rows: Sequence[int]) -> "_Runs":
        """Some of the runs."""
        return _Runs([self.summaries[i] for i in rows], [self.labels[i] for i in rows])

    def where(self, condition: Callable[[RunSummary], object]) -> "_Runs":
        """The runs that meet a condition."""
        return self.take([i for i, run in enumerate(self.summaries) if condition(run)])

    @property
    def numbers(self) -> list[int]:
        """Of each run, 0 for the first; they choose colours."""
        return [int(label.split(" ", 1)[0]) - 1 for label in self.labels]


@dataclass(frozen=True)
class _SameReviews:
    """Runs that have scored the same reviews.

    Attributes:
        runs: k of them.
        review_id: shape (n,).
        label: shape (n,), 0 or 1.
        scores: shape (k, n).
    """

    runs: _Runs
    review_id: NDArray[np.str_]
    label: NDArray[np.int8]
    scores: NDArray[np.float64]


def report(summaries: Sequence[RunSummary], title: str = "", parents: Sequence[RunRecord] = ()) -> Report:
    """Compare two or more runs with the first of them; parents are runs that stand for several of these."""
    runs = _Runs(summaries, [f"{i} {run.title}" for i, run in enumerate(summaries, 1)])
    first = summaries[0]
    outcomes = [accuracy_difference(run.record, run.table, first.record, first.table) for run in summaries[1:]]
    shown = runs.shown()
    note: list[Block] = []
    if len(shown.summaries) < len(summaries):
        note.append(Text(f"Of {len(summaries)} runs the first and those of the lowest validation loss."))
    sections = [
        Section("Sets of seeds", _seed_sets(parents)),
        Section("Runs", _overview(runs)),
        Section("Paired differences", _differences(runs, outcomes)),
        Section("Parameters that differ", note + _fold(side_by_side(shown.summaries, shown.labels))),
        Section("Learning curves", _curves(shown)),
        Section("Slices", note + _slices(shown)),
        Section("Calibration", note + _calibration(shown)),
        Section("Cost", note + _fold(costs(shown.summaries, shown.labels))),
        Section("Largest disagreements", _disagreements(shown), brief=False),
        Section("Worst common errors", _common_errors(shown), brief=False),
        Section("Not available", _missing(runs)),
    ]
    return Report(
        title or f"{len(summaries)} runs compared", _lead(runs, outcomes), [s for s in sections if s.blocks]
    )


def _name(label: str) -> str:
    """A run's name in a sentence."""
    number, _, title = label.partition(" ")
    return f"run {number} ({title})"


def _loss(run: RunSummary) -> float:
    """The validation loss; infinite for a run without one."""
    loss = run.metrics.get("val/loss")
    return float("inf") if loss is None or loss != loss else loss


def _lead(runs: _Runs, outcomes: Sequence[AccuracyDifference]) -> list[Text]:
    sentences = [sentence for sentence in (_over_seeds(runs), _best(runs, outcomes)) if sentence]
    if not sentences:
        return [Text("None of these runs has metrics to compare.", strong=True)]
    return [Text(sentence, strong=i == 0) for i, sentence in enumerate(sentences)]


def _best(runs: _Runs, outcomes: Sequence[AccuracyDifference]) -> str:
    """The run of the lowest validation loss, and its difference on the test split."""
    best = min(range(len(runs.summaries)), key=lambda i: _loss(runs.summaries[i]))
    run = runs.summaries[best]
    if _loss(run) == float("inf"):
        return ""
    sentence = f"By validation loss {_name(runs.labels[best])} is the best, with {_loss(run):.4f}"
    if run.measured is not None:
        sentence += f": test accuracy {run.measured.accuracy:.2%}"
    if best and (paired := outcomes[best - 1].paired) is not None:
        verdict = "beyond chance" if beyond_chance(paired.low, paired.high) else "within chance"
        sentence += f", {format_points(paired.difference)} against {_name(runs.labels[0])}, {verdict}"
    return f"{sentence}."


def _over_seeds(runs: _Runs) -> str:
    """Mean and spread, if all runs are seeds of one set."""
    parents = {run.record.parent for run in runs.summaries}
    accuracies = [run.measured.accuracy for run in runs.summaries if run.measured is not None]
    seeds = all(run.record.kind == REPEAT for run in runs.summaries)
    if not seeds or len(parents) > 1 or len(accuracies) < len(runs.summaries):
        return ""
    over = spread(accuracies)
    return f"Test accuracy over {len(accuracies)} seeds: mean {over.mean:.2%}, {over.text()}."


def _overview(runs: _Runs) -> list[Block]:
    measured = [run.measured for run in runs.summaries]
    intervals = [
        (each.accuracy_ci_low, each.accuracy, each.accuracy_ci_high) if each else None for each in measured
    ]
    rows = [_overview_row(label, run) for label, run in zip(runs.labels, runs.summaries, strict=True)]
    names = [
        (label, run.record.run_id[:8], run.version or "-", run.record.name)
        for label, run in zip(runs.labels, runs.summaries, strict=True)
    ]
    heading = ("run", "test accuracy", "95% interval", "validation loss", "total seconds")
    return [
        Table(heading, rows, intervals=intervals),
        Text(f"{STRIP} The best run is chosen on validation data, never on test data."),
        Table(("run", "id", "version", "name"), names, words=4),
    ]


def _overview_row(label: str, run: RunSummary) -> tuple[str, ...]:
    each = run.measured
    return (
        label,
        "-" if each is None else f"{each.accuracy:.2%}",
        "-" if each is None else f"{each.accuracy_ci_low:.2%} to {each.accuracy_ci_high:.2%}",
        format_cell(_four, run.metrics.get("val/loss")),
        format_cell(lambda value: f"{value:.0f}", run.record.seconds("total")),
    )


def _percent(value: float) -> str:
    return f"{value:.2%}"


def _four(value: float) -> str:
    return f"{value:.4f}"


def _fold(blocks: Sequence[Block]) -> list[Block]:
    """Tables of many runs with one row per run."""
    return [
        block.transposed() if isinstance(block, Table) and len(block.heading) > _MAX_COLUMNS + 1 else block
        for block in blocks
    ]


def _differences(runs: _Runs, outcomes: Sequence[AccuracyDifference]) -> list[Block]:
    """Of the runs that were scored on the test split; a sweep's trials never are."""
    first = _name(runs.labels[0])
    others = list(zip(runs.labels[1:], runs.summaries[1:], outcomes, strict=True))
    scored = [(label, outcome) for label, run, outcome in others if run.measured is not None]
    notes = [
        f"{_name(label).capitalize()} cannot be paired with {first}: {outcome.why_not}."
        for label, outcome in scored
        if outcome.why_not
    ]
    if left := len(others) - len(scored):
        notes.append(f"Not scored on the test split, and left out here: {left} of the runs.")
    texts: list[Block] = [Text(note) for note in notes]
    if not scored:
        return texts
    explained = (
        f"Difference in accuracy to {first} on the same reviews, with its 95% interval and McNemar's exact test. "
        "Only here: right here and wrong in run 1. Only in 1: wrong here and right in run 1."
    )
    if len(scored) > 1:
        explained += f" No p-value is corrected for there being {len(scored)} comparisons."
    heading = ("run", "difference", "95% interval", "p", "only here", "only in 1")
    return [Table(heading, [_difference(*each) for each in scored]), Text(explained), *texts]


def _difference(label: str, outcome: AccuracyDifference) -> tuple[str, ...]:
    paired = outcome.paired
    if paired is None:
        return (label, format_cell(format_points, outcome.difference), *("-" * 4))
    interval = f"{format_points(paired.low, '')} to {format_points(paired.high, '')}"
    return (
        label,
        format_points(paired.difference),
        interval,
        format_p(paired.p_value),
        f"{paired.gained:,}",
        f"{paired.lost:,}",
    )


def _seed_sets(records: Sequence[RunRecord]) -> list[Block]:
    """Means over seeds and their differences, of parents that hold both; empty for fewer than two of them."""
    sets = [(record, mean) for record in records if (mean := figure(record, ACCURACY)) and mean.sd is not None]
    if len(sets) < 2:
        return []
    first, _ = sets[0]
    outcomes = [(record, accuracy_difference(record, None, first, None)) for record, _ in sets[1:]]
    heading = ("set of seeds", "mean test accuracy", "standard deviation", "difference", "95% interval", "p")
    differences = [("", "", ""), *(_set_difference(record, first, outcome) for record, outcome in outcomes)]
    rows = [
        (record.name, f"{mean.value:.2%}", f"{100 * (mean.sd or 0):.2f} points", *difference)
        for (record, mean), difference in zip(sets, differences, strict=True)
    ]
    note = (
        f"Less the mean of {first.name}, with the 95% interval and p-value of Welch's t-test over the seeds. This "
        "compares the recipes; the paired differences below compare single networks."
    )
    whys = [_why_no_test(record, first, outcome) for record, outcome in outcomes]
    return [Table(heading, rows), Text(note), *(Text(why) for why in whys if why)]


def _set_difference(record: RunRecord, first: RunRecord, outcome: AccuracyDifference) -> tuple[str, ...]:
    if record.digest != first.digest:
        return "-", "-", "-"
    ends = outcome.low, outcome.high
    interval = "-" if None in ends else " to ".join(format_points(each, "") for each in ends if each is not None)
    return (format_cell(format_points, outcome.difference), interval, format_cell(format_p, outcome.p_value))


def _why_no_test(record: RunRecord, first: RunRecord, outcome: AccuracyDifference) -> str:
    """Why a set has no interval; empty if it has one."""
    if record.digest != first.digest:
        return f"{record.name} cannot be compared with {first.name}: {outcome.why_not}."
    if outcome.p_value is None:
        return f"{record.name} and {first.name} have no test: their seeds do not differ."
    return ""


def _curves(runs: _Runs) -> list[Block]:
    runs = runs.where(lambda run: run.curves.get("val/loss"))
    if not runs.summaries:
        return []
    by_label = {label: run.curves for label, run in zip(runs.labels, runs.summaries, strict=True)}
    drawn = plots.learning_curves_of_runs(by_label, runs.numbers)
    return [Picture(drawn, "Validation loss and accuracy of each run over the epochs")]


def _slices(runs: _Runs) -> list[Block]:
    runs = runs.where(lambda run: run.slices)
    if not runs.summaries:
        return []
    by_label = {label: run.slices for label, run in zip(runs.labels, runs.summaries, strict=True)}
    known = {each.name for slices in by_label.values() for each in slices}
    names = {name: text for name, text in SLICES.items() if name in known}
    accuracies = [{each.name: each.accuracy for each in slices} for slices in by_label.values()]
    rows = [
        (text, *(format_cell(_percent, accuracy.get(name)) for accuracy in accuracies))
        for name, text in names.items()
    ]
    note = (
        "Accuracy of each run on slices of its own test reviews. For runs of another length or vocabulary, "
        "truncated and out-of-vocabulary slices hold other reviews."
    )
    return [
        Picture(plots.slices(by_label, runs.numbers, names), "Accuracy of each run on each slice, with intervals"),
        *_fold([Table(("slice", *runs.labels), rows)]),
        Text(note),
    ]


def _calibration(runs: _Runs) -> list[Block]:
    """Reliability curves of runs with scores, and the metrics of all."""
    runs = runs.where(lambda run: run.measured is not None)
    if not runs.summaries:
        return []
    rows = [
        (label, format_cell(_four, run.ece), _four(run.measured.brier))
        for label, run in zip(runs.labels, runs.summaries, strict=True)
        if run.measured is not None
    ]
    table = Table(("run", "expected calibration error", "Brier score"), rows)
    runs = runs.where(lambda run: run.reliability is not None)
    bins = {
        label: run.reliability for label, run in zip(runs.labels, runs.summaries, strict=True) if run.reliability
    }
    if not bins:
        return [table]
    drawn = plots.reliability_of_runs(bins, runs.numbers)
    return [Picture(drawn, "Share of positive reviews over the score, a line per run"), table]


def _with_same_reviews(runs: _Runs) -> _SameReviews | None:
    """The runs that have scored the same reviews as the first one with scores; None for fewer than two."""
    runs = runs.where(lambda run: run.table is not None)
    first = runs.summaries[0] if runs.summaries else None
    if first is None or first.table is None:
        return None
    scores: dict[int, NDArray[np.float64]] = {}
    for i, run in enumerate(runs.summaries):
        if run.table is None or run.record.digest != first.record.digest:
            continue
        try:
            scores[i] = run.table.in_order_of(first.table).score
        except ValueError:  # other reviews: the section on differences says so
            continue
    if len(scores) < 2:
        return None
    table = first.table
    return _SameReviews(runs.take(list(scores)), table.review_id, table.label, np.array(list(scores.values())))


def _disagreements(runs: _Runs) -> list[Block]:
    """Reviews whose scores are farthest apart, explained by the two runs at the ends."""
    same = _with_same_reviews(runs)
    if same is None:
        return []
    apart = np.ptp(same.scores, axis=0)  # (n,)
    rows = np.argsort(-apart, kind="stable")[:_MAX_REVIEWS]
    return _reviews(same, [int(row) for row in rows if apart[row] > 0])


def _common_errors(runs: _Runs) -> list[Block]:
    """Reviews that every run gets wrong, the most confident errors on average first."""
    same = _with_same_reviews(runs)
    if same is None:
        return []
    wrong = (is_positive(same.scores) != (same.label == 1)).all(axis=0)
    off = np.where(wrong, np.abs(same.scores - same.label).mean(axis=0), -1)  # (n,)
    rows = [int(row) for row in np.argsort(-off, kind="stable")[:_MAX_REVIEWS] if wrong[row]]
    count = Text(f"{int(wrong.sum()):,} of {len(wrong):,} test reviews are misclassified by all of them.")
    return [count, *_reviews(same, rows)]


def _reviews(same: _SameReviews, rows: Sequence[int]) -> list[Block]:
    blocks: list[Block] = []
    if any(run.scorer and run.test_data for run in same.runs.summaries):
        blocks.append(Legend())
    for row in rows:
        blocks += _review(same, row)
    return blocks


def _review(same: _SameReviews, row: int) -> list[Block]:
    """One review with the score of each run, explained by the two that are farthest apart."""
    name, scores = str(same.review_id[row]), same.scores[:, row]
    order = np.argsort(scores, kind="stable")
    lines = [(same.runs.labels[i], _four(scores[i])) for i in order]
    blocks: list[Block] = [
        Heading(f"{name}: {label_name(int(same.label[row]))}"),
        Table(("run", "score"), lines),
    ]
    text = next((run.test_data.text(name) for run in same.runs.summaries if run.test_data is not None), None)
    if text is None:
        return blocks
    explaining = [int(i) for i in order if same.runs.summaries[i].scorer is not None]
    ends = explaining if len(explaining) < 3 else [explaining[0], explaining[-1]]
    return [*blocks, *([_explained(same.runs, i, text) for i in ends] or [quote(text, None)])]


def _explained(runs: _Runs, i: int, text: str) -> Quote:
    return quote(text, runs.summaries[i].explain(text), f"as read by {runs.labels[i]}:")


def _missing(runs: _Runs) -> list[Block]:
    return [
        Text(f"{label}: {sentence}")
        for label, run in zip(runs.labels, runs.summaries, strict=True)
        for sentence in run.missing
    ]
