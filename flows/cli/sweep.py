"""``sentiflow sweep`` and ``reproduce``: trainings to compare."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli.options import (
    TRAIN,
    DatasetOption,
    JsonOption,
    PromoteOption,
    RecipeOption,
    SetOption,
    StartOption,
    command,
    file_option,
    table_arguments,
)
from flows.cli.output import print_table, program, stdout_for
from flows.cli.train import begin, show_seeds, show_version, start_up
from sentiflow import signals
from sentiflow.console import CONSOLE, Console, escape, working
from sentiflow.environment import need
from sentiflow.errors import RejectedError, UsageError
from sentiflow.names import AUTO, model_name
from sentiflow.reports.blocks import Table
from sentiflow.training.preload import preload

if TYPE_CHECKING:
    from sentiflow.data.table import TableOptions
    from sentiflow.results import SweepResult

_SHOWN = 5
_NAME_LENGTH = 60

app = typer.Typer()


@command(
    app,
    TRAIN,
    "sentiflow sweep --trials 40",
    "sentiflow sweep --dataset sample --trials 12 --workers 2 --set epochs=4",
    "sentiflow sweep --space my-space.toml --recipe tutorial --repeats 5 --promote",
    note="A sweep that was killed is resumed by the same command. Workers are processes on this machine, or Dask "
    "workers if SENTIFLOW_TASK_RUNNER says so.",
)
def sweep(
    *,
    trials: Annotated[int, typer.Option(min=1, max=10_000, help="Number of trials.")] = 20,
    workers: Annotated[
        int | None,
        typer.Option(min=1, max=256, help="Trials at the same time, each on one core; by default one per core."),
    ] = None,
    recipe: RecipeOption = None,
    changes: SetOption = None,
    dataset: DatasetOption = "imdb",
    table: "TableOptions",
    space: Annotated[
        Path | None, file_option("--space", help="TOML file of recipe fields and their ranges.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Random seed of the search and the trials.")] = 0,
    repeats: Annotated[int, typer.Option(min=1, max=1000, help="Seeds to train the best recipe with.")] = 3,
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="Name, to tell sweeps with the same options apart.")
    ] = "",
    start_from: StartOption = AUTO,
    restart: Annotated[bool, typer.Option("--restart", help="Start over instead of resuming.")] = False,
    promote: PromoteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Search for a better recipe and register the best model.

    Values are compared by validation loss; the test split is not used for the choice.
    """
    need("sweep", "A sweep")
    from sentiflow.settings import load_settings
    from sentiflow.sweeps.space import load_space
    from sentiflow.training.recipes import default_recipe, load_recipe

    if len(name) > _NAME_LENGTH:
        raise UsageError(f"--name is longer than {_NAME_LENGTH} characters.", "Give a shorter one.")
    config = load_recipe(recipe or default_recipe(dataset), changes or ())
    searched = load_space(space, config)
    settings = load_settings()
    what = f"Searching around recipe [bold]{escape(config.recipe)}[/] on [bold]{escape(dataset)}[/]"
    wait_for_server = start_up(f"{what}: {', '.join(searched.fields)}", dataset, settings, table)
    from flows.sweep import sweep

    wait_for_server()
    try:
        result = sweep(
            config,
            dataset,
            seed=seed,
            trials=trials,
            workers=workers,
            repeats=repeats,
            space=space,
            name=name,
            restart=restart,
            promote=promote,
            table=table,
            start_from=start_from,
        )
    except BaseException:
        if signals.first_signal():
            same = "The same command, without --restart," if restart else "The same command"
            CONSOLE.say(f"{same} resumes this sweep; finished trials are kept.")
        raise
    given = config.model_dump(include=set(searched.fields))
    stdout = stdout_for(result, as_json=as_json)
    _show_trials(result, given, stdout)
    show_seeds(result, stdout)
    show_version(result, settings, stdout, _to_use(result, dataset, table, start_from), promote=promote)


def _show_trials(result: "SweepResult", given: dict[str, Any], stdout: Console) -> None:
    from sentiflow.results import by_loss
    from sentiflow.sweeps.study import count_of_trials, format_values

    best = by_loss(result.trials)
    pruned = len(result.trials) - len(best)
    stdout.say(f"\n{count_of_trials(len(best))} complete, {pruned} pruned\n")
    shown = best[:_SHOWN]
    rows = [(str(row.number), f"{row.loss:.4f}", format_values(row.values)) for row in shown]
    print_table(Table(("trial", "validation loss", "tried"), rows, words=3), stdout)
    if dict(best[0].values) == given:
        stdout.say("", "No trial was better than the given recipe.")


def _to_use(result: "SweepResult", dataset: str, table: "TableOptions", start_from: str) -> list[str]:
    """Where the best recipe lies, and the command that trains it."""
    from shlex import quote

    from sentiflow.store.records import local_path

    path = local_path(result.recipe)
    where = f"best.toml, of the artifacts at {result.run_url}" if path is None else str(path)
    more = [*table_arguments(table), *([] if start_from == AUTO else ["--start-from", start_from])]
    train = ["train", "--recipe", str(path or "best.toml"), "--dataset", dataset, *more]
    return [f"Best recipe: {where}", f"Train it:    {program()} {' '.join(map(quote, train))}"]


@command(
    app,
    TRAIN,
    "sentiflow reproduce imdb-sentiment@champion",
    "sentiflow reproduce imdb-sentiment/3 --json",
    "sentiflow reproduce 1a2b3c4d",
)
def reproduce(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="Id, its beginning, name, MODEL@ALIAS or MODEL/VERSION.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Train a run again: do the same weights come out?"""
    from sentiflow.reproduction import find_original
    from sentiflow.settings import load_settings

    settings = load_settings()
    with working("Reading the run"):
        original = find_original(run, settings)
    record = original.record
    message = f"Training again: [bold]{escape(record.name)}[/] of {record.started.astimezone():%Y-%m-%d %H:%M}"
    wait_for_server = begin(message, model_name(original.dataset), settings)
    from flows.train import reproduce

    preload()
    wait_for_server()
    try:
        result = reproduce(record.run_id)
    except RejectedError as err:
        stdout_for({"identical": False, "summary": err.args[0]}, as_json=as_json)
        raise
    outcome = {"identical": True, "summary": result.summary, **vars(result)}
    stdout_for(outcome, as_json=as_json).say(f"[bold]{escape(result.summary)}[/]")
