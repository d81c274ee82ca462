"""What ``sentiflow train`` says at its end."""

import os
import shutil
import sys

from flows.cli import judgement
from tasks.results import RepeatsResult, TrainingResult
from tasks.terminal import Console

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


def show(result: TrainingResult | RepeatsResult, dataset: str) -> None:
    """Print what came of it, where to look and what to type."""
    console = Console()  # the result goes to stdout, what happened meanwhile went to stderr
    told = _repeats(result) if isinstance(result, RepeatsResult) else _single(result)
    for line in [*told, *_next(result, dataset)]:
        console.print(line, soft_wrap=True)
    if result.promotion is not None:
        console.print()
        judgement.show(result.promotion.weighed, console)
        judgement.tell(result.promotion, console)


def _single(result: TrainingResult) -> list[str]:
    measured, seconds = result.measured, result.seconds
    return [
        "",
        f"[bold]Test accuracy {measured.accuracy:.2%}[/] "
        f"(95% interval {measured.accuracy_low:.2%} to {measured.accuracy_high:.2%})",
        f"Registered as [bold]{result.model.name}[/] version {result.model.version}",
        "",
        *(f"  {label:<37}{seconds[stage]:7.1f} s" for stage, label in _STAGES.items()),
        f"  [bold]{'total':<37}{seconds['total']:7.1f} s[/], of it {seconds['overhead']:.1f} s outside "
        "fetch, train and evaluate",
    ]


def _repeats(result: RepeatsResult) -> list[str]:
    accuracy = result.accuracy
    rows = (
        f"  {each.run.seed:>10}  {each.trained.kept.number:>10}  {each.trained.kept.val_loss:>15.4f}"
        f"  {each.measured.accuracy:>13.2%}"
        for each in result.seeds
    )
    return [
        "",
        f"[bold]Test accuracy {accuracy.mean:.2%} on average over {len(result.seeds)} seeds[/], "
        f"standard deviation {100 * accuracy.sd:.2f} points, {accuracy.least:.2%} to {accuracy.most:.2%}",
        "",
        f"  {'seed':>10}  {'epoch kept':>10}  {'validation loss':>15}  {'test accuracy':>13}",
        *rows,
        "",
        f"Registered as [bold]{result.model.name}[/] version {result.model.version}: seed {result.best.run.seed}, "
        "whose validation loss is lowest",
        f"All of it took {result.seconds:.0f} s",
    ]


def _dataset_of(result: TrainingResult | RepeatsResult) -> str:
    """The name that commands call the result's model by."""
    return result.model.name.removesuffix("-sentiment")


def _next(result: TrainingResult | RepeatsResult, dataset: str) -> list[str]:
    me = command()
    lines = [
        "",
        f"Look at it:  {me} ui   then {result.run_url}",
        f'Use it:      {me} predict --dataset {_dataset_of(result)} "A quiet film that stays with you."',
        f"Compare:     {me} runs",
        *([] if result.promotion else [f"Promote it:  {me} promote --dataset {_dataset_of(result)}"]),
    ]
    return [*lines, f"On the real reviews: {me} train --dataset imdb"] if dataset == "sample" else lines


def command() -> str:
    """How to call this command from here: by its name where the shell finds it, else by its path."""
    return "sentiflow" if shutil.which("sentiflow") else os.path.relpath(sys.argv[0])
