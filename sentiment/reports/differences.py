"""What accuracies differ by, review by review."""

from collections.abc import Sequence

from sentiment.comparison import Against
from sentiment.reports.blocks import Block, Table, Text, cells
from sentiment.reports.compared import Compared, chance, named, points


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
    chance = "within chance" if held.low <= 0 <= held.high else "beyond chance"
    return f", {points(held.paired.difference)} against {first}, {chance}"


def _against_row(label: str, held: Against) -> tuple[str, ...]:
    if held.paired is None:
        return (label, cells(points, held.difference), *("-" * 5))
    paired = held.paired
    ends = (points(value) for value in (paired.difference, paired.low, paired.high))
    return (label, *ends, chance(paired.p_value), f"{paired.gained:,}", f"{paired.lost:,}")
