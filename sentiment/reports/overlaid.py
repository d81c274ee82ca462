"""Several runs in one picture, with the table that belongs to it."""

from sentiment import plots_compared
from sentiment.reports.account import Account
from sentiment.reports.blocks import Block, Picture, Table, Text, cells
from sentiment.reports.compared import Compared, turned
from sentiment.slices import LABELS


def curves(runs: Compared) -> list[Block]:
    """Learning curves of those that have epochs."""
    rows = [i for i, account in enumerate(runs.accounts) if account.curves.get("val/loss")]
    able = runs.take(rows)
    if not rows:
        return []
    by_label = dict(zip(able.labels, (account.curves for account in able.accounts), strict=True))
    drawn = plots_compared.learning_curves(by_label, able.numbers)
    return [Picture(drawn, "Validation loss and accuracy of each run over the epochs")]


def slices(runs: Compared) -> list[Block]:
    """Accuracy on each slice."""
    able = runs.take([i for i, account in enumerate(runs.accounts) if account.slices])
    found = {label: account.slices for label, account in zip(able.labels, able.accounts, strict=True)}
    there = {each.name for of in found.values() for each in of}
    names = {name: told for name, told in LABELS.items() if name in there}
    if not found:
        return []
    by_name = [{each.name: each.accuracy for each in of} for of in found.values()]
    rows = [
        (told, *(cells(lambda value: f"{value:.2%}", one.get(name)) for one in by_name))
        for name, told in names.items()
    ]
    drawn = plots_compared.slices(found, able.numbers, names)
    told = "Accuracy of each run on slices of its own test reviews; of runs that read to another length or with "
    told += "another vocabulary, truncated and out-of-vocabulary slices hold other reviews."
    return [
        Picture(drawn, "Accuracy of each run on each slice, with intervals"),
        *turned([Table(("slice", *able.labels), rows)]),
        Text(told),
    ]


def calibration(runs: Compared) -> list[Block]:
    """Reliability curves of those whose scores are at hand, and the figures of all."""
    able = runs.take([i for i, account in enumerate(runs.accounts) if account.measured is not None])
    if not able.accounts:
        return []
    rows = [
        (label, *(cells(lambda value: f"{value:.4f}", value) for value in (account.ece, _brier(account))))
        for label, account in zip(able.labels, able.accounts, strict=True)
    ]
    with_scores = able.take([i for i, account in enumerate(able.accounts) if account.reliability is not None])
    bins = {
        label: account.reliability
        for label, account in zip(with_scores.labels, with_scores.accounts, strict=True)
        if account.reliability is not None
    }
    table = Table(("run", "expected calibration error", "Brier score"), rows)
    if not bins:
        return [table]
    drawn = plots_compared.reliability(bins, with_scores.numbers)
    return [Picture(drawn, "Share of positive reviews over the score, a line a run"), table]


def _brier(account: Account) -> float | None:
    return None if account.measured is None else account.measured.brier
