"""What came of a training or of a candidate, as the commands print it."""

import os
import shutil
import sys

from rich.table import Table

from flows.cli.tables import print_table
from sentiflow.console import Console, escape
from sentiflow.tracking.candidate import Weighed
from sentiflow.tracking.promotion import Outcome
from sentiflow.tracking.results import RepeatsResult, TrainingResult


def show_judgement(weighed: Weighed, console: Console) -> None:
    """Print each rule with its number and its limit, and what was not judged."""
    decision = weighed.decision
    against = "no champion yet" if weighed.champion is None else f"the champion, version {weighed.champion}"
    console.print(f"[bold]{escape(weighed.name)} version {weighed.version}[/] against {against}\n", soft_wrap=True)
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column()
    table.add_column(overflow="fold")
    for rule in decision.rules:
        table.add_row("[green]yes[/]" if rule.passed else "[red]no[/]", rule.name, escape(rule.told))
    print_table(table, console)
    for note in decision.notes:
        console.print(f"[dim]{escape(note)}[/]", soft_wrap=True)
    console.print()


def tell(outcome: Outcome, console: Console) -> None:
    """Say that the version is champion now.

    Raises:
        RefusedError: it is not.
    """
    event, name = outcome.need_promotion(), escape(outcome.weighed.name)
    replaced = "where there was none" if event.replaced is None else f"in place of version {event.replaced}"
    console.print(
        f"[bold]{name} version {event.version} is the champion[/], {replaced} ({event.decision}).", soft_wrap=True
    )


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


def show_outcome(result: TrainingResult | RepeatsResult, dataset: str) -> None:
    """Print what came of it, where to look and what to type."""
    console = Console()  # the result goes to stdout, what happened meanwhile went to stderr
    told = _repeats(result) if isinstance(result, RepeatsResult) else _single(result)
    for line in [*told, *_next(result, dataset)]:
        console.print(line, soft_wrap=True)
    if result.promotion is not None:
        console.print()
        show_judgement(result.promotion.weighed, console)
        tell(result.promotion, console)


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
