"""Runs side by side: parameters, metrics, and whether their accuracies differ beyond chance."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sentiflow.evaluation import statistics
from sentiflow.evaluation.scores import ScoreTable
from sentiflow.evaluation.statistics import Comparison
from sentiflow.names import BUILT_IN
from sentiflow.run.record import DIGEST, TIME, RunRecord, number, value_text, whole_number

ACCURACY = "test/accuracy"
HEADING = ("points", "95% interval", "p", "right only here", "right only in 1")
_FIRST = (
    "recipe", "recipe.changes", "dataset", DIGEST, "seed", "repeats", "start_from",
    "vocabulary_size", "sequence_length", "embedding_size", "units", "bidirectional", "ensemble_size",
    "epochs", "learning_rate", "optimizer", "batch_size", "dropout", "mask_zero",
)  # fmt: skip
_FOUND = ("dataset.in_both_splits", "dataset.truncated", "model.parameters")
_GROUPS = ("test", "baseline", "val", "train")
_INTERVAL = ("_ci_low", "_ci_high")
_SPREAD = ("_mean", "_sd", "_min", "_max")


@dataclass(frozen=True)
class Figure:
    """A metric of a run with its 95% interval, or of a set of repeats the mean with its standard deviation."""

    value: float
    low: float | None = None
    high: float | None = None
    sd: float | None = None


@dataclass(frozen=True)
class AccuracyDifference:
    """The test accuracy of a run less that of another, with its 95% interval; of sets of repeats their means."""

    difference: float | None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None  # of McNemar's exact test for two runs, of Welch's t-test for two sets
    paired: Comparison | None = None  # review by review
    why_not: str = ""  # why they are not paired
    shared: int = 0  # test reviews of both, where a table grew in between; 0 if they have the same ones

    def cells(self) -> tuple[str, ...]:
        """What ``HEADING`` names, for a table."""
        only = (f"{self.paired.gained:,}", f"{self.paired.lost:,}") if self.paired else ("-", "-")
        return (
            "-" if self.difference is None else statistics.format_points(self.difference, ""),
            statistics.format_interval(self.low, self.high) or "-",
            "-" if self.p_value is None else statistics.format_p(self.p_value),
            *only,
        )


def differing(runs: Sequence[RunRecord]) -> dict[str, tuple[str | None, ...]]:
    """Parameters that are not the same in all runs, one value per run; None for a run without the parameter.

    Numbers are compared by value: 0.001 equals 1e-3. Versions of libraries come last. What a training finds out
    differs only where all have it: a parent run has none of it.
    """
    names = sorted({name for run in runs for name in run.params}, key=_place_of_parameter)
    values = {name: tuple(run.params.get(name) for run in runs) for name in names}
    return {
        name: row
        for name, row in values.items()
        if len(set(map(_normalized, row))) > 1 and not (name in _FOUND and None in row)
    }


def metric_names(runs: Sequence[RunRecord]) -> list[str]:
    """Names for ``figure``: of metrics, without those of ends of intervals and of spreads, and of times."""
    names = {name for run in runs for name in run.metrics}
    times = {name for run in runs for name in run.tags if name.startswith(TIME)}
    return [*sorted({_base(name, names) for name in names}, key=_place_of_metric), *sorted(times)]


def figure(run: RunRecord, name: str) -> Figure | None:
    """A metric or time of a run, of a set of repeats its mean over the seeds; None if it is missing or NaN."""
    if name.startswith(TIME):
        seconds = run.seconds(name.removeprefix(TIME))
        return None if seconds is None else Figure(seconds)
    metrics = run.metrics
    ends = metrics.get(f"{name}_ci_low"), metrics.get(f"{name}_ci_high")
    found = Figure(metrics[name], *ends) if name in metrics else None
    if found is None and f"{name}_mean" in metrics:
        found = Figure(metrics[f"{name}_mean"], sd=metrics.get(f"{name}_sd"))
    return None if found is None or math.isnan(found.value) else found


def figure_text(name: str, found: Figure | None) -> str:
    """A metric's value for a table; a dash for none."""
    if found is None:
        return "-"
    if "difference" in name:
        return statistics.format_points(found.value)
    is_share = "accuracy" in name or name.startswith("test_slices/") or name.endswith("_share")
    return f"{found.value:.2%}" if is_share else value_text(found.value)


