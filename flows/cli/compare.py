"""``sentiflow compare``: a table, a page, a summary."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.options import INSPECT, JsonOption, command
from flows.cli.tables import check_page, print_json, print_report, write_page
from sentiflow.console import CONSOLE, Console, escape, working

if TYPE_CHECKING:
    from sentiflow.runs.record import RunRecord
    from sentiflow.settings import Settings
    from sentiflow.store.types import Store

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
    note="A parent run (repeats, sweep, baselines) stands for its finished child runs.",
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
    """Compare runs with the first one, or report on one alone.

    Shows the difference in accuracy on the same test reviews, the parameters that differ, and the metrics.
    """
    from sentiflow.reports.build import load_summaries, report_of
    from sentiflow.reports.several_runs import record
    from sentiflow.settings import load_settings
    from sentiflow.store.find import find_runs, open_store

    check_page("--html", html)
    check_page("--markdown", markdown, ".md")
    settings = load_settings()
    store = open_store(settings)
    found = find_runs(store, names)
    stdout, whole = Console(), html is not None or artifact
    with working("Reading the runs"):
        summaries = load_summaries(store, found, settings, whole=whole)
    made = report_of(found, summaries, everything=everything, whole=whole)
    if as_json:
        print_json(stdout, record(summaries))
    else:
        print_report(made, stdout)
    notes = CONSOLE if as_json else stdout
    if whole:
        with working("Drawing the report"):
            page = made.page()
    if html is not None:
        write_page(html, page, notes)
    if markdown is not None:
        write_page(markdown, made.markdown(), notes)
    if artifact:
        _log(settings, store, found, page, notes)


def _log(settings: "Settings", store: "Store", runs: Sequence["RunRecord"], page: str, stdout: Console) -> None:
    from tempfile import TemporaryDirectory

    from sentiflow.reports.build import PAGE
    from sentiflow.store.client import connect, tracking_errors  # seconds to import, so only where needed

    with TemporaryDirectory() as folder:
        own = _REBUILT if store.file(runs[0], PAGE, Path(folder)) else PAGE
    name = own if len(runs) == 1 else _COMPARISON
    client = connect(settings)
    with tracking_errors(settings.tracking_uri):
        client.log_text(runs[0].run_id, page, name)
    stdout.say(f"Stored: {name} on {escape(runs[0].name)}")
