"""``sentiflow train``."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sentiflow.console import CONSOLE, escape
from sentiflow.errors import UnreachableError
from sentiflow.names import model_name
from sentiflow.output import redact
from sentiflow.recipes import TrainConfig, check_seeds, load_recipe
from sentiflow.settings import Settings, load_settings

if TYPE_CHECKING:  # its imports take seconds, and a wrong option is told sooner
    from sentiflow.tracking.results import RepeatsResult, TrainingResult


def run(
    recipe: str,
    changes: Sequence[str],
    dataset: str,
    seed: int,
    repeats: int,
    *,
    promote: bool,
    or_sample: bool,
) -> None:
    """Train; on a terminal with progress, at the end with a summary of where to look and what to type."""
    check_seeds(seed, repeats)
    config = load_recipe(recipe, changes)
    settings = load_settings()
    seeds = f"seed {seed}" if repeats == 1 else f"seeds {seed} to {seed + repeats - 1}"
    told = f"Training recipe [bold]{escape(config.recipe)}[/] on [bold]{escape(dataset)}[/], {seeds}"
    wait_for_server = start_up(told, dataset, settings)
    try:
        result = _train(config, dataset, seed, repeats, promote, wait_for_server)
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
        result = _train(config, dataset, seed, repeats, promote, wait_for_server)
    from flows.cli.outcome import show_outcome

    show_outcome(result, dataset)


def start_up(told: str, dataset: str, settings: Settings) -> Callable[[], None]:
    """Check what can be checked first, say what will be done, and begin what takes its time.

    Each import here costs a second or more: what is known to fail is told before the next one.

    Args:
        told: what will be done, as markup.
        dataset: as the user named it.
        settings: of the store and of Prefect.

    Returns:
        A function that waits until Prefect's server answers.

    Raises:
        UsageError: no such table, or a mirror without its hash.
        WorldError: another training of this model is running, or the store does not answer.
        OSError: the data folder cannot be written.
    """
    from sentiflow.data.prepare import check_data
    from sentiflow.locks import check_free

    check_data(dataset, settings)
    check_free(model_name(dataset), settings)
    CONSOLE.print(told, soft_wrap=True)
    CONSOLE.print(f"Store: {escape(redact(settings.tracking_uri))}", soft_wrap=True)
    # Prefect's own 5 retries wait a minute, in each of several requests, for a server that is gone.
    os.environ.setdefault("PREFECT_CLIENT_MAX_RETRIES", "2")
    from sentiflow.orchestration.server import start_early

    wait_for_server, where = start_early(settings)
    CONSOLE.print(f"Prefect: {where}; starting up ...", soft_wrap=True)
    from sentiflow.tracking.client import connect

    connect(settings)  # a store that does not answer is told before anything is done
    return wait_for_server


def _train(
    config: TrainConfig,
    dataset: str,
    seed: int,
    repeats: int,
    promote: bool,
    wait_for_server: Callable[[], None],
) -> "TrainingResult | RepeatsResult":
    from flows.repeat import repeat
    from flows.train import train
    from sentiflow.process import preload

    preload()
    wait_for_server()
    with telling_what_is_registered():
        if repeats == 1:
            return train(config, dataset, seed, promote)
        return repeat(config, dataset, seed, repeats, promote)


@contextmanager
def telling_what_is_registered() -> Iterator[None]:
    """Say of a flow that fails, or is interrupted, after it registered a version that the version is there."""
    from sentiflow.tracking.results import registered_here

    before = len(registered_here)
    try:
        yield
    except BaseException:
        for model in registered_here[before:]:
            name = f"[bold]{escape(model.name)}[/] version {model.version}"
            CONSOLE.print(f"Registered all the same: {name}", soft_wrap=True)
        raise
