"""The report of several runs side by side."""

import html
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sentiflow.evaluation.metrics import LABELS, spread
from sentiflow.evaluation.statistics import format_p, format_points
from sentiflow.reports import explanation, plots
from sentiflow.reports.page import Block, Markup, Picture, Report, Section, Table, Text, cells, strip
from sentiflow.reports.run import costs, quote, side_by_side
from sentiflow.reports.summary import Account, Miss, word_of
from sentiflow.runs.comparison import ACCURACY, Against, against, figure
from sentiflow.runs.record import SEED, RunRecord
from sentiflow.scoring import is_positive

MAX_RUNS = 12
"""Runs that pictures and side-by-side tables show at most: the first, and those of the lowest validation loss."""

_TURNED = 6  # runs from which on a table has a line a run instead of a column


@dataclass(frozen=True)
class Compared:
    """Runs in the order of the report, and what they are called in it."""

    accounts: Sequence[Account]
    labels: Sequence[str]

    @property
    def shown(self) -> "Compared":
        """Those that pictures have room for."""
        if len(self.accounts) <= MAX_RUNS:
            return self
        order = sorted(range(1, len(self.accounts)), key=lambda i: loss_of(self.accounts[i]))
        return self.take(sorted([0, *order[: MAX_RUNS - 1]]))

    def take(self, rows: Sequence[int]) -> "Compared":
        """Some of the runs."""
        return Compared([self.accounts[i] for i in rows], [self.labels[i] for i in rows])

    @property
    def numbers(self) -> list[int]:
        """Of each run, 0 for the first; they choose colours."""
        return [int(label.split(" ", 1)[0]) - 1 for label in self.labels]


def named(label: str) -> str:
    """What a run is called in a sentence."""
    number, _, title = label.partition(" ")
    return f"run {number} ({title})"


def loss_of(account: Account) -> float:
    """For choosing: a run without a validation loss comes last."""
    loss = account.validation_loss
    return float("inf") if loss is None or loss != loss else loss


def turned(blocks: Sequence[Block]) -> list[Block]:
    """Tables of many runs with a line a run."""
    return [
        block.turned() if isinstance(block, Table) and len(block.heading) > _TURNED + 1 else block
        for block in blocks
    ]


def differences(runs: Compared, held: Sequence[Against]) -> list[Block]:
    """Of those that were scored on the test split; a sweep's trials never are."""
    first = named(runs.labels[0])
    others = list(zip(runs.labels[1:], runs.accounts[1:], held, strict=True))
    able = [(label, each) for label, account, each in others if account.measured is not None]
    told = (
        f"Accuracy less that of {first} on the same reviews, with its 95% interval and McNemar's exact test; "
        "gained: only this run is right, lost: only the first."
    )
    many = f" No p-value is corrected for there being {len(able)} comparisons." if len(able) > 1 else ""
    apart: list[Block] = [
        Text(f"{named(label).capitalize()} cannot be paired with {first}: {each.why_not}.")
        for label, each in able
        if each.why_not
    ]
    if left := len(others) - len(able):
        apart.append(Text(f"Not scored on the test split, and left out here: {left} of the runs."))
    heading = ("run", "difference", "from", "to", "p", "gained", "lost")
    rows = [_against_row(label, each) for label, each in able]
    return [Table(heading, rows), Text(told + many), *apart] if able else apart


def beyond(held: Against, first: str) -> str:
    """The end of a sentence: a difference, and whether it is more than chance; empty when they are not paired."""
    if held.paired is None or held.low is None or held.high is None:
        return ""
    verdict = "within chance" if held.low <= 0 <= held.high else "beyond chance"
    return f", {format_points(held.paired.difference)} against {first}, {verdict}"


def _against_row(label: str, held: Against) -> tuple[str, ...]:
    if held.paired is None:
        return (label, cells(format_points, held.difference), *("-" * 5))
    paired = held.paired
    ends = (format_points(value) for value in (paired.difference, paired.low, paired.high))
    return (label, *ends, format_p(paired.p_value), f"{paired.gained:,}", f"{paired.lost:,}")


_MAX_REVIEWS = 8  # reviews shown


@dataclass(frozen=True)
class Together:
    """Runs that have scored the same reviews.

    Attributes:
        accounts: of them.
        labels: what they are called.
        review_id: shape (n,).
        label: shape (n,), 0 or 1.
        scores: shape (k, n).
    """

    accounts: Sequence[Account]
    labels: Sequence[str]
    review_id: NDArray[np.str_]
    label: NDArray[np.int8]
    scores: NDArray[np.float64]


def together(accounts: Sequence[Account], labels: Sequence[str]) -> Together | None:
    """Those runs whose scores can be held against those of the first that has any; None when there are no two."""
    able = [(account, label) for account, label in zip(accounts, labels, strict=True) if account.table is not None]
    found: list[tuple[Account, str, NDArray[np.float64]]] = []
    for account, label in able:
        first = able[0][0].table
        if account.table is None or first is None or account.record.digest != able[0][0].record.digest:
            continue
        try:
            found.append((account, label, account.table.in_order_of(first).score))
        except ValueError:  # other reviews: the section on differences says so
            continue
    if len(found) < 2 or (first := found[0][0].table) is None:
        return None
    runs, names, scores = zip(*found, strict=True)
    return Together(runs, names, first.review_id, first.label, np.array(scores))


