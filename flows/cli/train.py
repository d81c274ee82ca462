"""``sentiflow train``."""

import os
import shutil
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from sentiment.errors import UnreachableError
from sentiment.recipes import TrainConfig, load_recipe
from sentiment.settings import Settings, load_settings, shown
from tasks.console import CONSOLE

if TYPE_CHECKING:  # its imports take seconds, and a wrong option is told sooner
    from tasks.results import TrainingResult

_STAGES = {
    "startup": "start-up (imports, Prefect's server)",
    "open": "opening the run",
    "fetch": "fetch",
    "prepare": "prepare",
    "load": "loading TensorFlow and the data",
    "train": "train",
    "evaluate": "evaluate",
    "report": "pictures and report",
    "register": "register",
    "other": "logging and Prefect's own work",
}


def run(recipe: str, changes: Sequence[str], dataset: str, seed: int, *, or_sample: bool) -> None:
    """Train; on a terminal with progress, at the end with a summary of where to look and what to type."""
    config = load_recipe(recipe, changes)
    settings = load_settings()
    wait_for_server = _start_up(config, dataset, seed, settings)
    try:
        result = _train(config, dataset, seed, wait_for_server)
    except UnreachableError as err:
        if not or_sample or dataset == "sample":
            raise
        CONSOLE.print(
            f"\n[bold yellow]The dataset {escape(dataset)} cannot be fetched:[/] {escape(str(err.args[0]))}\n"
            "[yellow]Running the same job on the built-in sample instead. Its accuracy says nothing about "
            f"{escape(dataset)}.[/]\n",
            soft_wrap=True,
        )
        dataset = "sample"
        result = _train(config, dataset, seed, wait_for_server)
    _summarize(result, dataset)


def _start_up(config: TrainConfig, dataset: str, seed: int, settings: Settings) -> Callable[[], None]:
    """Check what can be checked first, and begin what takes its time; each import here costs a second or more."""
    from tasks.preflight import check_data

    check_data(dataset, settings)
    CONSOLE.print(f"Training recipe [bold]{escape(config.recipe)}[/] on [bold]{escape(dataset)}[/], seed {seed}")
    CONSOLE.print(f"Store: {escape(shown(settings.tracking_uri))}", soft_wrap=True)
    from tasks.temporary_server import start_early

    wait_for_server, where = start_early(settings)
    CONSOLE.print(f"Prefect: {where}; starting up ...", soft_wrap=True)
    from tasks.tracking import connect

    connect(settings)  # a store that does not answer is told before anything is done
    return wait_for_server


def _train(config: TrainConfig, dataset: str, seed: int, wait_for_server: Callable[[], None]) -> "TrainingResult":
    from flows.train import train
    from tasks.train import preload

    preload()
    wait_for_server()
    return train(config, dataset, seed)


def _summarize(result: "TrainingResult", dataset: str) -> None:
    measured, seconds, me = result.measured, result.seconds, _command()
    lines = [
        "",
        f"[bold]Test accuracy {measured.accuracy:.2%}[/] "
        f"(95% interval {measured.accuracy_low:.2%} to {measured.accuracy_high:.2%})",
        f"Registered as [bold]{result.model.name}[/] version {result.model.version}",
        "",
        *(f"  {label:<37}{seconds[stage]:7.1f} s" for stage, label in _STAGES.items()),
        f"  [bold]{'total':<37}{seconds['total']:7.1f} s[/], of it {seconds['overhead']:.1f} s outside "
        "fetch, train and evaluate",
        "",
        f"Look at it:  {me} ui   then {result.run_url}",
        f"Use it:      {me} predict --dataset {result.model.name.removesuffix('-sentiment')} "
        '"A quiet film that stays with you."',
        f"Compare:     {me} runs",
    ]
    console = Console(highlight=False)  # the result goes to stdout, what happens meanwhile to stderr
    for line in lines:
        console.print(line, soft_wrap=True)
    if dataset == "sample":
        console.print(f"On the real reviews: {me} train --dataset imdb", soft_wrap=True)


def _command() -> str:
    """How to call this command from here: by its name where the shell finds it, else by its path."""
    return "sentiflow" if shutil.which("sentiflow") else os.path.relpath(sys.argv[0])
