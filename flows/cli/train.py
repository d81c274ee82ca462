"""``sentiflow train``."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.markup import escape

from sentiment.errors import UnreachableError
from sentiment.recipes import TrainConfig, load_recipe
from sentiment.settings import load_settings
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
    from tasks.preflight import check  # MLflow's and Prefect's imports: seconds, so after what is quick

    check(dataset, settings)
    CONSOLE.print(f"Training recipe [bold]{escape(config.recipe)}[/] on [bold]{escape(dataset)}[/], seed {seed}")
    CONSOLE.print(f"Store: {escape(settings.tracking_uri)}", soft_wrap=True)
    try:
        result = _train(config, dataset, seed)
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
        result = _train(config, dataset, seed)
    _summarize(result, dataset)


def _train(config: TrainConfig, dataset: str, seed: int) -> "TrainingResult":
    from flows.train import train
    from tasks.train import preload

    preload()  # Prefect's temporary server starts inside the call; TensorFlow can load meanwhile
    return train(config, dataset, seed)


def _summarize(result: "TrainingResult", dataset: str) -> None:
    measured, seconds = result.measured, result.seconds
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
        f"Look at it:  sentiflow ui   then {result.run_url}",
        f"Use it:      sentiflow predict --dataset {result.model.name.removesuffix('-sentiment')} "
        '"A quiet film that stays with you."',
        "Compare:     sentiflow runs",
    ]
    for line in lines:
        CONSOLE.print(line, soft_wrap=True)
    if dataset == "sample":
        CONSOLE.print("Train on the real reviews: sentiflow train --dataset imdb")
