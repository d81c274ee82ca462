"""``sentiflow history``."""

from datetime import datetime

from rich.table import Table

from flows.cli.tables import print_table
from sentiflow.console import Console, escape
from sentiflow.evaluation.promotions import Event, took_effect
from sentiflow.settings import load_settings
from sentiflow.tracking.versions import history_of, model_named


def run(dataset: str | None) -> None:
    """Print every promotion and rollback, newest first."""
    settings = load_settings()
    name = model_named(settings, dataset)
    events, champion = history_of(name, settings)
    console = Console()
    console.print(
        f"[bold]{escape(name)}[/]: "
        + ("no champion" if champion is None else f"version {champion} is the champion")
    )
    if not events:
        console.print("No promotion yet. Make one: sentiflow promote")
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("when", "what", "version", "replaced", "test accuracy", "decision", "reason", "who", "run"):
        table.add_column(heading, overflow="fold")
    for event, done in reversed(list(zip(events, took_effect(events, champion), strict=True))):
        table.add_row(*map(escape, _cells(event, done=done)))
    print_table(table, console)
    last = events[-1].version if took_effect(events, champion)[-1] else events[-1].replaced
    if champion != last:
        console.print("[yellow]The alias was changed by other means since: this is not in the history.[/]")


def _cells(event: Event, *, done: bool) -> tuple[str, ...]:
    return (
        f"{datetime.fromisoformat(event.at).astimezone():%Y-%m-%d %H:%M:%S}",
        event.kind if done else f"{event.kind}, not in effect",
        str(event.version),
        "-" if event.replaced is None else str(event.replaced),
        "-" if event.accuracy is None else f"{event.accuracy:.2%}",
        event.decision,
        event.reason,
        event.by,
        event.run_id[:8],
    )