def disagreements(accounts: Sequence[Account], labels: Sequence[str]) -> list[Block]:
    """Reviews whose scores lie farthest apart, with the readings of the two runs at the ends."""
    runs = together(accounts, labels)
    if runs is None:
        return []
    apart = np.ptp(runs.scores, axis=0)  # (n,)
    rows = np.argsort(-apart, kind="stable")[:_MAX_REVIEWS]
    return _reviews(runs, [int(row) for row in rows if apart[row] > 0])


def worst_of_all(accounts: Sequence[Account], labels: Sequence[str]) -> list[Block]:
    """Reviews that every run gets wrong, the most confident errors on average first."""
    runs = together(accounts, labels)
    if runs is None:
        return []
    wrong = (is_positive(runs.scores) != (runs.label == 1)).all(axis=0)
    off = np.where(wrong, np.abs(runs.scores - runs.label).mean(axis=0), -1)  # (n,)
    rows = [int(row) for row in np.argsort(-off, kind="stable")[:_MAX_REVIEWS] if wrong[row]]
    told = Text(f"{int(wrong.sum()):,} of {len(wrong):,} test reviews are labelled wrongly by all of them.")
    return [told, *_reviews(runs, rows)]


def _reviews(runs: Together, rows: Sequence[int]) -> list[Block]:
    blocks: list[Block] = []
    if any(account.scorer and account.tested for account in runs.accounts):
        blocks.append(Markup(explanation.LEGEND))
    for row in rows:
        blocks += _review(runs, row)
    return blocks


def _review(runs: Together, row: int) -> list[Block]:
    """One review: what each run says, and how the two farthest apart read it."""
    name, label = str(runs.review_id[row]), int(runs.label[row])
    scores = runs.scores[:, row]
    order = np.argsort(scores, kind="stable")
    lines = [(runs.labels[i], f"{scores[i]:.4f}") for i in order]
    blocks: list[Block] = [
        Markup(f"<h3>{html.escape(f'{name}: {word_of(label)}')}</h3>"),
        Table(("run", "score"), lines),
    ]
    told = [i for i in order if runs.accounts[i].scorer is not None]
    ends = told if len(told) < 3 else [told[0], told[-1]]
    read = "".join(_read(runs, int(i), name, label, float(scores[i])) for i in ends)
    return [*blocks, Markup(read or _text(runs, name))]


def _read(runs: Together, i: int, name: str, label: int, score: float) -> str:
    account = runs.accounts[i]
    if account.tested is None:
        return ""
    text = account.tested.text(name)
    miss = Miss(name, label, score, text, account.reading(text))
    return f'<p class="small">as read by {html.escape(runs.labels[i])}:</p>{quote(miss)}'


def _text(runs: Together, name: str) -> str:
    """The bare text, from whichever run has the dataset at hand."""
    tested = next((account.tested for account in runs.accounts if account.tested is not None), None)
    return "" if tested is None else quote(Miss(name, 0, 0.0, tested.text(name), None))


def curves(runs: Compared) -> list[Block]:
    """Learning curves of those that have epochs."""
    rows = [i for i, account in enumerate(runs.accounts) if account.curves.get("val/loss")]
    able = runs.take(rows)
    if not rows:
        return []
    by_label = dict(zip(able.labels, (account.curves for account in able.accounts), strict=True))
    drawn = plots.learning_curves_of_runs(by_label, able.numbers)
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
    drawn = plots.slices(found, able.numbers, names)
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
    drawn = plots.reliability_of_runs(bins, with_scores.numbers)
    return [Picture(drawn, "Share of positive reviews over the score, a line a run"), table]


def _brier(account: Account) -> float | None:
    return None if account.measured is None else account.measured.brier


def sets(records: Sequence[RunRecord]) -> list[Block]:
    """Means over seeds, and by how much they differ.

    Args:
        records: of parents that hold the mean and the deviation of their seeds; fewer than two give nothing.
    """
    found = [(record, mean) for record in records if (mean := figure(record, ACCURACY)) and mean.sd is not None]
    if len(found) < 2:
        return []
    first, _ = found[0]
    others = [(record, against(record, None, first, None)) for record, _ in found[1:]]
    heading = ("set of seeds", "mean test accuracy", "standard deviation", "difference", "from", "to", "p")
    ends = [("", "", "", ""), *(_apart(record, first, held) for record, held in others)]
    rows = [
        (record.name, f"{mean.value:.2%}", f"{100 * (mean.sd or 0):.2f} points", *apart)
        for (record, mean), apart in zip(found, ends, strict=True)
    ]
    told = (
        f"Less the mean of {first.name}, with the 95% interval and p-value of Welch's t-test over the seeds. It "
        "speaks of the recipes; what follows, run by run, of these networks alone."
    )
    alone = [Text(why) for record, held in others if (why := _why_alone(record, first, held))]
    return [Table(heading, rows), Text(told), *alone]


def _apart(record: RunRecord, first: RunRecord, held: Against) -> tuple[str, ...]:
    if record.digest != first.digest:
        return "-", "-", "-", "-"
    return (
        *(cells(format_points, each) for each in (held.difference, held.low, held.high)),
        cells(format_p, held.p_value),
    )


def _why_alone(record: RunRecord, first: RunRecord, held: Against) -> str:
    """Why a set has no interval; empty when it has one."""
    if record.digest != first.digest:
        return f"{record.name} cannot be held against {first.name}: {held.why_not}."
    return (
        ""
        if held.p_value is not None
        else f"{record.name} and {first.name} have no test: their seeds do not differ."
    )


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
    return f"Test accuracy over {len(found)} seeds: mean {over.mean:.2%}, {over.text()}."


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
