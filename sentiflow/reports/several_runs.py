"""The report of several runs side by side, or of the one that is meant."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentiflow.evaluation.metrics import spread
from sentiflow.evaluation.scores import ScoreTable
from sentiflow.evaluation.statistics import beyond_chance, format_interval, format_points
from sentiflow.reports import one_run
from sentiflow.reports.blocks import Block, Heading, Legend, Picture, Report, Section, Table, Text, format_cell
from sentiflow.reports.one_run import figures_table, quote
from sentiflow.reports.summary import RunSummary, TestData, load_summaries
from sentiflow.run.comparison import (
    ACCURACY,
    HEADING,
    AccuracyDifference,
    accuracy_difference,
    differing,
    figure,
    metric_names,
    verdict,
)
from sentiflow.run.record import REPEAT, TESTED_ON, RunRecord
from sentiflow.settings import Settings
from sentiflow.store.find import PARENTS, open_store

MAX_RUNS = 8  # in plots and side-by-side tables: the first, and those of the lowest validation loss

_MAX_REVIEWS = 8
_MAIN = (
    "test/", "test_slices/", "baseline/accuracy", "baseline/difference", "val/",
    "time.train", "time.evaluate", "time.total",
)  # fmt: skip
_DIGEST = 12  # characters of a digest that identify it


@dataclass(frozen=True)
class _SameReviews:
    """Runs that have scored the same reviews: those of ``table``, in its order; scores of shape (runs, n)."""

    runs: Sequence[RunSummary]
    table: ScoreTable
    scores: NDArray[np.float64]


def report_on(settings: Settings, run_ids: Sequence[str], title: str = "") -> Report:
    """The report of one run, or of several compared with the first; see ``load_summaries`` and ``report_of``."""
    store = open_store(settings)
    records = [store.record(run_id) for run_id in run_ids]
    return report_of(records, load_summaries(store, records, settings), title)


def report_of(
    records: Sequence[RunRecord],
    summaries: Sequence[RunSummary],
    title: str = "",
    *,
    whole: bool = True,
    beside: str = "",
) -> Report:
    """The report of what runs stand for, by default with the run's name or their number as its title."""
    if len(summaries) == 1:
        return one_run.report(summaries[0], whole=whole, beside=beside)
    default = f"{records[0].name}: {len(summaries)} runs compared" if len(records) == 1 else ""
    parents = [each for each in records if each.kind in PARENTS]
    return report(summaries, title or default, parents, whole=whole)


def report(
    summaries: Sequence[RunSummary], title: str = "", parents: Sequence[RunRecord] = (), *, whole: bool = True
) -> Report:
    """Compare runs with the first, in brief if not ``whole``; parents are runs that stand for several of them."""
    runs = _told_apart(summaries)
    outcomes = _outcomes(runs)
    shown, note = runs, list[Block]()
    if len(runs) > MAX_RUNS:
        best = sorted(runs[1:], key=lambda run: run.loss)[: MAX_RUNS - 1]
        shown = [runs[0], *sorted(best, key=lambda run: run.number)]
        note.append(Text(f"Of {len(runs)} runs the first and those of the lowest validation loss."))
    records = [run.record for run in shown]
    sections = [
        Section("Sets of seeds", _seed_sets(parents)),
        Section("Runs", _overview(runs)),
        Section("Paired differences", _differences(runs, outcomes)),
        Section("Parameters that differ", note + _parameters(shown)),
        Section("Metrics", note + figures_table(records, _numbers(shown), _MAIN)),
    ]
    if whole:
        same = _same_reviews(shown)
        sections += [
            Section("Learning curves", note + _curves(shown), brief=False),
            Section("Largest disagreements", _disagreements(same) if same else [], brief=False),
        ]
    missing = [Text(f"{run.label}: {each}") for run in runs for each in run.missing]
    sections.append(Section("Not available", missing))
    return Report(title or f"{len(runs)} runs compared", _lead(runs, outcomes), [s for s in sections if s.blocks])


def record(runs: Sequence[RunSummary]) -> dict[str, Any]:
    """The comparison for scripts: every metric; parameters and metrics by name, each with a value a run."""
    records = [run.record for run in runs]
    return {
        "runs": [
            {"id": one.run_id, "name": one.name, "kind": one.kind, "status": one.status, "version": run.version}
            for run, one in zip(runs, records, strict=True)
        ],
        "parameters": differing(records),
        "metrics": {name: [figure(one, name) for one in records] for name in metric_names(records)},
        "against_the_first": [
            {"id": one.run_id, **asdict(outcome)}
            for one, outcome in zip(records[1:], _outcomes(runs), strict=True)
        ],
    }


def _told_apart(summaries: Sequence[RunSummary]) -> list[RunSummary]:
    """Numbered, and named by dataset or version, too, where these alone tell them apart."""
    several = len({run.record.dataset for run in summaries}) > 1
    runs = [
        replace(run, number=number, told=f", {run.record.dataset}" if several else "")
        for number, run in enumerate(summaries, 1)
    ]
    times = Counter(run.title for run in runs)
    return [
        replace(run, told=f"{run.told}, {run.version}") if run.version and times[run.title] > 1 else run
        for run in runs
    ]


