"""A comparison of runs on a terminal: columns fold into blocks that fit its width."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.table import Table

from flows.cli.tables import GAP, PIPE, Column, accuracy_text, print_columns, value_text
from sentiflow.console import Console, escape
from sentiflow.runs.comparison import ACCURACY, Against, Figure, differing, figure
from sentiflow.runs.record import TRIAL, RunRecord, number
from sentiflow.tracking.store import PARENTS

_DIGEST = 12  # characters of a digest that tell it apart
_LONG = 10  # characters of a number that is shown rounded
_DIGITS = range(4, 18)  # of a rounded number: as many as tell the runs apart, and 17 tell any two
_WIDEST = 32  # characters of a run's cell; longer ones fold
_CHANCE = 0.05

Row = tuple[str, list[str]]


@dataclass(frozen=True)
class Page:
    """Runs, numbered from 1, and where they are printed."""

    runs: Sequence[RunRecord]
    console: Console

    def show(self, metrics: Sequence[str], held: Sequence[Against]) -> None:
        """Print the runs, the parameters that differ, the metrics, and each run held against the first."""
        if not self.console.is_terminal:
            self.console.width = max(self.console.width, PIPE)
        self._list()
        parameters = [(name, _parameters(name, values)) for name, values in differing(self.runs).items()]
        if parameters:
            self._blocks("Parameters that differ", parameters)
        else:
            self.console.print("\n[bold]No parameter differs[/]")
        self._blocks("Metrics", [row for name in metrics for row in self._rows(name)])
        self._differences(held)

    def _list(self) -> None:
        accuracies = [accuracy_text(one) for one in self.runs]
        columns = [
            Column("", self._numbers(), right=True),
            Column("id", [one.run_id[:8] for one in self.runs]),
            Column("name", [one.name for one in self.runs], shrinks=True),
            Column("accuracy", accuracies, 0 if any(accuracies) else 1, right=True),
            Column("kind", [one.trial or one.kind for one in self.runs], 1),
            Column("started", [f"{one.started.astimezone():%Y-%m-%d %H:%M}" for one in self.runs], 2),
        ]
        print_columns(columns, self.console, tell=False)

    def _numbers(self) -> list[str]:
        return [str(place + 1) for place in range(len(self.runs))]

    def _heads(self) -> list[str]:
        """Numbers of the columns, of a trial with the number that its sweep calls it by."""
        numbered = zip(self._numbers(), self.runs, strict=True)
        return [f"{number}: {one.trial}" if one.trial else number for number, one in numbered]

    def _rows(self, name: str) -> list[Row]:
        """The row of a metric, and below it one of its intervals and deviations, if it has any."""
        found = [figure(one, name) for one in self.runs]
        rows = [(name, [_figure(name, one) for one in found])]
        if any(one and (one.low is not None or one.sd is not None) for one in found):
            rows.append(("  interval or deviation", [_uncertainty(name, one) for one in found]))
        return rows

    def _blocks(self, title: str, rows: Sequence[Row]) -> None:
        """Print rows with a column a run, in blocks; the first run stands in each."""
        heads = self._heads()
        widths = [max(cell_len(text) for text in (head, *(cells[at] for _, cells in rows)))
                  for at, head in enumerate(heads)]  # fmt: skip
        label = max((cell_len(name) for name, _ in rows), default=0)
        for block in _fold([min(width, _WIDEST) for width in widths], self.console.width - label):
            table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0))
            table.add_column("", overflow="fold")
            for at in block:
                table.add_column(heads[at], justify="right", overflow="fold", max_width=_WIDEST)
            for name, cells in rows:
                table.add_row(escape(name), *(escape(cells[at]) for at in block))
            self.console.print(f"\n[bold]{title}[/]")
            self.console.print(table)

    def _differences(self, held: Sequence[Against]) -> None:
        if all(one.kind == TRIAL for one in self.runs):
            self.console.print("\nTrials see no test review: what they are compared by is the validation loss.")
            return
        self.console.print(f"\n[bold]Test accuracy less that of 1[/] ({escape(self.runs[0].name)})")
        columns = [
            Column("", self._numbers()[1:], right=True),
            Column(
                "points", ["" if one.difference is None else _points(one.difference) for one in held], right=True
            ),
            Column("95% interval", [_interval(one) for one in held]),
            Column("p", ["" if one.p_value is None else _p(one.p_value) for one in held], right=True),
            Column("gained", ["" if one.paired is None else f"{one.paired.gained:,}" for one in held], right=True),
            Column("lost", ["" if one.paired is None else f"{one.paired.lost:,}" for one in held], right=True),
            Column("", [self._verdict(run, one) for run, one in zip(self.runs[1:], held, strict=True)]),
        ]
        print_columns(columns, self.console, tell=False)
        for place, one in zip(self._numbers()[1:], held, strict=True):
            if one.why_not:
                means = (
                    " The means are held against each other by Welch's t-test." if one.p_value is not None else ""
                )
                why = f"{place} is not paired with 1: {escape(one.why_not)}.{means}"
                self.console.print(why, soft_wrap=not self.console.is_terminal)
        alone = any(one.why_not and one.p_value is None for one in held)
        if alone and any(one.kind in PARENTS for one in self.runs):
            self.console.print(
                "To pair review by review, name a run below it in place of a parent: sentiflow runs --children"
            )
        if any(one.paired for one in held):
            self.console.print(
                "[dim]Review by review, p by McNemar's exact test; gained: only this run has it right, "
                "lost: only 1 has.[/]"
            )

    def _verdict(self, run: RunRecord, one: Against) -> str:
        """What the row says, or why it says little."""
        if one.difference is None:
            return "no test accuracy" if figure(run, ACCURACY) is None else "1 has no test accuracy"
        if one.p_value is None:
            return "not paired"
        if one.p_value >= _CHANCE:
            return "not told apart"
        return "better" if one.difference > 0 else "worse"


def _fold(widths: Sequence[int], room: int) -> Iterator[list[int]]:
    """Columns in groups that fit the room, at least two each; the first one stands in every group."""
    block, used = [0], GAP + widths[0]
    for at in range(1, len(widths)):
        if used + GAP + widths[at] > room and len(block) > 1:
            yield block
            block, used = [0], GAP + widths[0]
        block.append(at)
        used += GAP + widths[at]
    yield block


def _parameters(name: str, values: Sequence[str | None]) -> list[str]:
    """A parameter's values: digests and long fractions are cut, but so that what differs still does."""
    if name.endswith("digest"):
        return ["-" if value is None else value[:_DIGEST] for value in values]
    different = len({number(value) or value for value in values})
    for digits in _DIGITS:
        cells = [_rounded(value, digits) for value in values]
        if len(set(cells)) >= different:
            break
    return cells


def _rounded(value: str | None, digits: int) -> str:
    if value is None:
        return "-"
    found = number(value) if len(value) > _LONG and "." in value else None
    return value if found is None else f"{found:.{digits}g}"


def _figure(name: str, found: Figure | None) -> str:
    if found is None:
        return "-"
    return f"{found.value:.2%}" if "accuracy" in name else value_text(found.value)


def _uncertainty(name: str, found: Figure | None) -> str:
    if found is None:
        return ""
    times = 100 if "accuracy" in name else 1
    if found.low is not None and found.high is not None:
        return f"{times * found.low:.4g} to {times * found.high:.4g}"
    return "" if found.sd is None else f"sd {times * found.sd:.2g}"


def _points(difference: float) -> str:
    return f"{100 * difference:+.2f}"


def _interval(one: Against) -> str:
    return "" if one.low is None or one.high is None else f"{_points(one.low)} to {_points(one.high)}"


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else f"{value:.1e}"
