"""``sentiflow baselines``."""

from collections.abc import Sequence
from shlex import quote
from typing import TYPE_CHECKING

from flows.cli.tables import Column, print_columns
from flows.cli.train import start_up
from sentiflow.baselines.models import choose
from sentiflow.console import Console, escape
from sentiflow.recipes import check_seeds, load_recipe
from sentiflow.settings import load_settings

if TYPE_CHECKING:  # its imports take seconds, and a wrong option is told sooner
    from tasks.summarize import BaselinesResult

# How soon a column is left out of a narrow terminal, in the order of the table's headings.
_LEAVES = (0, 0, 1, 3, 5, 4, 2, 6)


def run(recipe: str, changes: Sequence[str], dataset: str, seed: int, only: Sequence[str]) -> None:
    """Train the recipe's network and the baselines; at the end print them side by side."""
    check_seeds(seed, 1)
    names = choose(only)
    config = load_recipe(recipe, changes)
    models = f"Recipe [bold]{escape(config.recipe)}[/] and {', '.join(names)}"
    told = f"{models} on [bold]{escape(dataset)}[/], seed {seed}"
    wait_for_server = start_up(told, dataset, load_settings())
    from flows.baselines import baselines
    from sentiflow.process import preload

    preload()
    wait_for_server()
    _show(baselines(config, dataset, seed, list(names)))


def _show(result: "BaselinesResult") -> None:
    from flows.cli.outcome import command
    from sentiflow.baselines.table import HEADINGS

    console = Console()  # the result goes to stdout, what happened meanwhile went to stderr
    console.print()
    columns = zip(*(row.cells for row in result.rows), strict=True)
    print_columns(
        [
            Column(heading, cells, leaves, right=i > 2)
            for i, (heading, cells, leaves) in enumerate(zip(HEADINGS, columns, _LEAVES, strict=True))
        ],
        console,
    )
    for line in (
        "",
        f"The network is {result.rows[0].name}; differences are of the same test reviews. Nothing was registered.",
        f"All of it took {result.seconds:.0f} s",
        "",
        f"Look at it:  {command()} ui   then {result.run_url}",
        f"Compare:     {command()} compare {quote(result.run_name)}",
        f"Report:      {command()} report {quote(result.run_name)}",
    ):
        console.print(escape(line), soft_wrap=True)
