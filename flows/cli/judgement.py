"""What the gate says, and what came of it."""

from rich.table import Table

from flows.cli.tables import print_table
from tasks.promotion import Outcome
from tasks.terminal import Console, escape
from tasks.weigh import Weighed


def show(weighed: Weighed, console: Console) -> None:
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
