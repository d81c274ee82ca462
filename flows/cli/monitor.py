"""``sentiflow monitor``."""

from typing import cast

from rich.table import Table

from flows.cli.tables import print_table
from sentiflow.console import Console, escape
from sentiflow.monitoring import report
from sentiflow.monitoring.report import Told
from sentiflow.settings import load_settings
from sentiflow.tracking.versions import model_named
from tasks.monitor import Look

_NEXT = "Prefect was told: a deployment of train that waits for this starts, and its version meets the gate."
_NOBODY = "No Prefect server is running, so no deployment hears of it. Train again: sentiflow train --promote"


def run(dataset: str | None) -> None:
    """Take a look; print the comparison, and where its report is."""
    from flows.monitor import monitor
    from sentiflow.orchestration.server import start_early, use_running

    settings = load_settings()
    heard = use_running(settings)  # where the deployment is that waits for the event
    if not heard:
        wait_for_server, _ = start_early(settings)
        wait_for_server()
    name = model_named(settings, dataset)
    look = cast("Look", monitor(name.removesuffix("-sentiment")))  # called by hand, a flow gives its state's data
    console = Console()
    if look.told is not None:
        console.print(_headed(look, look.told), soft_wrap=True)
        _show(look.told, console)
        console.print(f"\nReport: {look.run_url}", soft_wrap=True)
    console.print(f"[bold]{escape(look.message)}[/]", soft_wrap=True)
    if look.drifted:
        told = f"{_NOBODY} --dataset {name.removesuffix('-sentiment')}"
        console.print(_NEXT if heard else told, soft_wrap=True)


def _headed(look: Look, told: Told) -> str:
    return f"{escape(told.title)}: {look.texts:,} texts of late against the reviews\n"


def _show(told: Told, console: Console) -> None:
    heading, *figures = report.rows(told)
    table = Table(box=None, pad_edge=False)
    for k, name in enumerate(heading):
        table.add_column(name, justify="right" if k else "left")
    for line in figures:
        table.add_row(*line, style="red" if line[-1] == "yes" else None)
    print_table(table, console)
