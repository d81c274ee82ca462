"""``sentiflow compare``: a table, a page, a summary."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.cells import cell_len
from rich.table import Table

from flows.cli.options import INSPECT, JsonOption, command
from flows.cli.tables import (
    GAP,
    Column,
    accuracy_text,
    check_page,
    kind_cells,
    percent_interval,
    print_columns,
    print_json,
    value_text,
    version_text,
    widen,
    write_page,
)
from sentiflow.console import CONSOLE, Console, escape, working
from sentiflow.runs.record import TRIAL, RunRecord, number

if TYPE_CHECKING:
    from sentiflow.evaluation.score_table import ScoreTable
    from sentiflow.runs.comparison import AccuracyDifference, Figure
    from sentiflow.settings import Settings
    from sentiflow.tracking.types import Store

_MAIN = (
    "test/", "baseline/accuracy", "baseline/difference", "val/", "time.train", "time.evaluate", "time.total",
)  # fmt: skip
_DIGEST = 12  # characters of a digest that identify it
_LONG = 10  # characters of a number that is shown rounded
_DIGITS = range(4, 18)  # of a rounded number: as many as it takes to distinguish the runs; 17 distinguish any two
_WIDEST = 32  # characters of a run's cell; longer ones fold

Row = tuple[str, list[str]]

app = typer.Typer()


_COMPARISON = "comparison.html"  # beside a run's own report
# The report that the training wrote has explanations that cannot be made again where no version keeps the weights.
_REBUILT = "report-rebuilt.html"


@command(
    app,
    INSPECT,
    "sentiflow compare 3f9a 81bc",
    "sentiflow compare imdb-sentiment@champion imdb-sentiment/7 --html comparison.html",
    "sentiflow compare 3f9a --html report.html",
    note="A parent run (repeats, sweep, baselines) that is named alone stands for its finished child runs. Beside "
    "other runs the table shows the parent itself, and --html its child runs.",
)
def compare(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...",
            help="Beginning of an id, a name, or a version (imdb-sentiment/3, imdb-sentiment@champion).",
        ),
    ],
    everything: Annotated[bool, typer.Option("--all", help="Show every metric, not only the main ones.")] = False,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write an HTML report with plots and reviews.")
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option("--markdown", metavar="FILE", help="Write the report's summary as Markdown.")
    ] = None,
    artifact: Annotated[
        bool, typer.Option("--log-artifact", help="Store the HTML report as an artifact of the first run.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare runs with the first one.

    Shows the parameters that differ, the metrics, and the difference in accuracy on the same test reviews.
    """
    from sentiflow.settings import load_settings
    from sentiflow.tracking.store import find_runs, open_store

    check_page("--html", html)
    check_page("--markdown", markdown, ".md")
    settings = load_settings()
    store = open_store(settings)
    found = find_runs(store, names)
    stdout = Console()
    _compare(store, found, stdout, everything=everything, as_json=as_json)
    if html is None and markdown is None and not artifact:
        return
    notes = CONSOLE if as_json else stdout
    with working("Writing the report"):
        from sentiflow.tracking.reports import report_of  # it imports matplotlib

        made = report_of(store, found, settings)
    if html is not None or artifact:
        page = made.page()
    if html is not None:
        write_page(html, page, notes)
    if markdown is not None:
        write_page(markdown, made.markdown(), notes)
    if artifact:
        _log(settings, store, found, page, notes)


def _compare(
    store: "Store", found: Sequence[RunRecord], stdout: Console, *, everything: bool, as_json: bool
) -> None:
    from tempfile import TemporaryDirectory

    from sentiflow.runs.comparison import metric_names
    from sentiflow.tracking.store import score_table

    runs = _represented(store, found)
    with working("Reading the test scores"), TemporaryDirectory() as folder:
        tables = [score_table(store, one, Path(folder)) for one in runs]
    metrics = metric_names(runs)
    shown = [name for name in metrics if everything or as_json or name.startswith(_MAIN)]
    comparison = side_by_side(runs, store.versions_by_run(), tables, shown)
    if as_json:
        print_json(stdout, comparison.record())
        return
    comparison.print(stdout)
    if hidden := len(metrics) - len(shown):
        stdout.print(f"\n[dim]{hidden} more metric{'s' if hidden > 1 else ''}: --all[/]")


