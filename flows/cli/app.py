"""The commands and their options; what they do stands in modules of their own."""

from typing import Annotated

import typer

from flows.cli import app_care, app_compare, app_life, app_run, app_runs, app_team, app_use, console
from flows.cli.options import DatasetOption, DebugOption, PromoteOption, RecipeOption, SetOption

app = typer.Typer(
    name="sentiflow",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Train, track, register and use a sentiment model of film reviews.",
    epilog="Settings are read from SENTIFLOW_* variables and .env; the README lists them.",
)


@app.command(
    epilog="""Examples:

    sentiflow train

    sentiflow train --dataset sample --set epochs=2 --seed 7

    sentiflow train --recipe tuned --repeats 5 --promote

    sentiflow train --recipe my-recipe.toml --dataset reviews.csv"""
)
def train(
    recipe: RecipeOption = "seed",
    changes: SetOption = None,
    dataset: DatasetOption = "imdb",
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="Of the first weights and of the order of reviews.")
    ] = 0,
    repeats: Annotated[
        int,
        typer.Option(min=1, max=1000, help="Train this many seeds, counted up from --seed; register the best."),
    ] = 1,
    promote: PromoteOption = False,
    or_sample: Annotated[
        bool, typer.Option("--or-sample", help="Train on the sample when the dataset cannot be fetched.")
    ] = False,
    debug: DebugOption = False,
) -> None:
    """Fetch, prepare, train, evaluate and register: the main job."""
    console.set_up(debug=debug)
    from flows.cli import train as command

    if not debug:
        console.filter_native_lines()

    command.run(recipe, changes or [], dataset, seed, repeats, promote=promote, or_sample=or_sample)


@app.command(
    epilog="""Examples:

    sentiflow data

    sentiflow data --dataset reviews.csv --set sequence_length=200"""
)
def data(
    dataset: DatasetOption = "imdb",
    recipe: RecipeOption = "seed",
    changes: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Show a dataset: counts, lengths, balance, and the first review as ids and words."""
    console.set_up(debug=debug)
    from flows.cli import data as command

    command.run(dataset, recipe, changes or [])


app_runs.add_to(app)
app_compare.add_to(app)
app_life.add_to(app)
app_use.add_to(app)
app_run.add_to(app)
app_team.add_to(app)
app_care.add_to(app)


@app.command(
    epilog="""Examples:

    sentiflow ui

    sentiflow ui --port 5001"""
)
def ui(
    port: Annotated[
        int | None, typer.Option(min=1, max=65_535, help="Port; by default the one in SENTIFLOW_UI_URL.")
    ] = None,
    debug: DebugOption = False,
) -> None:
    """Start the MLflow UI and print its address; Ctrl-C ends it."""
    console.set_up(debug=debug)
    from flows.cli import ui as command

    command.run(port)
