"""Selection and order of runs."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sentiflow.errors import UsageError
from sentiflow.names import dataset_name
from sentiflow.runs import BASELINE, MONITOR, REPEAT, TRIAL, Fields, RunRecord, Value, number

CHILD_KINDS = (REPEAT, TRIAL, BASELINE)

Condition = Callable[[RunRecord], bool]

_SPAN = re.compile(r"(\d{1,6})([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_WHERE = re.compile(
    r"\s*(?P<name>[^\s<>=!~](?:[^<>=!~]*[^\s<>=!~])?)\s*(?P<sign>>=|<=|!=|==|=|~|<|>)\s*(?P<value>(?![<>=~]).*?)\s*"
)
_ORDERED: dict[str, Callable[[float, float], bool]] = {
    ">=": float.__ge__, "<=": float.__le__, ">": float.__gt__, "<": float.__lt__,
}  # fmt: skip


@dataclass(frozen=True)
class Query:
    """Conditions, all of which must hold; empty ones always do."""

    kinds: Sequence[str] = ()  # none are all but monitoring runs
    recipes: Sequence[str] = ()
    datasets: Sequence[str] = ()
    statuses: Sequence[str] = ()
    since: str = ""
    where: Sequence[str] = ()  # such as test/accuracy>=0.88
    sort: str = ""  # a field; with a minus before it, the highest comes first
    children: bool = False


def select(runs: Sequence[RunRecord], query: Query, now: datetime) -> list[RunRecord]:
    """The runs that meet a query, in its order, else in that given; ``now`` is that of ``moment``."""
    fields = Fields(runs)
    conditions = _conditions(runs, query, now)
    if not runs:
        return []  # and no name is wrong
    conditions += [_where(text, fields) for text in query.where]
    found = [run for run in runs if all(holds(run) for holds in conditions)]
    return _sorted(found, query.sort, fields) if query.sort else found


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


def _where(text: str, fields: Fields) -> Condition:
    """A condition as a function; a run without the value does not meet it."""
    parts = _WHERE.fullmatch(text)
    if parts is None:
        hint = "Expected NAME, a sign (= != < <= > >= or ~ for contains) and a value: 'test/accuracy>=0.88'"
        raise UsageError(f"The condition {text!r} is not understood.", hint)
    get, sign, value = fields.getter(parts["name"]), parts["sign"], parts["value"]
    if sign in _ORDERED:
        if (limit := number(value)) is None:
            hint = "Dates go to --since; of several conditions each has a --filter of its own."
            raise UsageError(f"The condition {text!r} needs a number behind {sign}, got {value!r}.", hint)
        return lambda run: (found := number(get(run))) is not None and _ORDERED[sign](found, limit)
    if sign == "~":
        return lambda run: (found := get(run)) is not None and value.lower() in str(found).lower()
    return lambda run: (found := get(run)) is not None and _same(found, value) == (sign != "!=")


def _same(found: Value, value: str) -> bool:
    """As numbers, else as words in any case: what a recipe spells ``true``, MLflow has as ``True``."""
    numbers = number(found), number(value)
    return numbers[0] == numbers[1] if None not in numbers else str(found).lower() == value.lower()


def _sorted(runs: Sequence[RunRecord], text: str, fields: Fields) -> list[RunRecord]:
    """Sorted by a value, numbers before words; runs without it are always last."""
    down, get = text.startswith("-"), fields.getter(text.removeprefix("-"))

    def place(run: RunRecord) -> tuple[bool, float, str]:
        amount = number(get(run))
        return (not down, 0.0, str(get(run))) if amount is None else (down, amount, "")

    there = sorted((run for run in runs if get(run) is not None), key=place, reverse=down)
    return there + [run for run in runs if get(run) is None]
