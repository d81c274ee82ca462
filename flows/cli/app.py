"""The Typer app of all commands.

The commands' modules import at their top only what ``--help`` needs, and what takes longer inside functions.
"""

from typing import Annotated

import typer

from flows.cli import admin, inference, models, runs, schedule, sweep, train


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"sentiflow {version('sentiflow')}")
        raise typer.Exit


app = typer.Typer(
    name="sentiflow",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Train, track, register and use a sentiment model of film reviews.",
    epilog="Settings are read from SENTIFLOW_* variables and .env; docs/settings.md lists them.",
)


@app.callback()
def _options(
    _version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and end.")
    ] = False,
) -> None:
    pass


for module in (train, sweep, runs, models, inference, schedule, admin):
    app.add_typer(module.app)