def _on(found: AccuracyDifference) -> str:
    return f"the {found.shared:,} reviews that both were tested on" if found.shared else "the same test reviews"


def _outcomes(runs: Sequence[RunSummary]) -> list[AccuracyDifference]:
    first = runs[0]
    return [accuracy_difference(run.record, run.table, first.record, first.table) for run in runs[1:]]


def _lead(runs: Sequence[RunSummary], outcomes: Sequence[AccuracyDifference]) -> list[Text]:
    """What is said first; ``outcomes`` are those of the second and the following runs."""
    told = [*filter(None, (_over_seeds(runs), _of_two(runs, outcomes), _best(runs, outcomes)))]
    sentences = told or ["None of these runs has metrics to compare."]
    return [Text(sentence, strong=i == 0) for i, sentence in enumerate(sentences)]


def _of_two(runs: Sequence[RunSummary], outcomes: Sequence[AccuracyDifference]) -> str:
    if len(runs) != 2 or (paired := outcomes[0].paired) is None:
        return ""
    first, second = (run.in_a_sentence for run in runs)
    interval = f"95% interval {format_interval(paired.low, paired.high)}"
    if not beyond_chance(paired.low, paired.high):
        points = format_points(paired.difference)
        return f"On {_on(outcomes[0])} {second} and {first} differ within chance ({points}, {interval})."
    which = "better" if paired.difference > 0 else "worse"
    points = f"{100 * abs(paired.difference):.2f} points"
    return f"On {_on(outcomes[0])} {second} is {which} than {first} by {points} ({interval})."


def _best(runs: Sequence[RunSummary], outcomes: Sequence[AccuracyDifference]) -> str:
    """The run of the lowest validation loss, and its difference on the test split."""
    best = min(runs, key=lambda run: run.loss)
    if best.loss == math.inf:
        return ""
    if len({run.record.digest for run in runs if run.loss < math.inf}) > 1:
        return "Trained on different reviews: validation losses do not say which run is the best."
    sentence = f"By validation loss {best.in_a_sentence} is the best, with {best.loss:.4f}"
    if best.measured is not None:
        on = best.record.tags.get(TESTED_ON, "")
        sentence += f": test accuracy {best.measured.accuracy:.2%}{f' on {on}' if on else ''}"
    if len(runs) > 2 and best.number > 1 and (paired := outcomes[best.number - 2].paired) is not None:
        chance = "beyond chance" if beyond_chance(paired.low, paired.high) else "within chance"
        sentence += f", {format_points(paired.difference)} against {runs[0].in_a_sentence}, {chance}"
    return f"{sentence}."


def _over_seeds(runs: Sequence[RunSummary]) -> str:
    """Mean and spread, if all runs are seeds of one set."""
    records = [run.record for run in runs]
    accuracies = [run.measured.accuracy for run in runs if run.measured is not None]
    seeds = all(record.kind == REPEAT for record in records)
    if not seeds or len({record.parent for record in records}) > 1 or len(accuracies) < len(runs):
        return ""
    over = spread(accuracies)
    on = f", on {records[0].tags[TESTED_ON]}" if TESTED_ON in records[0].tags else ""
    return f"Test accuracy over {len(accuracies)} seeds: mean {over.mean:.2%}, {over.text()}{on}."


def _overview(runs: Sequence[RunSummary]) -> list[Block]:
    names = [(run.label, run.record.run_id[:8], run.version or "-", run.record.name) for run in runs]
    heading = ("run", "test accuracy", "95% interval", "validation loss", "seconds")
    return [
        Table(heading, [_overview_row(run) for run in runs]),
        Text("The best run is chosen on validation data, never on test data."),
        Table(("run", "id", "version", "name"), names, words=4),
    ]


def _overview_row(run: RunSummary) -> tuple[str, ...]:
    each, logged = run.measured, figure(run.record, ACCURACY)
    return (
        run.label,
        format_cell(logged.value if logged else None, ".2%"),
        "-" if each is None else f"{each.accuracy_ci_low:.2%} to {each.accuracy_ci_high:.2%}",
        format_cell(run.metrics.get("val/loss"), ".4f"),
        format_cell(run.record.seconds("total"), ".0f"),
    )