def _represented(store: "Store", found: Sequence[RunRecord]) -> Sequence[RunRecord]:
    """The runs that were named; if that is one parent alone, its child runs."""
    from sentiflow.tracking.store import child_runs

    if len(found) > 1:
        return found
    below = child_runs(store, found[0])
    scored = [one for one in below if one.kind != TRIAL]
    # Of a sweep its best recipe's seeds: trials see no test review.
    return scored or below or found


@dataclass(frozen=True)
class SideBySide:
    """Runs, numbered from 1, and what is printed of them: columns fold into blocks that fit the terminal's width.

    Each metric, and each parameter that differs, has a value a run.

    Attributes:
        versions: the registered version that each made, such as ``imdb-sentiment/3``, or None.
        held: each run but the first against the first.
    """

    runs: Sequence[RunRecord]
    versions: Sequence[str | None]
    parameters: "Mapping[str, Sequence[str | None]]"
    figures: "Mapping[str, Sequence[Figure | None]]"
    held: "Sequence[AccuracyDifference]"

    def record(self) -> dict[str, Any]:
        """The comparison for scripts."""
        return {
            "runs": [
                {"id": one.run_id, "name": one.name, "kind": one.kind, "status": one.status, "version": version}
                for one, version in zip(self.runs, self.versions, strict=True)
            ],
            "parameters": self.parameters,
            "metrics": self.figures,
            "against_the_first": [
                {"id": one.run_id, **asdict(outcome)}
                for one, outcome in zip(self.runs[1:], self.held, strict=True)
            ],
        }

    def print(self, stdout: Console) -> None:
        """Print the runs, the parameters that differ, the metrics, and each run compared with the first."""
        widen(stdout)
        self._list(stdout)
        alone = len(self.runs) == 1
        if self.parameters:
            rows = [(name, _parameters(name, values)) for name, values in self.parameters.items()]
            self._blocks("Parameters that differ", rows, stdout)
        elif not alone:
            stdout.print("\n[bold]No parameter differs[/]")
        metrics = [row for name, figures in self.figures.items() for row in _rows(name, figures)]
        self._blocks("Metrics", metrics, stdout)
        if not alone:
            self._differences(stdout)

    def _list(self, stdout: Console) -> None:
        accuracies = [accuracy_text(one) for one in self.runs]
        columns = [
            Column("", self._numbers(), right=True),
            Column("id", [one.run_id[:8] for one in self.runs], whole=True),
            Column("name", [one.short_name for one in self.runs], shrinks=True),
            Column("accuracy", accuracies, 0 if any(accuracies) else 1, right=True),
            Column("version", [version_text(each or "") for each in self.versions], 1),
            Column("kind", kind_cells([one.trial or one.kind for one in self.runs]), 2),
            Column("started", [f"{one.started.astimezone():%Y-%m-%d %H:%M}" for one in self.runs], 3),
        ]
        print_columns(columns, stdout)

    def _numbers(self) -> list[str]:
        return [str(place + 1) for place in range(len(self.runs))]

    def _blocks(self, title: str, rows: Sequence[Row], stdout: Console) -> None:
        """Print rows with a column a run, in blocks; the first run is in each."""
        numbered = zip(self._numbers(), self.runs, strict=True)
        # Of a trial also the number that its sweep calls it by.
        heads = [f"{number}: {one.trial}" if one.trial else number for number, one in numbered]
        widths = [max(cell_len(text) for text in (head, *(cells[at] for _, cells in rows)))
                  for at, head in enumerate(heads)]  # fmt: skip
        label = max((cell_len(name) for name, _ in rows), default=0)
        for place, block in enumerate(_fold([min(width, _WIDEST) for width in widths], stdout.width - label)):
            table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0))
            table.add_column("", overflow="fold")
            for at in block:
                table.add_column(escape(heads[at]), justify="right", overflow="fold", max_width=_WIDEST)
            for name, cells in rows:
                table.add_row(escape(name), *(escape(cells[at]) for at in block))
            stdout.print(f"\n[bold]{title}{', continued' if place else ''}[/]")
            stdout.print(table)

    def _differences(self, stdout: Console) -> None:
        from sentiflow.runs.comparison import HEADING, verdict
        from sentiflow.tracking.store import PARENTS

        if all(one.kind == TRIAL for one in self.runs):
            stdout.print("\nTrials see no test review: what they are compared by is the validation loss.")
            return
        stdout.print("\n[bold]Difference in test accuracy to run 1[/]")
        held, numbers = self.held, self._numbers()[1:]
        cells = zip(HEADING, zip(*(one.cells("") for one in held), strict=True), strict=True)
        columns = [
            Column("", numbers, right=True),
            *(Column(name, found, right=name != "95% interval") for name, found in cells),
            Column("", [verdict(run, self.runs[0], one) for run, one in zip(self.runs[1:], held, strict=True)]),
        ]
        print_columns(columns, stdout)
        for place, one in zip(numbers, held, strict=True):
            if one.why_not:
                means = " The means are compared by Welch's t-test." if one.p_value is not None else ""
                why = f"{place} is not paired with 1: {escape(one.why_not)}.{means}"
                stdout.print(why, soft_wrap=not stdout.is_terminal)
        alone = any(one.why_not and one.p_value is None for one in held)
        if alone and any(one.kind in PARENTS for one in self.runs):
            stdout.print(
                "To pair review by review, name a run below it in place of a parent: sentiflow runs --children"
            )
        if any(one.paired for one in held):
            stdout.print(
                "[dim]On the same reviews, p by McNemar's exact test. only here: right here and wrong in run 1; "
                "only in 1: wrong here and right in run 1.[/]"
            )


