"""The commands that make runs to compare."""

from pathlib import Path
from typing import Annotated

import typer

from flows.cli import console
from flows.cli.options import DatasetOption, DebugOption, PromoteOption, RecipeOption, SetOption


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog=_SWEEP)(sweep)
    app.command(epilog=_BASELINES)(baselines)
    app.command(epilog=_REPORT)(report)


_SWEEP = """Examples:

    sentiflow sweep --trials 40

    sentiflow sweep --dataset sample --trials 12 --workers 2 --set epochs=4

    sentiflow sweep --space my-space.toml --recipe seed --repeats 5 --promote

Killed, and started again with the same command, it goes on where it was. Workers are processes of this machine, or
what SENTIFLOW_TASK_RUNNER says."""


def sweep(
    trials: Annotated[int, typer.Option(min=1, max=10_000, help="How many trials are to be finished.")] = 20,
    workers: Annotated[
        int | None,
        typer.Option(min=1, max=256, help="How many run side by side, a core each; by default one a core."),
    ] = None,
    recipe: RecipeOption = "tuned",
    changes: SetOption = None,
    dataset: DatasetOption = "imdb",
    space: Annotated[
        Path | None, typer.Option("--space", metavar="FILE", help="A TOML file of fields and their ranges.")
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="Of the search, and of each trial's training.")
    ] = 0,
    repeats: Annotated[
        int, typer.Option(min=1, max=1000, help="With how many seeds, from 0 on, the best recipe is trained.")
    ] = 3,
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="Tells sweeps with the same options apart.")
    ] = "",
    restart: Annotated[
        bool, typer.Option("--restart", help="Begin anew, whatever a killed sweep has finished.")
    ] = False,
    promote: PromoteOption = False,
    debug: DebugOption = False,
) -> None:
    """Search for better values of a recipe's fields, and register the best by validation."""
    console.set_up(debug=debug)
    from flows.cli import sweep as command

    if not debug:
        console.filter_native_lines()

    command.run(
        recipe,
        changes or [],
        dataset,
        space,
        seed=seed,
        trials=trials,
        workers=workers,
        repeats=repeats,
        name=name,
        restart=restart,
        promote=promote,
    )


_BASELINES = """Examples:

    sentiflow baselines

    sentiflow baselines --dataset sample --recipe seed

    sentiflow baselines --only majority --only tfidf"""


def baselines(
    recipe: RecipeOption = "tuned",
    changes: SetOption = None,
    dataset: DatasetOption = "imdb",
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="Of first weights and of the order of reviews.")
    ] = 0,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="majority, tfidf, embeddings, gru or lstm; may be repeated."),
    ] = None,
    debug: DebugOption = False,
) -> None:
    """Train the recipe's network beside simpler and other models, and compare them."""
    console.set_up(debug=debug)
    from flows.cli import baselines as command

    if not debug:
        console.filter_native_lines()

    command.run(recipe, changes or [], dataset, seed, only or [])


_REPORT = """Examples:

    sentiflow report 3f2a -o report.html

    sentiflow report imdb-sentiment@champion imdb-sentiment/7 --markdown summary.md

    sentiflow report 9bc1 --log

A run is named as for `compare`: by its id or the beginning of it, by its name, or by the version that it made. A
parent (repeats, sweep, baselines) stands for the finished runs below it; beside others a sweep stands for its best
recipe's seeds."""


def report(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="One run, or several to compare.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="The page; by default report-ID.html, here."),
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the summary there instead of showing it.")
    ] = None,
    log: Annotated[
        bool, typer.Option("--log/--no-log", help="Store the page on the first run, too, as an artifact.")
    ] = False,
    debug: DebugOption = False,
) -> None:
    """Write what there is to tell of a run, or of several held against each other, as a page and a summary."""
    console.set_up(debug=debug)
    from flows.cli import report as command

    command.run(runs, output, markdown, log=log)