def _differences(runs: Sequence[RunSummary], outcomes: Sequence[AccuracyDifference]) -> list[Block]:
    """Of the runs that were scored on the test split; a sweep's trials never are."""
    others = list(zip(runs[1:], outcomes, strict=True))
    scored = [(run, outcome) for run, outcome in others if run.measured is not None]
    notes: list[Block] = [
        Text(f"No pair of {run.in_a_sentence} and {runs[0].in_a_sentence}: {outcome.why_not}.")
        for run, outcome in scored
        if outcome.why_not
    ]
    notes += [
        Text(f"Of {run.in_a_sentence} and {runs[0].in_a_sentence}: {_on(outcome)}.")
        for run, outcome in scored
        if outcome.shared
    ]
    if left := len(others) - len(scored):
        notes.append(Text(f"Not scored on the test split, and left out here: {left} of the runs."))
    if not scored:
        return notes
    explained = (
        f"Points: difference in accuracy to {runs[0].in_a_sentence} on the same reviews, with its 95% interval "
        "and McNemar's exact test. Right only here: wrong in run 1. Right only in 1: wrong here."
    )
    if len(scored) > 1:
        explained += f" No p-value is corrected for there being {len(scored)} comparisons."
    first, numbers = runs[0].record, _numbers([run for run, _ in scored])
    rows = [
        (number, *outcome.cells(), verdict(run.record, first, outcome))
        for number, (run, outcome) in zip(numbers, scored, strict=True)
    ]
    return [Table(("run", *HEADING, "verdict"), rows), Text(explained), *notes]


def _seed_sets(records: Sequence[RunRecord]) -> list[Block]:
    """Means over seeds and their differences, of parents that hold both; empty for fewer than two of them."""
    sets = [(record, mean) for record in records if (mean := figure(record, ACCURACY)) and mean.sd is not None]
    if len(sets) < 2:
        return []
    first, _ = sets[0]
    outcomes = [accuracy_difference(record, None, first, None) for record, _ in sets]
    heading = ("set of seeds", "mean test accuracy", "standard deviation", *HEADING[:3])
    rows, whys = [], list[str]()
    for (record, mean), outcome in zip(sets, outcomes, strict=True):
        tested = outcome.cells()[:3]
        if record is first:
            tested = ("", "", "")
        elif record.digest != first.digest:
            whys.append(f"{record.name} cannot be compared with {first.name}: {outcome.why_not}.")
        rows.append((record.name, f"{mean.value:.2%}", f"{100 * (mean.sd or 0):.2f} points", *tested))
    note = (
        f"Points: the mean less that of {first.name}, with the 95% interval and p-value of Welch's t-test over "
        "the seeds. This compares the recipes; the paired differences below compare single networks."
    )
    return [Table(heading, rows), Text(note), *map(Text, whys)]


def _numbers(runs: Sequence[RunSummary]) -> list[str]:
    return [f"run {run.number}" for run in runs]


def _parameters(runs: Sequence[RunSummary]) -> list[Block]:
    found = differing([run.record for run in runs])
    if not found:
        return [Text("None: all runs have the same parameters.")]
    rows = [
        (name, *("-" if each is None else each[:_DIGEST] if name.endswith("digest") else each for each in row))
        for name, row in found.items()
    ]
    return [Table(("parameter", *_numbers(runs)), rows)]


def _curves(runs: Sequence[RunSummary]) -> list[Block]:
    from sentiflow.reports import plots  # matplotlib, which a terminal does without

    with_curves = [run for run in runs if run.curves.get("val/loss")]
    alt = "Validation loss of each run over the epochs"
    return [Picture(plots.learning_curves_of_runs(with_curves), alt)] if with_curves else []


def _same_reviews(runs: Sequence[RunSummary]) -> _SameReviews | None:
    """The runs that have scored the same reviews as the first one with scores; None for fewer than two."""
    scored = [(run, table) for run in runs if (table := run.table) is not None]
    found = [(run, table) for run, table in scored if run.record.digest == scored[0][0].record.digest]
    if len(found) < 2:
        return None
    first = scored[0][1]
    scores = np.array([table.in_order_of(first).score for _, table in found])
    return _SameReviews([run for run, _ in found], first, scores)


def _disagreements(same: _SameReviews) -> list[Block]:
    """Reviews whose scores are farthest apart, explained by the two runs at the ends."""
    apart = np.ptp(same.scores, axis=0)  # (n,)
    rows = np.argsort(-apart, kind="stable")[:_MAX_REVIEWS]
    test_data = next((run.test_data for run in same.runs if run.test_data), None)
    if test_data is None:
        return []
    blocks: list[Block] = [Legend()] if any(run.scorer for run in same.runs) else []
    for row in rows:
        if apart[row] > 0:
            blocks += _review(same, int(row), test_data)
    return blocks


def _review(same: _SameReviews, row: int, test_data: TestData) -> list[Block]:
    """One review with the score of each run, explained by the two that are farthest apart."""
    name, scores = str(same.table.review_id[row]), same.scores[:, row]
    ordered = [(same.runs[i], scores[i]) for i in np.argsort(scores, kind="stable")]
    text = test_data.text(name)
    explaining = [run for run, _ in ordered if run.scorer is not None]
    ends = explaining if len(explaining) < 3 else [explaining[0], explaining[-1]]
    quotes = [quote(text, run.explain(text), f"as read by {run.label}:") for run in ends]
    return [
        Heading(f"{test_data.place(name)}: labelled {same.runs[0].record.label_names[same.table.label[row]]}"),
        Table(("run", "score"), [(run.label, f"{score:.4f}") for run, score in ordered]),
        *(quotes or [quote(text, None)]),
    ]
