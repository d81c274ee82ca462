"""The commands that run flows on a schedule, and at once."""

from pathlib import Path
from typing import Annotated

import typer

from flows.cli import console
from flows.cli.options import DebugOption


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog=_SCHEDULE)(schedule)
    app.command(epilog=_TRIGGER)(trigger)


_SCHEDULE = """Examples:

    sentiflow schedule

    sentiflow schedule --train "0 3 * * *" --timezone Europe/Berlin --promotes

    sentiflow schedule --train "every 10m" --dataset sample --recipe seed --set epochs=2

A schedule is a cron line (`0 3 * * 1`), an interval (`every 30s`, `15m`, `6h` or `7d`), or `off`.
Without an option the setting `SENTIFLOW_SCHEDULE_...` holds."""


def schedule(
    train: Annotated[str | None, typer.Option(metavar="SCHEDULE", help="When to train.")] = None,
    promote: Annotated[
        str | None, typer.Option(metavar="SCHEDULE", help="When to hold the newest version against the champion.")
    ] = None,
    score: Annotated[str | None, typer.Option(metavar="SCHEDULE", help="When to score the input.")] = None,
    housekeeping: Annotated[str | None, typer.Option(metavar="SCHEDULE", help="When to clean up.")] = None,
    monitor: Annotated[str | None, typer.Option(metavar="SCHEDULE", help="When to look for drift.")] = None,
    timezone: Annotated[str | None, typer.Option(metavar="ZONE", help="Time zone of cron lines.")] = None,
    dataset: Annotated[
        str | None, typer.Option("--dataset", "-d", help="What to train on, promote and monitor.")
    ] = None,
    recipe: Annotated[
        str | None, typer.Option("--recipe", "-r", help="What to train: a recipe's name, or a TOML file.")
    ] = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", "-s", metavar="KEY=VALUE", help="Change a field of the recipe.")
    ] = None,
    promotes: Annotated[
        bool | None, typer.Option(help="Put each trained version in use, if the gate says yes.")
    ] = None,
    source: Annotated[
        Path | None, typer.Option("--input", metavar="INPUT", help="What to score: a table or a folder.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="The Parquet file that scoring writes.")
    ] = None,
    debug: DebugOption = False,
) -> None:
    """Run the flows when they are due, with a Prefect UI to look at; Ctrl-C ends it."""
    console.set_up(debug=debug)
    from flows.cli import schedule as command

    command.run(
        changes or [],
        {
            "schedule_train": train,
            "schedule_promote": promote,
            "schedule_score": score,
            "schedule_housekeeping": housekeeping,
            "schedule_monitor": monitor,
            "schedule_timezone": timezone,
            "schedule_dataset": dataset,
            "schedule_recipe": recipe,
            "schedule_promotes": promotes,
            "schedule_source": source,
            "schedule_output": output,
        },
        debug=debug,
    )


_TRIGGER = """Examples:

    sentiflow trigger train

    sentiflow trigger train --dataset sample --set epochs=3 --set seed=7

    sentiflow trigger promote --set version=3 --no-wait"""


def trigger(
    flow: Annotated[
        str,
        typer.Argument(metavar="FLOW", help="train, repeat, sweep, promote, score, housekeeping or monitor."),
    ],
    dataset: Annotated[str | None, typer.Option("--dataset", "-d", help="Another dataset this time.")] = None,
    recipe: Annotated[
        str | None, typer.Option("--recipe", "-r", help="Another recipe: a name, or a TOML file.")
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set", "-s", metavar="KEY=VALUE", help="Change a parameter of the flow, or a field of the recipe."
        ),
    ] = None,
    wait: Annotated[bool, typer.Option(help="Follow the logs until it ends.")] = True,
    debug: DebugOption = False,
) -> None:
    """Start a run of a deployment now, and follow it; what the deployment says holds but for the options."""
    console.set_up(debug=debug)
    from flows.cli import trigger as command

    command.run(flow, dataset, recipe, changes or [], wait=wait)
