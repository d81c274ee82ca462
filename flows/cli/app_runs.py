"""The commands that find runs and hold them against each other."""

from typing import Annotated

import typer

from flows.cli import console
from flows.cli.options import DebugOption

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog=_RUNS)(runs)
    app.command(epilog=_COMPARE)(compare)


_RUNS = """Examples:

    sentiflow runs

    sentiflow runs --since 7d --where "test/accuracy>=0.88" --sort -accuracy

    sentiflow runs --recipe tuned --columns units,val/loss --children

    sentiflow runs --kind trial --where params.units=32 --json"""


def runs(
    most: Annotated[int, typer.Option("--most", "-n", min=1, max=100_000, help="How many runs to list.")] = 10,
    kind: Annotated[
        list[str] | None,
        typer.Option("--kind", "-k", help="training, repeats, seed, sweep, trial, baselines, baseline, monitor."),
    ] = None,
    recipe: Annotated[list[str] | None, typer.Option("--recipe", "-r", help="Only those of a recipe.")] = None,
    dataset: Annotated[list[str] | None, typer.Option("--dataset", "-d", help="Only those on a dataset.")] = None,
    status: Annotated[
        list[str] | None, typer.Option("--status", help="running, finished, failed or killed.")
    ] = None,
    since: Annotated[
        str,
        typer.Option("--since", metavar="DATE|SPAN", help="Begun since a date (2026-03-05) or within 7d."),
    ] = "",
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where",
            "-w",
            metavar="CONDITION",
            help="A metric, parameter or tag, a sign (= != < <= > >=, ~ for contains) and a value; all must hold.",
        ),
    ] = None,
    sort: Annotated[
        str, typer.Option("--sort", metavar="NAME", help="Sort by it; -NAME from the highest down.")
    ] = "",
    columns: Annotated[
        list[str] | None,
        typer.Option("--columns", "--metric", "-c", metavar="NAMES", help="More to show, separated by commas."),
    ] = None,
    children: Annotated[
        bool, typer.Option("--children", help="List the runs below others, too: seeds, trials, baselines.")
    ] = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """List runs, newest first, or find those that meet conditions.

    NAME is accuracy, seconds, started, name, kind, recipe, dataset, seed or status, or that of any metric
    (test/loss), parameter (units) or tag (started_by); metrics., params. or tags. before it says which is meant.
    """
    console.set_up(debug=debug)
    from flows.cli import runs as command
    from sentiflow.runs.query import Query

    query = Query(
        kind or (), recipe or (), dataset or (), status or (), since, where or (), sort, children=children
    )
    command.run(query, most, columns or (), as_json=as_json)


_COMPARE = """Examples:

    sentiflow compare 3f9a 81bc

    sentiflow compare imdb-sentiment@champion imdb-sentiment/7 --all

    sentiflow compare seed-imdb-seeds0to4-261125-150320"""


def compare(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...",
            help="The beginning of an id, a name, or a version (imdb-sentiment/3, imdb-sentiment@champion).",
        ),
    ],
    everything: Annotated[bool, typer.Option("--all", help="Show every metric, not only the main ones.")] = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Hold runs against the first: what differs, the metrics, and whether accuracies differ beyond chance.

    One run that has others below it (repeats, a sweep, baselines) stands for these.
    """
    console.set_up(debug=debug)
    from flows.cli import compare as command

    command.run(names, everything=everything, as_json=as_json)
