"""``sentiflow runs`` and ``sentiflow compare``: runs, listed and held against each other."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from flows.cli.options import INSPECT, JsonOption, command, file_option
from flows.cli.output import (
    check_page,
    print_json,
    print_report,
    print_table,
    short_moment,
    stdout_for,
    write_page,
)  # fmt: skip
from sentiflow.console import CONSOLE, Console, escape, working
from sentiflow.errors import UsageError
from sentiflow.redaction import redact
from sentiflow.reports.blocks import Table
from sentiflow.run.record import FIELDS, REPEATS, Query, RunRecord, select

if TYPE_CHECKING:
    from sentiflow.settings import Settings
    from sentiflow.store.records import Store

app = typer.Typer()


@command(
    app,
    INSPECT,
    "sentiflow runs",
    "sentiflow runs --since 7d --sort -accuracy",
    "sentiflow runs --recipe tuned --children",
    "sentiflow runs --kind trial --sort val/loss --json",
)
def runs(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=100_000, help="Most runs.")] = 10,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            "--kind", "-k", help="Kind: training, repeats, repeat, sweep, trial, reproduction or monitor."
        ),
    ] = None,
    recipe: Annotated[list[str] | None, typer.Option("--recipe", "-r", help="Recipe.")] = None,
    dataset: Annotated[list[str] | None, typer.Option("--dataset", "-d", help="Dataset.")] = None,
    status: Annotated[
        list[str] | None, typer.Option("--status", help="Status: running, finished, failed or killed.")
    ] = None,
    since: Annotated[
        str, typer.Option("--since", metavar="DATE|SPAN", help="After a date (2026-03-05), or within a span (7d).")
    ] = "",
    sort: Annotated[
        str, typer.Option("--sort", metavar="NAME", help="Sort by NAME, or by -NAME from the highest.")
    ] = "",
    children: Annotated[bool, typer.Option("--children", help="Include child runs: repeats, trials.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List runs, newest first.

    NAME is accuracy, seconds, name, kind, recipe, dataset, seed, status, id, started or a metric (test/loss).
    """
    from sentiflow.settings import load_settings
    from sentiflow.store.find import open_store

    query = Query(kind or (), recipe or (), dataset or (), status or (), since, sort, children=children)
    store = open_store(settings := load_settings())
    now = datetime.now()  # of this machine's clock, which dates are meant by
    plain = query == Query(children=children)  # what an old run has decides nothing
    every, whole = store.newest(lambda newest: plain and _are_enough(newest, query, limit, now))
    found = select(every, query, now)
    top = found if sort else _top(found)
    listed = Listed(
        top[:limit] if sort else _with_below(top[:limit], found),
        Counter(one.parent for one in every if one.parent),
        _versions(store, every),
    )
    stdout = Console()
    if as_json:
        print_json(stdout, listed.records())
    elif not every:
        where = f"the experiment {settings.experiment} of {redact(settings.tracking_uri)}"
        stdout.say(escape(f"No runs in {where}. Make one: sentiflow train"))
    elif not found:
        stdout.print(f"None of {len(every):,} runs matches. All runs: sentiflow runs --children", soft_wrap=True)
    else:
        print_table(listed.table(), stdout)
        if (more := len(top) - limit) > 0:
            rest = f"{more:,} more: --limit {len(top)}" if whole else f"More: --limit {10 * limit}"
            stdout.print(f"[dim]{rest}[/]")


@dataclass(frozen=True)
class Listed:
    """The runs to show, how many children each run has, and the registered versions by run or by its parent."""

    rows: Sequence[RunRecord]
    children: Mapping[str, int]
    versions: Mapping[str, str]

    def table(self) -> Table:
        heading = ("id", "name", "dataset", "accuracy", "version", "started")
        rows = [
            (one.run_id[:8], name, one.dataset, _accuracy(one), self._version(one), _start(one))
            for one, name in zip(self.rows, self._names(), strict=True)
        ]
        return Table(heading, rows, words=6)

    def _names(self) -> list[str]:
        """Short names, those of children set in below their parent's."""
        short = [one.short_name for one in self.rows]
        names: list[str] = []
        above: list[str] = []  # the parents, each below the one before, that the next row may stand below
        for one, name in zip(self.rows, short, strict=True):
            while above and one.parent != above[-1]:
                above.pop()
            names.append(f"{'  ' * (len(above) - 1)}- {name}" if above else name)
            above.append(one.run_id)
        return names

    def _version(self, one: RunRecord) -> str:
        """The registered version (the dataset names its model), else the state of a run that has not finished."""
        if one.run_id in self.versions:
            return f"v{self.versions[one.run_id].rpartition('/')[2]}"
        return "-" if one.status == "FINISHED" else one.status.lower()

    def records(self) -> list[dict[str, Any]]:
        """Everything that is known of each run, but for its description."""
        return [
            {name: get(one) for name, get in FIELDS.items()}
            | {
                "started": one.started,
                "version": self.versions.get(one.run_id),
                "parent": one.parent,
                "children": self.children.get(one.run_id, 0),
                "metrics": dict(sorted(one.metrics.items())),
                "params": dict(sorted(one.params.items())),
                "tags": {key: one.tags[key] for key in sorted(one.tags) if key != "mlflow.note.content"},
            }
            for one in self.rows
        ]


