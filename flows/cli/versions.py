"""``sentiflow versions``."""

from rich.table import Table

from flows.cli.tables import print_table
from sentiflow.console import Console, escape
from sentiflow.settings import load_settings
from sentiflow.tracking.versions import VersionRow, model_named, version_rows


def run(dataset: str | None) -> None:
    """Print all versions, newest first."""
    settings = load_settings()
    name = model_named(settings, dataset)
    rows = version_rows(name, settings)
    console = Console()
    console.print(f"[bold]{escape(name)}[/]")
    table = Table(box=None, pad_edge=False)
    for heading in (
        "version",
        "alias",
        "registered",
        "recipe",
        "seed",
        "test accuracy (95% interval)",
        "gate",
        "run",
    ):
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*map(escape, _cells(row)))
    print_table(table, console)


def _cells(row: VersionRow) -> tuple[str, ...]:
    low, high = row.accuracy_low, row.accuracy_high
    accuracy = "-" if row.accuracy is None else f"{row.accuracy:.2%}"
    interval = "" if low is None or high is None else f" ({low:.2%} to {high:.2%})"
    return (
        str(row.number),
        ", ".join(row.aliases) or "-",
        f"{row.registered.astimezone():%Y-%m-%d %H:%M}",
        row.recipe,
        row.seed,
        accuracy + interval,
        row.gate,
        row.run,
    )
