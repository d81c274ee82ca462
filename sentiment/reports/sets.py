"""Sets of seeds held against the first of them: what their recipes differ by, and not only these networks."""

from collections.abc import Sequence

from sentiment.comparison import ACCURACY, Against, against, figure
from sentiment.reports.blocks import Block, Table, Text, cells
from sentiment.reports.compared import chance, points
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
    return (*(cells(points, each) for each in (held.difference, held.low, held.high)), cells(chance, held.p_value))


def _why_alone(record: RunRecord, first: RunRecord, held: Against) -> str:
    """Why a set has no interval; empty when it has one."""
    if record.digest != first.digest:
        return f"{record.name} cannot be held against {first.name}: {held.why_not}."
    return (
        ""
        if held.p_value is not None
        else f"{record.name} and {first.name} have no test: their seeds do not differ."
    )
