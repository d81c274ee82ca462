"""Sets of seeds held against the first of them: what their recipes differ by, and not only these networks."""

from collections.abc import Sequence

from sentiment.comparison import ACCURACY, against, figure
from sentiment.reports.blocks import Block, Table, Text, cells
from sentiment.reports.compared import points
from sentiment.run_record import RunRecord


def sets(records: Sequence[RunRecord]) -> list[Block]:
    """Means over seeds, and by how much they differ.

    Args:
        records: of parents that hold the mean and the deviation of their seeds; fewer than two give nothing.
    """
    found = [(record, mean) for record in records if (mean := figure(record, ACCURACY)) and mean.sd is not None]
    if len(found) < 2:
        return []
    first, _ = found[0]
    heading = ("set of seeds", "mean test accuracy", "standard deviation", "difference", "from", "to", "p")
    rows = [
        (record.name, f"{mean.value:.2%}", f"{100 * (mean.sd or 0):.2f} points", *_apart(record, first))
        for record, mean in found
    ]
    told = (
        f"Less the mean of {first.name}, with the 95% interval and p-value of Welch's t-test over the seeds. It "
        "speaks of the recipes; what follows, run by run, of these networks alone."
    )
    return [Table(heading, rows), Text(told), *_alone([record for record, _ in found])]


def _alone(records: Sequence[RunRecord]) -> list[Block]:
    """Why a set has no interval."""
    first = records[0]
    told: list[Block] = []
    for record in records[1:]:
        held = against(record, None, first, None)
        if record.digest != first.digest:
            told.append(Text(f"{record.name} cannot be held against {first.name}: {held.why_not}."))
        elif held.p_value is None:
            told.append(Text(f"{record.name} and {first.name} have no test: their seeds do not differ."))
    return told


def _apart(record: RunRecord, first: RunRecord) -> tuple[str, ...]:
    if record is first:
        return "", "", "", ""
    if record.digest != first.digest:
        return "-", "-", "-", "-"
    held = against(record, None, first, None)
    ends = (cells(points, each) for each in (held.difference, held.low, held.high))
    return (*ends, cells(lambda p: f"{p:.4f}" if p >= 0.0001 else "< 0.0001", held.p_value))