def accuracy_difference(
    run: RunRecord, table: ScoreTable | None, first: RunRecord, first_table: ScoreTable | None
) -> AccuracyDifference:
    """Compare a run's test accuracy with that of another, review by review on those that both were tested on.

    What tested a training it has not learnt from. A label that was corrected since is as the later run has it.
    """
    accuracy, reference = figure(run, ACCURACY), figure(first, ACCURACY)
    same = run.digest == first.digest
    difference = accuracy.value - reference.value if accuracy and reference and same else None
    shared = 0
    if table is not None and first_table is not None and not same and _grown(run, first):
        both, mine, theirs = np.intersect1d(table.review_id, first_table.review_id, return_indices=True)
        if shared := len(both):
            later = table.label[mine] if run.started >= first.started else first_table.label[theirs]
            table, first_table = (
                replace(table.take(mine), label=later),
                replace(first_table.take(theirs), label=later),
            )
    why_not = "" if shared else _why_not(run, table, first, first_table)
    if table is None or first_table is None or why_not:
        sample, reference_sample = _sample(run), _sample(first)
        welch = statistics.welch(sample, reference_sample) if same and sample and reference_sample else None
        low, high, p_value = welch or (None, None, None)
        return AccuracyDifference(difference, low, high, p_value, why_not=why_not)
    found = statistics.compare(table.right, first_table.in_order_of(table).right)
    return AccuracyDifference(found.difference, found.low, found.high, found.p_value, found, shared=shared)


def verdict(run: RunRecord, first: RunRecord, outcome: AccuracyDifference) -> str:
    """What a difference to the first run says: ``better``, ``worse`` or ``within chance``; else why nothing."""
    if outcome.difference is None or outcome.low is None or outcome.high is None:
        if figure(run, ACCURACY) is None:
            return "no test accuracy"
        return "not paired" if figure(first, ACCURACY) else "1 has no test accuracy"
    if not statistics.beyond_chance(outcome.low, outcome.high):
        return "within chance"
    return "better" if outcome.difference > 0 else "worse"


def _grown(run: RunRecord, first: RunRecord) -> bool:
    """Whether both have versions of one table, whose reviews are known by their texts."""
    one_table = run.dataset == first.dataset not in ("", *BUILT_IN)
    return one_table and run.label_names == first.label_names


def _why_not(run: RunRecord, table: ScoreTable | None, first: RunRecord, first_table: ScoreTable | None) -> str:
    if run.digest != first.digest:
        return f"tested on other reviews ({_reviews(run)} and {_reviews(first)})"
    return " and ".join(_without(one) for one, scores in ((first, first_table), (run, table)) if scores is None)


def _without(run: RunRecord) -> str:
    count = _repeats(run)
    if not count:
        return f"{run.name} keeps no test scores"
    return f"{run.name} stands for {count} seed{'s' if count > 1 else ''}"


def _reviews(run: RunRecord) -> str:
    return f"{run.dataset or 'no dataset'}{f' {run.digest[:8]}' if run.digest else ''}"


def _sample(run: RunRecord) -> tuple[float, float, int] | None:
    """Mean, standard deviation and number of seeds; None unless the run is a set with a spread."""
    found = figure(run, ACCURACY)
    return None if found is None or found.sd is None else (found.value, found.sd, _repeats(run))


def _repeats(run: RunRecord) -> int:
    return whole_number(run.params.get("repeats") or run.params.get("sweep.repeats")) or 0


def _normalized(value: str | None) -> str | float | None:
    """A number as a float, other values unchanged."""
    found = number(value)
    return value if found is None else found


def _place_of_parameter(name: str) -> tuple[int, str]:
    if name in _FIRST:
        return _FIRST.index(name), name
    return len(_FIRST) + name.startswith("version."), name


def _place_of_metric(name: str) -> tuple[int, bool, str]:
    group, _, rest = name.partition("/")
    place = _GROUPS.index(group) if group in _GROUPS else len(_GROUPS)
    return place, not rest.startswith("accuracy"), name


def _base(name: str, names: set[str]) -> str:
    for endings, needed in ((_INTERVAL, ""), (_SPREAD, "_mean")):
        for ending in endings:
            base = name.removesuffix(ending)
            if base != name and base + needed in names:
                return base
    return name
