"""``sentiflow train``, and what other commands share with it: servers, a version's lines."""

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.options import (
    TRAIN,
    DatasetOption,
    JsonOption,
    PromoteOption,
    RecipeOption,
    SeedOption,
    SetOption,
    StartOption,
    command,
)
from flows.cli.output import print_table, program, show_judgement, show_promotion, stdout_for, to_open
from sentiflow.console import CONSOLE, Console, escape, progress_bar
from sentiflow.environment import need
from sentiflow.errors import UnreachableError
from sentiflow.names import AUTO, dataset_of, model_name
from sentiflow.redaction import redact

if TYPE_CHECKING:
    from sentiflow.data.table import TableOptions
    from sentiflow.promotion.candidate import Candidate
    from sentiflow.results import ModelResult, Registered, RepeatsResult, Skipped, SweepResult, TrainingResult
    from sentiflow.settings import Settings

app = typer.Typer()


@command(
    app,
    TRAIN,
    "sentiflow train",
    "sentiflow train --dataset sample --set epochs=2 --seed 7",
    "sentiflow train --recipe tutorial --repeats 5 --promote",
    "sentiflow train --dataset reviews.csv --labels good=1,bad=0",
)
def train(
    *,
    recipe: RecipeOption = None,
    changes: SetOption = None,
    dataset: DatasetOption = "imdb",
    table: "TableOptions",
    seed: SeedOption = 0,
    repeats: Annotated[
        int, typer.Option(min=1, max=1000, help="Number of seeds, counted up from --seed; the best is registered.")
    ] = 1,
    start_from: StartOption = AUTO,
    promote: PromoteOption = False,
    force: Annotated[bool, typer.Option("--force", help="Train even if an equal version is registered.")] = False,
    fallback_sample: Annotated[
        bool, typer.Option("--fallback-sample", help="Train on the sample if the dataset cannot be fetched.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Train a recipe, evaluate it and register the model."""
    from sentiflow.settings import load_settings
    from sentiflow.training.recipes import check_seeds, default_recipe, load_recipe

    check_seeds(seed, repeats)
    config, settings = load_recipe(recipe or default_recipe(dataset), changes or ()), load_settings()
    seeds = f"seed {seed}" if repeats == 1 else f"seeds {seed} to {seed + repeats - 1}"
    message = f"Training recipe [bold]{escape(config.recipe)}[/] on [bold]{escape(dataset)}[/], {seeds}"
    wait_for_server = start_up(message, dataset, settings, table)

    def run(dataset: str) -> "TrainingResult | RepeatsResult | Skipped":
        from flows.train import repeat, train
        from sentiflow.training.preload import preload

        preload()
        wait_for_server()
        if repeats == 1:
            return train(config, dataset, seed, promote, force, table, start_from)
        return repeat(config, dataset, seed, repeats, promote, table, start_from)

    try:
        result = run(dataset)
    except UnreachableError as err:
        if not fallback_sample or dataset == "sample":
            raise
        CONSOLE.say(
            f"\n[bold yellow]The dataset {escape(dataset)} cannot be fetched:[/] {escape(str(err.args[0]))}\n"
            "[yellow]Running the same job on the built-in sample instead. Its accuracy says nothing about "
            f"{escape(dataset)}.[/]\n"
        )
        result = run(dataset := "sample")
    from sentiflow.results import RepeatsResult, Skipped

    stdout = stdout_for(result, as_json=as_json)  # what happened meanwhile went to stderr
    if isinstance(result, Skipped):
        _show_skipped(result, settings, stdout, promote=promote)
        return
    if isinstance(result, RepeatsResult):
        show_seeds(result, stdout)
    else:
        stdout.say(*_single(result))
    more = [f"On the real reviews: {program()} train --dataset imdb"] if dataset == "sample" else []
    show_version(result, settings, stdout, more, promote=promote)


def start_up(message: str, dataset: str, settings: "Settings", table: "TableOptions") -> Callable[[], None]:
    """Check what can be checked first, say what will be done, and begin what takes its time.

    The message, what will be done, is markup. Each import here costs a second or more: what is known to fail is
    reported before the next one. Gives a function that waits until Prefect's server answers.
    """
    from sentiflow.data.prepare import check_data

    check_data(dataset, settings, table, progress_bar)
    return begin(message, model_name(dataset), settings)


def begin(message: str, model: str, settings: "Settings") -> Callable[[], None]:
    """The second half of ``start_up``, for the training of a registered model whose data was checked."""
    from sentiflow.locks import check_free

    check_free(model, settings)
    CONSOLE.say(message, f"Store: {escape(redact(settings.tracking_uri))}")
    return start_servers(settings)


def start_servers(settings: "Settings") -> Callable[[], None]:
    """Begin to start Prefect's server, and connect to the store meanwhile; gives what waits for the server."""
    # Prefect's own 5 retries wait a minute, in each of several requests, for a server that is gone.
    os.environ.setdefault("PREFECT_CLIENT_MAX_RETRIES", "2")
    if settings.notify_url:
        need("notify", "SENTIFLOW_NOTIFY_URL")
    from sentiflow.operations.prefect_server import start_early

    wait_for_server, where = start_early(settings)
    CONSOLE.say(f"Prefect: {escape(where)}; starting up ...")
    from sentiflow.store.client import connect

    connect(settings)  # a store that does not answer is reported before anything is done
    return wait_for_server


def _show_skipped(result: "Skipped", settings: "Settings", stdout: Console, *, promote: bool) -> None:
    """Say that there was nothing to train, and what to do with the equal version."""
    from sentiflow.promotion.history import WAITS, how_to_answer
    from sentiflow.run.record import CAVEAT
    from sentiflow.store.find import find_champion, open_store

    CONSOLE.say("To train anyway: --force.")  # why there was nothing is in the log
    if (model := result.model) is None:
        return
    champion, equal = find_champion(settings, model.name), open_store(settings).version(model.name, model.version)
    if champion is not None and champion.version.number == model.version:
        CONSOLE.say("It is the champion.")
    elif equal is not None and WAITS in equal.tags:
        CONSOLE.say(escape(how_to_answer(model.name, model.version)))
    elif equal is not None and CAVEAT in equal.tags:
        CONSOLE.say(escape(equal.tags[CAVEAT]))
    elif not promote:
        CONSOLE.say(escape(f"Promote it: {program()} promote {model.version} --dataset {dataset_of(model.name)}"))
    if result.promotion is not None:
        show_judgement(result.promotion, stdout)
    _show_promoted(result.promotion, model, settings, stdout, promote=promote)


def _show_promoted(
    promotion: "Candidate | None", model: "Registered", settings: "Settings", stdout: Console, *, promote: bool
) -> None:
    """Say how a promotion went, if it was asked for; of a version that was judged before, how that went."""
    from sentiflow.promotion.history import need_champion

    if promotion is not None:
        show_promotion(promotion, stdout)
    elif promote:
        need_champion(settings, model.name, model.version)


def show_seeds(result: "RepeatsResult | SweepResult", stdout: Console) -> None:
    from sentiflow.results import seeds_table

    stdout.say(f"\n[bold]{result.accuracy_line}[/]\n")
    print_table(seeds_table(result.seeds), stdout)
    registered = f"[bold]{result.model.name}[/] version {result.model.version}"
    stdout.say(
        f"\nRegistered as {registered}: seed {result.best.run.seed}, whose validation loss is lowest",
        *map(escape, result.comparisons),
        f"All of it took {result.seconds:.0f} s",
    )


def show_version(
    result: "ModelResult", settings: "Settings", stdout: Console, more: Sequence[str], *, promote: bool
) -> None:
    """Print what can be done with a new version, and how its promotion went, if that was asked for."""
    if result.promotion is not None:
        stdout.print()
        show_judgement(result.promotion, stdout)
    stdout.say(*map(escape, [*next_commands(result, settings), *more]))
    _show_promoted(result.promotion, result.model, settings, stdout, promote=promote)


_STAGES = {  # the others are shown by their names
    "startup": "start-up (imports, Prefect's server)",
    "open": "opening the run",
    "load": "loading TensorFlow and the data",
    "report": "plots and report",
}


def _single(result: "TrainingResult") -> list[str]:
    accuracy, _, interval = result.measured.text(result.label_names, result.tested_on).partition(" ")
    *stages, (_, total) = result.seconds.items()  # in the order of the stages
    return [
        "",
        f"[bold]Test accuracy {accuracy}[/] {escape(interval)}",
        *map(escape, result.comparisons),
        f"Registered as [bold]{result.model.name}[/] version {result.model.version}",
        "",
        *(f"  {_STAGES.get(stage, stage):<37}{seconds:7.1f} s" for stage, seconds in stages),
        f"  [bold]{'total':<37}{total:7.1f} s[/]",
    ]


def next_commands(result: "ModelResult", settings: "Settings") -> list[str]:
    """The next commands, for this version; and which one answers instead, if it is another."""
    from sentiflow.store.find import find_champion

    model = result.model
    me, number, of = program(), int(model.version), dataset_of(model.name)
    found = find_champion(settings, model.name)
    champion = None if found is None else found.version.number
    chosen = "" if champion == number else f" --model-version {number}"
    lines = [
        "",
        f"Look at it:  {to_open(result.run_url, settings)}",
        f'Use it:      {me} predict --dataset {of}{chosen} "Better than I had hoped."',
    ]
    # The gate would refuse it.
    loses = settings.gate_baseline and result.baseline is not None and result.baseline.high < 0
    if champion != number and result.promotion is None and not (result.caveat or loses):
        lines.append(f"Promote it:  {me} promote {number} --dataset {of}")
    if champion not in (None, number):
        lines.append(f"Compare it:  {me} compare {model.name}@champion {model.name}/{number}")
        lines.append(f"Until it is promoted, version {champion}, the champion, answers predict, score and serve.")
    return lines
