"""The report of several runs held against each other."""

from collections.abc import Sequence

from sentiment.comparison import Against, against
from sentiment.metrics import spread
from sentiment.reports.account import Account
from sentiment.reports.blocks import Block, Report, Section, Table, Text, cells
from sentiment.reports.compared import Compared, loss_of, named, turned
from sentiment.reports.cost import costs
from sentiment.reports.differences import beyond, differences
from sentiment.reports.disagreement import disagreements, worst_of_all
from sentiment.reports.overlaid import calibration, curves, slices
from sentiment.reports.parameters import side_by_side
from sentiment.reports.pictures import strip
from sentiment.reports.sets import sets
from sentiment.run_record import SEED, RunRecord


def report(accounts: Sequence[Account], title: str = "", parents: Sequence[RunRecord] = ()) -> Report:
    """Hold runs against the first of them.

    Args:
        accounts: of two or more runs.
        title: of the page; by default it counts the runs.
        parents: that stand for several of the runs.
    """
    runs = Compared(accounts, [f"{i} {account.title}" for i, account in enumerate(accounts, 1)])
    held = [against(each.record, each.table, accounts[0].record, accounts[0].table) for each in accounts[1:]]
    shown = runs.shown
    few = [Text(f"Of {len(accounts)} runs the first and those of the lowest validation loss.")]
    note: list[Block] = [*few] if len(shown.accounts) < len(accounts) else []
    sections = [
        Section("Sets of seeds", sets(parents)),
        Section("Runs", _table(runs)),
        Section("Paired differences", differences(runs, held)),
        Section("Parameters that differ", note + turned(side_by_side(shown.accounts, shown.labels))),
        Section("Learning curves", curves(shown)),
        Section("Slices", note + slices(shown)),
        Section("Calibration", note + calibration(shown)),
        Section("Cost", note + turned(costs(shown.accounts, shown.labels))),
        Section("Where they disagree most", disagreements(shown.accounts, shown.labels), brief=False),
        Section("What all get most wrong", worst_of_all(shown.accounts, shown.labels), brief=False),
        Section("What could not be had", _missing(runs)),
    ]
    return Report(title or f"{len(accounts)} runs compared", _lead(runs, held), [s for s in sections if s.blocks])


def _lead(runs: Compared, held: Sequence[Against]) -> list[Text]:
    told = [Text(line, strong=i == 0) for i, line in enumerate(filter(None, (_seeds(runs), _best(runs, held))))]
    return told or [Text("None of these runs has figures to compare.", strong=True)]


def _best(runs: Compared, held: Sequence[Against]) -> str:
    """Which run validation chooses, what the test split says of it, and whether that is more than chance."""
    able = [i for i, account in enumerate(runs.accounts) if loss_of(account) < float("inf")]
    if not able:
        return ""
    best = min(able, key=lambda i: loss_of(runs.accounts[i]))
    account = runs.accounts[best]
    told = f"By validation loss {named(runs.labels[best])} is the best, with {loss_of(account):.4f}"
    if account.measured is not None:
        told += f": test accuracy {account.measured.accuracy:.2%}"
    return f"{told}{beyond(held[best - 1], named(runs.labels[0])) if best else ''}."


def _seeds(runs: Compared) -> str:
    """Mean and spread, when all of them are seeds of one set."""
    parents = {account.record.parent for account in runs.accounts}
    found = [account.measured.accuracy for account in runs.accounts if account.measured is not None]
    seeds = all(account.record.kind == SEED for account in runs.accounts)
    if not seeds or len(parents) > 1 or len(found) < len(runs.accounts):
        return ""
    over = spread(found)
    return (
        f"Test accuracy over {len(found)} seeds: mean {over.mean:.2%}, standard deviation {100 * over.sd:.2f} "
        f"points, {over.least:.2%} to {over.most:.2%}."
    )


def _table(runs: Compared) -> list[Block]:
    measured = [account.measured for account in runs.accounts]
    ends = [end for each in measured if each for end in (each.accuracy_low, each.accuracy_high)]
    left, right = min(ends, default=0.0), max(ends, default=1.0)
    bars = [
        strip(each.accuracy_low, each.accuracy, each.accuracy_high, left, right) if each else ""
        for each in measured
    ]
    rows = [_row(label, account) for label, account in zip(runs.labels, runs.accounts, strict=True)]
    names = [
        (label, account.record.run_id[:8], account.version or "-", account.record.name)
        for label, account in zip(runs.labels, runs.accounts, strict=True)
    ]
    heading = ("run", "test accuracy", "from", "to", "validation loss", "seconds")
    told = "Intervals are at 95%. The test split chooses nothing."
    return [
        Table(heading, rows, bars=bars),
        Text(told),
        Table(("run", "id", "version", "name"), names, words=4),
    ]


def _row(label: str, account: Account) -> tuple[str, ...]:
    each = account.measured
    figures = (None,) * 3 if each is None else (each.accuracy, each.accuracy_low, each.accuracy_high)
    return (
        label,
        *(cells(lambda value: f"{value:.2%}", value) for value in figures),
        cells(lambda value: f"{value:.4f}", account.validation_loss),
        cells(lambda value: f"{value:.0f}", account.metrics.get("time/total")),
    )


def _missing(runs: Compared) -> list[Block]:
    return [
        Text(f"{label}: {told}")
        for label, account in zip(runs.labels, runs.accounts, strict=True)
        for told in account.missing
    ]