def _versions(store: "Store", runs: Sequence[RunRecord]) -> dict[str, str]:
    """Registered versions by the id of the run that made them, and of its parent, once that has finished."""
    own = store.versions_by_run()
    finished = {one.run_id for one in runs if one.status == "FINISHED"}
    made = [one for one in reversed(runs) if one.run_id in own]  # of several below a parent the newest counts
    of_parents = {one.parent: own[one.run_id] for one in made if one.parent in finished}
    return {**of_parents, **own}


def _are_enough(newest: Sequence[RunRecord], query: Query, limit: int, now: datetime) -> bool:
    """Whether older runs would change nothing of what is listed.

    What stands below a run is newer than it is, but for the trials of a sweep that another one continues.
    """
    ids, top = {one.run_id for one in newest}, _top(select(newest, query, now))
    orphans = [one for one in newest if one.parent and one.parent not in ids]  # theirs is older, or was deleted
    return (
        len(top) > limit
        and all(one.started < top[limit - 1].started for one in [*orphans, newest[-1]])
        and not any("continues" in one.tags for one in top[:limit])
    )


def _top(found: Sequence[RunRecord]) -> list[RunRecord]:
    """Those that are not below another one of them."""
    ids = {one.run_id for one in found}
    return [one for one in found if one.parent not in ids]


def _with_below(top: Sequence[RunRecord], found: Sequence[RunRecord]) -> list[RunRecord]:
    """Each with those below it, oldest first, and in turn those below these."""
    below: dict[str | None, list[RunRecord]] = {}
    for one in reversed(found):
        below.setdefault(one.parent, []).append(one)

    def with_below(one: RunRecord) -> list[RunRecord]:
        return [one, *(row for child in below.get(one.run_id, ()) for row in with_below(child))]

    return [row for one in top for row in with_below(one)]


def _accuracy(one: RunRecord) -> str:
    """The test accuracy, of a set of repeats the mean."""
    value = FIELDS["accuracy"](one)
    return f"{value:.2%}{' (mean)' if one.kind == REPEATS else ''}" if isinstance(value, float) else ""


def _start(one: RunRecord) -> str:
    return short_moment(one.started.astimezone())


@command(
    app,
    INSPECT,
    "sentiflow compare 3f9a 81bc",
    "sentiflow compare imdb-sentiment@champion imdb-sentiment/7 --html comparison.html",
    "sentiflow compare 3f9a --html report.html",
    "sentiflow compare imdb-sentiment@champion imdb-sentiment/7 --on log",
    note="A parent run (repeats, sweep) stands for its finished child runs.",
)
def compare(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...",
            help="Beginning of an id, a name, or a version (imdb-sentiment/3, imdb-sentiment@champion).",
        ),
    ],
    html: Annotated[
        Path | None, file_option("--html", help="Write an HTML report with plots and reviews.")
    ] = None,
    markdown: Annotated[
        Path | None, file_option("--markdown", help="Write the report's summary as Markdown.")
    ] = None,
    on: Annotated[
        Literal["log"] | None,
        typer.Option("--on", help="Instead of runs, the answers of two versions on the logged texts."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare runs with the first one, or report on one alone.

    Shows the difference in accuracy on the same test reviews, the parameters that differ, and the metrics.
    """
    from sentiflow.reports.one_run import errors_page
    from sentiflow.reports.several_runs import record, report_of
    from sentiflow.reports.summary import load_summaries
    from sentiflow.settings import load_settings
    from sentiflow.store.find import find_runs, open_store

    check_page("--html", html)
    check_page("--markdown", markdown, ".md")
    settings = load_settings()
    store = open_store(settings)
    if on is not None:
        if len(names) != 2:
            raise UsageError("--on log takes two versions.", _ON_LOG)
        _replay(store, names, settings, html, markdown, as_json=as_json)
        return
    found = find_runs(store, names)
    stdout, whole = Console(), html is not None
    with working("Reading the runs"):
        summaries = load_summaries(store, found, settings, whole=whole)
    table, test_data = summaries[0].table, summaries[0].test_data
    alone = len(summaries) == 1 and table is not None and test_data is not None
    beside = html.with_name(f"{html.stem}-errors.html") if html is not None and alone else None
    name = "" if beside is None else beside.name
    made = report_of(found, summaries, whole=whole, beside=name)
    if as_json:
        print_json(stdout, record(summaries))
    else:
        print_report(made, stdout)
    notes = CONSOLE if as_json else stdout
    if html is not None:
        with working("Drawing the report"):
            page = made.page()
        write_page(html, page, notes)
    if beside is not None and table is not None and test_data is not None:
        write_page(beside, errors_page(summaries[0].record, table, test_data), notes)
    if markdown is not None:
        write_page(markdown, made.markdown(), notes)


_ON_LOG = "sentiflow compare imdb-sentiment@champion imdb-sentiment/7 --on log"


def _replay(
    store: "Store", names: Sequence[str], settings: "Settings", html: Path | None, markdown: Path | None, *,
    as_json: bool,
) -> None:  # fmt: skip
    from sentiflow.monitoring.replay import replay
    from sentiflow.store.records import Version
    from sentiflow.training.start_from import version_meant

    (one, first), (other, second) = (version_meant(store, name) for name in names)
    with working("Scoring the log"):
        found = replay(Version(one, first.number, ""), Version(other, second.number, ""), settings)
    stdout, report = stdout_for(found, as_json=as_json), found.report()
    print_report(report, stdout)
    for file, content in ((html, report.page), (markdown, report.markdown)):
        if file is not None:
            write_page(file, content(), CONSOLE if as_json else stdout)
