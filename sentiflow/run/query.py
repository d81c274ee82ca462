"""Selection and order of runs."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sentiflow.errors import UsageError
from sentiflow.names import dataset_name
from sentiflow.run.record import BASELINE_RUN, FIELDS, MONITOR, REPEAT, TRIAL, RunRecord, Value, number

CHILD_KINDS = (REPEAT, TRIAL, BASELINE_RUN)

Condition = Callable[[RunRecord], bool]

_SPAN = re.compile(r"(\d{1,6})([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@dataclass(frozen=True)
class Query:
    """Conditions, all of which must hold; empty ones always do."""

    kinds: Sequence[str] = ()  # none are all but monitoring runs
    recipes: Sequence[str] = ()
    datasets: Sequence[str] = ()
    statuses: Sequence[str] = ()
    since: str = ""
    sort: str = ""  # one of ``FIELDS`` or a metric; with a minus before it, the highest comes first
    children: bool = False


def select(runs: Sequence[RunRecord], query: Query, now: datetime) -> list[RunRecord]:
    """The runs that meet a query, in its order, else in that given; ``now`` is that of ``moment``."""
    conditions = _conditions(runs, query, now)
    found = [run for run in runs if all(holds(run) for holds in conditions)]
    return _sorted(found, query.sort) if query.sort and runs else found  # of no runs no name is wrong


def _conditions(runs: Sequence[RunRecord], query: Query, now: datetime) -> list[Condition]:
    there = {run.dataset for run in runs}
    datasets = [dataset if dataset in there else dataset_name(dataset) for dataset in query.datasets]
    conditions = [_of_kinds(runs, query)]
    if not query.children and not set(query.kinds) & set(CHILD_KINDS):
        ids = {run.run_id for run in runs}
        conditions.append(lambda run: run.parent not in ids)  # a run whose parent was deleted is listed
    if query.recipes:
        conditions.append(lambda run: run.recipe in query.recipes)
    if datasets:
        conditions.append(lambda run: run.dataset in datasets)
    if statuses := [status.upper() for status in query.statuses]:
        conditions.append(lambda run: run.status in statuses)
    if query.since:
        since = moment(query.since, now)
        conditions.append(lambda run: run.started >= since)
    return conditions


def _of_kinds(runs: Sequence[RunRecord], query: Query) -> Condition:
    """Whether a run is of the kinds of the query, or, if children are included, below such a run."""
    if not query.kinds:
        return lambda run: run.kind != MONITOR
    listed = {run.run_id for run in runs if run.kind in query.kinds}
    while query.children and (below := {run.run_id for run in runs if run.parent in listed} - listed):
        listed |= below
    return lambda run: run.run_id in listed


def moment(text: str, now: datetime) -> datetime:
    """A date, a time or a span before ``now``, in whose time zone dates are, as a time in UTC."""
    try:
        if span := _SPAN.fullmatch(text.strip()):
            return now.astimezone(UTC) - timedelta(**{_UNITS[span[2]]: int(span[1])})
        given = datetime.fromisoformat(text.strip())
        return (given if given.tzinfo else given.replace(tzinfo=now.tzinfo)).astimezone(UTC)
    except (ValueError, OverflowError) as err:
        hint = "Expected a date (2026-03-05), a moment (2026-03-05T14:00) or a span before now (30m, 12h, 7d, 2w)."
        raise UsageError(f"--since {text!r} is not understood.", hint) from err


def _sorted(runs: Sequence[RunRecord], text: str) -> list[RunRecord]:
    """Sorted by a value, numbers before words; runs without it are always last."""
    down, name = text.startswith("-"), text.removeprefix("-")
    if name not in FIELDS and not any(name in run.metrics for run in runs):
        raise UsageError(f"No run has a metric {name!r}.", f"Sort by {', '.join(FIELDS)} or a metric: -test/loss")

    def get(run: RunRecord) -> Value:
        return FIELDS[name](run) if name in FIELDS else number(run.metrics.get(name))

    def place(run: RunRecord) -> tuple[bool, float, str]:
        amount = number(get(run))
        return (not down, 0.0, str(get(run))) if amount is None else (down, amount, "")

    there = sorted((run for run in runs if get(run) is not None), key=place, reverse=down)
    return there + [run for run in runs if get(run) is None]
