"""The commands that decide which version is in use."""

from typing import Annotated

import typer

from flows.cli import console
from flows.cli.options import DebugOption, ReasonOption, WhoseOption


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog=_PROMOTE)(promote)
    app.command(epilog=_ROLLBACK)(rollback)
    app.command(epilog=_HISTORY)(history)
    app.command(epilog=_VERSIONS)(versions)
    app.command(epilog=_DELETE)(delete)


_PROMOTE = """Examples:

    sentiflow promote

    sentiflow promote 3 --dry-run

    sentiflow promote 3 --force --reason "the champion fails on long reviews" """


def promote(
    version: Annotated[
        int | None, typer.Argument(metavar="[VERSION]", min=1, help="Which version; by default the newest.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Promote although the gate says no; needs --reason, and is recorded.")
    ] = False,
    reason: ReasonOption = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what the gate says, and change nothing.")
    ] = False,
    dataset: WhoseOption = None,
    debug: DebugOption = False,
) -> None:
    """Hold a version against the champion and the limits, and put it in use if the gate says yes."""
    console.set_up(debug=debug)
    from flows.cli import promote as command

    command.run(version, dataset, reason, force=force, dry_run=dry_run)


_ROLLBACK = """Examples:

    sentiflow rollback --reason "complaints about version 5" """


def rollback(reason: ReasonOption = "", dataset: WhoseOption = None, debug: DebugOption = False) -> None:
    """Put the version back in use that the champion replaced; again goes further back."""
    console.set_up(debug=debug)
    from flows.cli import rollback as command

    command.run(dataset, reason)


_HISTORY = """Examples:

    sentiflow history

    sentiflow history --dataset sample"""


def history(dataset: WhoseOption = None, debug: DebugOption = False) -> None:
    """Tell every promotion and rollback, newest first."""
    console.set_up(debug=debug)
    from flows.cli import history as command

    command.run(dataset)


_VERSIONS = """Examples:

    sentiflow versions

    sentiflow versions --dataset sample"""


def versions(dataset: WhoseOption = None, debug: DebugOption = False) -> None:
    """List all versions with aliases, figures and what the gate said, newest first."""
    console.set_up(debug=debug)
    from flows.cli import versions as command

    command.run(dataset)


_DELETE = """Examples:

    sentiflow delete 3"""


def delete(
    version: Annotated[int, typer.Argument(min=1, help="Which version.")],
    dataset: WhoseOption = None,
    debug: DebugOption = False,
) -> None:
    """Delete a version; refused while an alias holds it."""
    console.set_up(debug=debug)
    from flows.cli import delete as command

    command.run(version, dataset)