def side_by_side(
    runs: Sequence[RunRecord],
    versions: Mapping[str, str],
    tables: "Sequence[ScoreTable | None]",
    metrics: Sequence[str],
) -> SideBySide:
    """Compare runs, of which each has a table of its scores, or none, by these metrics; versions by run."""
    from sentiflow.runs.comparison import accuracy_difference, differing, figure

    (first, first_table), *others = zip(runs, tables, strict=True)
    return SideBySide(
        runs,
        [versions.get(one.run_id) for one in runs],
        differing(runs),
        {name: [figure(one, name) for one in runs] for name in metrics},
        [accuracy_difference(one, table, first, first_table) for one, table in others],
    )


def _fold(widths: Sequence[int], room: int) -> Iterator[list[int]]:
    """Columns in groups that fit the room, at least two each; the first one is in every group."""
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


def _rows(name: str, figures: "Sequence[Figure | None]") -> list[Row]:
    """The row of a metric, and below it one of its intervals and deviations, if it has any."""
    rows = [(name, [_figure(name, one) for one in figures])]
    interval = any(one and one.low is not None for one in figures)
    deviation = any(one and one.sd is not None for one in figures)
    what = " or ".join(["95% interval"] * interval + ["standard deviation over seeds"] * deviation)
    if what:
        rows.append((f"  {what}", [_uncertainty(name, one) for one in figures]))
    return rows


def _figure(name: str, found: "Figure | None") -> str:
    if found is None:
        return "-"
    if "difference" in name:
        from sentiflow.evaluation.statistics import format_points

        return format_points(found.value)
    return f"{found.value:.2%}" if _is_share(name) else value_text(found.value)


def _is_share(name: str) -> bool:
    return "accuracy" in name or name.endswith("_share")


def _uncertainty(name: str, found: "Figure | None") -> str:
    if found is None:
        return ""
    if found.low is not None and found.high is not None:
        if "difference" in name:
            from sentiflow.evaluation.statistics import format_interval

            return format_interval(found.low, found.high)
        return (
            percent_interval(found.low, found.high) if _is_share(name) else f"{found.low:.4g} to {found.high:.4g}"
        )
    return "" if found.sd is None else f"sd {found.sd * (100 if _is_share(name) else 1):.2g}"


def _log(settings: "Settings", store: "Store", runs: Sequence[RunRecord], page: str, stdout: Console) -> None:
    from tempfile import TemporaryDirectory

    from sentiflow.tracking.client import connect, tracking_errors  # seconds to import, so only where needed
    from sentiflow.tracking.reports import PAGE

    with TemporaryDirectory() as folder:
        own = _REBUILT if store.file(runs[0], PAGE, Path(folder)) else PAGE
    name = own if len(runs) == 1 else _COMPARISON
    client = connect(settings)
    with tracking_errors(settings.tracking_uri):
        client.log_text(runs[0].run_id, page, name)
    stdout.say(f"Stored: {name} on {escape(runs[0].name)}")
