"""``sentiflow sweep``."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

from flows.cli.train import start_up, telling_what_is_registered
from sentiflow import process
from sentiflow.console import CONSOLE, Console, escape
from sentiflow.errors import UsageError
from sentiflow.names import model_name
from sentiflow.output import without_login
from sentiflow.recipes import check_seeds, load_recipe
from sentiflow.settings import Settings, load_settings
from sentiflow.sweeps.space import load_space
from sentiflow.tracking.types import WANTS_LOGIN

if TYPE_CHECKING:  # its imports take seconds, and a wrong option is told sooner
    from tasks.sweep import SweepResult

_SHOWN = 5
_NAME_LENGTH = 60


def run(
    recipe: str, changes: Sequence[str], dataset: str, space: Path | None, *, repeats: int, **options: Any
) -> None:
    """Sweep; afterwards print the best trials, what mattered, and where to look."""
    check_seeds(0, repeats)
    if len(options.get("name", "")) > _NAME_LENGTH:
        raise UsageError(f"--name is longer than {_NAME_LENGTH} characters.", "Give a shorter one.")
    config = load_recipe(recipe, changes)
    searched = load_space(space, config)
    settings = load_settings()
    if settings.task_runner == "dask":
        from sentiflow.cluster import check_dask

        check_dask(settings)
    what = f"Searching around recipe [bold]{escape(config.recipe)}[/] on [bold]{escape(dataset)}[/]"
    wait_for_server = start_up(f"{what}: {', '.join(searched.fields)}", dataset, settings)
    from flows.sweep import sweep

    wait_for_server()
    began = time.time()
    try:
        with telling_what_is_registered():
            result = sweep(config, dataset, repeats=repeats, space=space, **options)
    except BaseException:
        if process.received and _goes_on(settings.data_dir / "sweeps" / model_name(dataset), began):
            same = "The same command, without --restart," if options.get("restart") else "The same command"
            CONSOLE.print(f"{same} goes on where this sweep was; finished trials are kept.", soft_wrap=True)
        raise
    _show(result, dataset, settings)


def _goes_on(studies: Path, began: float) -> bool:
    """Whether a study that was written meanwhile is still there: of a finished sweep it is gone."""
    return any(journal.stat().st_mtime >= began for journal in studies.glob("*/*/journal.log"))


def _show(result: "SweepResult", dataset: str, settings: Settings) -> None:
    from flows.cli.outcome import show_judgement, tell
    from tasks.sweep import told

    console = Console()
    console.print(f"\n[bold]{told(result)}[/]", soft_wrap=True)
    for line in [*_trials(result), *_next(result), *_to_use(result, dataset, settings)]:
        console.print(line, soft_wrap=True)
    if result.promotion is not None:
        console.print()
        show_judgement(result.promotion.weighed, console)
        tell(result.promotion, console)


def _trials(result: "SweepResult") -> list[str]:
    from sentiflow.sweeps.results import by_loss
    from tasks.sweep import of_trials
    from tasks.trials import shown as value_shown

    best = by_loss(result.trials)
    rows = (
        f"  {row.number:>5}  {row.loss:>15.4f}  "
        + ", ".join(f"{name}={value_shown(value)}" for name, value in row.values.items())
        for row in best[:_SHOWN]
    )
    return [
        "",
        f"{of_trials(len(best))} complete, {len(result.trials) - len(best)} pruned",
        "",
        f"  {'trial':>5}  {'validation loss':>15}  tried",
        *rows,
        "",
        f"What mattered: {result.importance_told}",
    ]


def _next(result: "SweepResult") -> list[str]:
    from flows.cli.outcome import command

    me, model = command(), result.model
    return [
        f"Registered as [bold]{model.name}[/] version {model.version}: seed {result.best.run.seed} of the best "
        "recipe, whose validation loss is lowest",
        f"All of it took {result.seconds:.0f} s",
        "",
        f"Look at it:      {me} ui   then {result.run_url}",
    ]


def _to_use(result: "SweepResult", dataset: str, settings: Settings) -> list[str]:
    """Where the best recipe lies, or the command that fetches it, and the one that trains it."""
    from flows.cli.outcome import command

    me, place = command(), urlparse(result.recipe)
    path = Path(unquote(place.path))
    if place.scheme in ("", "file") and path.is_file():
        lines = [f"The best recipe: {path}"]
    else:
        store = urlparse(settings.tracking_uri)
        address = without_login(settings.tracking_uri)  # no login in a command
        mlflow = Path(sys.executable).with_name("mlflow")
        fetch = f"{mlflow} artifacts download -r {result.run_id} -a {path.name} -d ."
        lines = [f"The best recipe: MLFLOW_TRACKING_URI={quote(address)} {fetch}"]
        if "@" in store.netloc:
            lines.append(f"                 {WANTS_LOGIN}")
        path = Path(path.name)
    lines.append(f"Train it:        {me} train --recipe {quote(str(path))} --dataset {quote(dataset)}")
    return [escape(line) for line in lines]
